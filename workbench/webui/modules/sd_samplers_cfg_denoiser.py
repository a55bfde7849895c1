"""Classifier-free guidance: turns two predictions of the model, with and without the prompt, into one."""

from __future__ import annotations

import torch

from modules import prompt_parser, scripts, sd_samplers_common, shared
from modules.script_callbacks import (
    AfterCFGCallbackParams,
    CFGDenoisedParams,
    CFGDenoiserParams,
    cfg_after_cfg_callback,
    cfg_denoised_callback,
    cfg_denoiser_callback,
)
from modules.shared import opts, state
from workbench.webui import profiles
from workbench.webui.forge_sampling import sampling_function


def catenate_conds(conds):
    """Join conditionings along the batch; tensors or SDXL's dictionaries."""
    if isinstance(conds[0], dict):
        return {key: torch.cat([cond[key] for cond in conds]) for key in conds[0]}
    return torch.cat(conds)


def subscript_cond(cond, a, b):
    """Rows a to b of a conditioning."""
    return {key: value[a:b] for key, value in cond.items()} if isinstance(cond, dict) else cond[a:b]


class CFGDenoiser(torch.nn.Module):
    """The denoiser that a sampler calls: `forward(x, sigma, ...)` returns the guided denoised latent [B, 4,
    h, w].

    The UNet gets one row per cond (several per image with AND), then one per image for the uncond: 2N rows
    for plain prompts, at CFG 1 too. Subclasses have `inner_model`, the model in the sampler's scaling.
    """

    def __init__(self, sampler):
        super().__init__()
        self.sampler = sampler
        self.p = None
        self.model_wrap = None
        self.mask = None
        self.nmask = None
        self.init_latent = None
        self.steps = None
        self.total_steps = None
        self.step = 0
        self.image_cfg_scale = None
        self.padded_cond_uncond = False
        self.cond_scale_miltiplier = 1.0
        self.need_last_noise_uncond = False
        self.last_noise_uncond = None
        self.mask_before_denoising = False

    @property
    def inner_model(self):
        raise NotImplementedError()

    def update_inner_model(self):
        """The checkpoint has changed in the middle of sampling."""
        self.model_wrap = None
        cond, uncond = self.p.get_conds()
        self.sampler.sampler_extra_args["cond"] = cond
        self.sampler.sampler_extra_args["uncond"] = uncond

    def combine_denoised(self, x_out, conds_list, uncond, cond_scale):
        """uncond + sum over the conds of weight·scale·(cond - uncond), for each image."""
        base = x_out[-uncond.shape[0] :]
        combined = base.clone()
        for image, conds in enumerate(conds_list):
            for row, weight in conds:
                combined[image] += (x_out[row] - base[image]) * (weight * cond_scale)
        return combined

    def combine_denoised_for_edit_model(self, x_out, cond_scale):
        """Guidance by the text and by the picture that is edited; rows are those with both, with the picture
        alone, with neither.
        """
        both, picture, neither = x_out.chunk(3)
        return neither + cond_scale * (both - picture) + self.image_cfg_scale * (picture - neither)

    def get_pred_x0(self, x_in, x_out, sigma):
        return x_out

    def _blend(self, latent, sigma):
        """Put the original back where the mask says so."""
        blended = latent * self.nmask + self.init_latent * self.mask
        if self.p.scripts is None:
            return blended
        args = scripts.MaskBlendArgs(
            latent, self.nmask, self.init_latent, self.mask, blended, denoiser=self, sigma=sigma
        )
        self.p.scripts.on_mask_blend(self.p, args)
        return args.blended_latent

    def _skips_uncond(self, sigma, s_min_uncond) -> bool:
        """Whether a setting leaves the uncond out at this step."""
        params = self.p.extra_generation_params
        if opts.skip_early_cond and self.step / self.total_steps <= opts.skip_early_cond:
            params["Skip Early CFG"] = opts.skip_early_cond
            return True
        if (self.step % 2 or opts.s_min_uncond_all) and s_min_uncond > 0 and sigma[0] < s_min_uncond:
            params["NGMS"] = s_min_uncond
            if opts.s_min_uncond_all:
                params["NGMS all steps"] = True
            return True
        return False

    def _run_model(self, x_in, sigma_in, image_cond_in, tensor, uncond, images, is_editing=False):
        """All rows through the model: in one forward if the conditionings have one length and the setting
        allows it.
        """

        def forward(a, b, cond):
            concat = {"c_concat": [image_cond_in[a:b]]}
            conditioning = {**cond, **concat} if isinstance(cond, dict) else {"c_crossattn": [cond], **concat}
            return self.inner_model(x_in[a:b], sigma_in[a:b], cond=conditioning)

        rows = x_in.shape[0]
        same_length = uncond is None or tensor.shape[1] == uncond.shape[1]
        if same_length:
            cond_in = (
                tensor
                if uncond is None
                else catenate_conds([tensor, uncond, uncond] if is_editing else [tensor, uncond])
            )
            size = rows if opts.batch_cond_uncond else images
            return torch.cat(
                [forward(a, a + size, subscript_cond(cond_in, a, a + size)) for a in range(0, rows, size)]
            )
        size = images * 2 if opts.batch_cond_uncond else images
        conds = tensor.shape[0]
        parts = [
            forward(a, min(a + size, conds), subscript_cond(tensor, a, min(a + size, conds)))
            for a in range(0, conds, size)
        ]
        return torch.cat([*parts, forward(rows - images, rows, uncond)])

    def forward(self, x, sigma, uncond, cond, cond_scale, s_min_uncond, image_cond):
        if state.interrupted or state.skipped:
            raise sd_samplers_common.InterruptedException
        if sd_samplers_common.apply_refiner(self, sigma):
            cond = self.sampler.sampler_extra_args["cond"]
            uncond = self.sampler.sampler_extra_args["uncond"]
        conds_list, tensor = prompt_parser.reconstruct_multicond_batch(cond, self.step)
        uncond = None if uncond is None else prompt_parser.reconstruct_cond_batch(uncond, self.step)
        if profiles.active.forge:
            denoised = self._denoise_as_forge(x, sigma, tensor, uncond, cond_scale, conds_list, image_cond)
        else:
            denoised = self._denoise(
                x, sigma, tensor, uncond, cond_scale, conds_list, s_min_uncond, image_cond
            )
        after_cfg = AfterCFGCallbackParams(denoised, state.sampling_step, state.sampling_steps)
        cfg_after_cfg_callback(after_cfg)
        self.step += 1
        return after_cfg.x

    def _denoise(self, x, sigma, tensor, uncond, cond_scale, conds_list, s_min_uncond, image_cond):
        if self.mask_before_denoising and self.mask is not None:
            x = self._blend(x, sigma)
        images = len(conds_list)
        is_editing = shared.sd_model.cond_stage_key == "edit" and self.image_cfg_scale not in (None, 1.0)

        def rows_of(value, without_picture=None):
            conds = [value[image : image + 1] for image, conds in enumerate(conds_list) for _ in conds]
            return torch.cat(
                [
                    *conds,
                    value,
                    *([value if without_picture is None else without_picture] if is_editing else []),
                ]
            )

        image_cond_in = rows_of(image_cond, torch.zeros_like(image_cond))
        params = CFGDenoiserParams(
            rows_of(x),
            image_cond_in,
            rows_of(sigma),
            state.sampling_step,
            state.sampling_steps,
            tensor,
            uncond,
            self,
        )
        cfg_denoiser_callback(params)
        x_in, sigma_in, image_cond_in, tensor, uncond = (
            params.x,
            params.sigma,
            params.image_cond,
            params.text_cond,
            params.text_uncond,
        )

        skip_uncond = self._skips_uncond(sigma, s_min_uncond)
        if skip_uncond:
            x_in, sigma_in = x_in[:-images], sigma_in[:-images]
        x_out = self._run_model(
            x_in, sigma_in, image_cond_in, tensor, None if skip_uncond else uncond, images, is_editing
        )
        first_rows = [conds[0][0] for conds in conds_list]
        if skip_uncond:
            x_out = torch.cat([x_out, x_out[first_rows]])

        cfg_denoised_callback(
            CFGDenoisedParams(x_out, state.sampling_step, state.sampling_steps, self.inner_model)
        )
        if self.need_last_noise_uncond:
            self.last_noise_uncond = x_out[-images:].clone()
        scale = 1.0 if skip_uncond else cond_scale * self.cond_scale_miltiplier
        if is_editing:
            denoised = self.combine_denoised_for_edit_model(x_out, scale)
        else:
            denoised = self.combine_denoised(x_out, conds_list, uncond, scale)
        if not self.mask_before_denoising and self.mask is not None:
            denoised = self._blend(denoised, sigma)

        self.sampler.last_latent = self.get_pred_x0(x_in[first_rows], x_out[first_rows], sigma)
        if opts.live_preview_content == "Prompt":
            sd_samplers_common.store_latent(self.sampler.last_latent)
        elif opts.live_preview_content == "Negative prompt":
            sd_samplers_common.store_latent(self.get_pred_x0(x_in[-images:], x_out[-images:], sigma))
        else:
            sd_samplers_common.store_latent(self.get_pred_x0(x_in[first_rows], denoised, sigma))
        return denoised

    def _denoise_as_forge(self, x, sigma, tensor, uncond, cond_scale, conds_list, image_cond):
        """Sampling through the host's own function: `inner_model` is not called, `on_cfg_denoised` never
        fires.
        """
        if self.mask is not None:
            predictor = shared.sd_model.forge_objects.unet.model.predictor
            noise = self.sampler.p.rng.next()
            noisy = predictor.noise_scaling(sigma.view(-1, 1, 1, 1), noise, self.init_latent)
            x = x * self.nmask + noisy * self.mask
        params = CFGDenoiserParams(
            x, image_cond, sigma, state.sampling_step, state.sampling_steps, tensor, uncond, self
        )
        cfg_denoiser_callback(params)
        if self.p.is_hr_pass:
            cond_scale = self.p.hr_cfg
        denoised = sampling_function(shared.sd_model.forge_objects.unet, params, cond_scale, conds_list)
        if self.mask is not None:
            denoised = self._blend(denoised, sigma)
        self.sampler.last_latent = denoised
        sd_samplers_common.store_latent(denoised)
        return denoised
