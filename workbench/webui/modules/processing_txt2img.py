"""txt2img, with the hires pass."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from modules import (
    devices,
    extra_networks,
    images,
    prompt_parser,
    rng,
    sd_models,
    sd_samplers,
    sd_samplers_common,
    shared,
)
from modules.processing_base import StableDiffusionProcessing, decode_latent_batch, opt_f
from modules.shared import opts, state
from workbench.webui import profiles

SAME_CHECKPOINT = "Use same checkpoint"


def _hires_text(field_name, shown):
    """A function for the infotext: the hires prompt where it differs from the first pass's."""

    def of_image(p, index, **context):
        text = getattr(p, field_name)[index]
        return text if text != context[shown] else None

    return of_image


@dataclass(repr=False)
class StableDiffusionProcessingTxt2Img(StableDiffusionProcessing):
    """Pictures from nothing but text."""

    enable_hr: bool = False
    denoising_strength: float = 0.75
    firstphase_width: int = 0
    firstphase_height: int = 0
    hr_scale: float = 2.0
    hr_upscaler: str = None
    hr_second_pass_steps: int = 0
    hr_resize_x: int = 0
    hr_resize_y: int = 0
    hr_checkpoint_name: str = None
    hr_sampler_name: str = None
    if profiles.active.schedulers:
        hr_scheduler: str = None
    hr_prompt: str = ""
    hr_negative_prompt: str = ""
    force_task_id: str = None
    if profiles.active.has_hr_cfg:
        hr_cfg: float = 1.0

    hr_checkpoint_info: object = field(default=None, init=False)
    hr_upscale_to_x: int = field(default=0, init=False)
    hr_upscale_to_y: int = field(default=0, init=False)
    truncate_x: int = field(default=0, init=False)
    truncate_y: int = field(default=0, init=False)
    applied_old_hires_behavior_to: tuple = field(default=None, init=False)
    latent_scale_mode: dict = field(default=None, init=False)
    hr_c: object = field(default=None, init=False)
    hr_uc: object = field(default=None, init=False)
    all_hr_prompts: list = field(default=None, init=False)
    all_hr_negative_prompts: list = field(default=None, init=False)
    hr_prompts: list = field(default=None, init=False)
    hr_negative_prompts: list = field(default=None, init=False)
    hr_extra_network_data: dict = field(default=None, init=False)

    cached_hr_uc = [None, None]
    cached_hr_c = [None, None]

    def __post_init__(self):
        super().__post_init__()
        if self.firstphase_width or self.firstphase_height:
            self.hr_upscale_to_x, self.hr_upscale_to_y = self.width, self.height
            self.width, self.height = self.firstphase_width, self.firstphase_height
        self.cached_hr_uc = StableDiffusionProcessingTxt2Img.cached_hr_uc
        self.cached_hr_c = StableDiffusionProcessingTxt2Img.cached_hr_c

    def calculate_target_resolution(self):
        """Size of the second pass: by scale, or by width and height, of which the larger scale wins and the
        rest is cut off.
        """
        if not self.hr_resize_x and not self.hr_resize_y:
            self.extra_generation_params["Hires upscale"] = self.hr_scale
            self.hr_upscale_to_x = int(self.width * self.hr_scale)
            self.hr_upscale_to_y = int(self.height * self.hr_scale)
            return
        self.extra_generation_params["Hires resize"] = f"{self.hr_resize_x}x{self.hr_resize_y}"
        by_width = self.hr_resize_x, self.hr_resize_x * self.height // self.width
        by_height = self.hr_resize_y * self.width // self.height, self.hr_resize_y
        self.hr_upscale_to_x, self.hr_upscale_to_y = max(by_width, by_height)
        if self.hr_resize_x and self.hr_resize_y:
            self.truncate_x = (self.hr_upscale_to_x - self.hr_resize_x) // opt_f
            self.truncate_y = (self.hr_upscale_to_y - self.hr_resize_y) // opt_f

    def init(self, all_prompts, all_seeds, all_subseeds):
        if not self.enable_hr:
            return
        params = self.extra_generation_params
        params["Denoising strength"] = self.denoising_strength
        if self.hr_checkpoint_name and self.hr_checkpoint_name != SAME_CHECKPOINT:
            self.hr_checkpoint_info = sd_models.get_closet_checkpoint_match(self.hr_checkpoint_name)
            if self.hr_checkpoint_info is None:
                raise Exception(f"Could not find checkpoint with name {self.hr_checkpoint_name}")
            params["Hires checkpoint"] = self.hr_checkpoint_info.short_title
        if self.hr_sampler_name is not None and self.hr_sampler_name != self.sampler_name:
            params["Hires sampler"] = self.hr_sampler_name
        params["Hires prompt"] = _hires_text("all_hr_prompts", "prompt_text")
        params["Hires negative prompt"] = _hires_text("all_hr_negative_prompts", "negative_prompt")
        if profiles.active.has_hr_cfg:
            params["Hires CFG Scale"] = self.hr_cfg
        if profiles.active.schedulers:
            params["Hires schedule type"] = None  # decided when the second pass knows its schedule
            self.hr_scheduler = self.hr_scheduler if self.hr_scheduler is not None else self.scheduler
        self._choose_upscaler()
        self.calculate_target_resolution()
        if not state.processing_has_refined_job_count:
            state.job_count = (self.n_iter if state.job_count == -1 else state.job_count) * 2
            state.processing_has_refined_job_count = True
        if self.hr_second_pass_steps:
            params["Hires steps"] = self.hr_second_pass_steps
        if self.hr_upscaler is not None:
            params["Hires upscaler"] = self.hr_upscaler

    def _choose_upscaler(self):
        self.latent_scale_mode = shared.latent_upscale_modes.get(
            self.hr_upscaler or shared.latent_upscale_default_mode
        )
        if self.latent_scale_mode is None and all(
            upscaler.name != self.hr_upscaler for upscaler in shared.sd_upscalers
        ):
            raise Exception(f"could not find upscaler named {self.hr_upscaler}")

    def sample(self, conditioning, unconditional_conditioning, seeds, subseeds, subseed_strength, prompts):
        self.sampler = sd_samplers.create_sampler(self.sampler_name, self.sd_model)
        x = self.rng.next()
        if self.scripts is not None:
            self.scripts.process_before_every_sampling(
                p=self, x=x, noise=x, c=conditioning, uc=unconditional_conditioning
            )
        samples = self.sampler.sample(
            self,
            x,
            conditioning,
            unconditional_conditioning,
            image_conditioning=self.txt2img_image_conditioning(x),
        )
        if not self.enable_hr:
            return samples
        decoded = None
        if self.latent_scale_mode is None:
            decoded = torch.stack(decode_latent_batch(self.sd_model, samples, check_for_nans=True))
        with sd_models.SkipWritingToConfig():
            sd_models.reload_model_weights(info=self.hr_checkpoint_info)
        return self.sample_hr_pass(samples, decoded, seeds, subseeds, subseed_strength, prompts)

    def _upscale(self, samples, decoded):
        """Latents of the second pass's size, by stretching latents, or pictures that are encoded again."""
        width, height = self.hr_upscale_to_x, self.hr_upscale_to_y
        if self.latent_scale_mode is not None:
            return torch.nn.functional.interpolate(
                samples, size=(height // opt_f, width // opt_f), **self.latent_scale_mode
            )
        pictures = []
        for picture in decoded:
            image = sd_samplers_common.tensor_to_image((picture + 1.0) / 2.0)
            image = images.resize_image(0, image, width, height, upscaler_name=self.hr_upscaler)
            pictures.append(np.moveaxis(np.asarray(image, dtype=np.float32) / 255.0, 2, 0))
        return sd_samplers_common.images_tensor_to_samples(torch.from_numpy(np.stack(pictures)))

    def sample_hr_pass(self, samples, decoded_samples, seeds, subseeds, subseed_strength, prompts):
        if state.interrupted:
            return samples
        self.is_hr_pass = True
        self.sampler = sd_samplers.create_sampler(self.hr_sampler_name or self.sampler_name, self.sd_model)
        samples = self._upscale(samples, decoded_samples)
        cut_y, cut_x = self.truncate_y, self.truncate_x
        samples = samples[
            :,
            :,
            cut_y // 2 : samples.shape[2] - (cut_y + 1) // 2,
            cut_x // 2 : samples.shape[3] - (cut_x + 1) // 2,
        ]
        image_conditioning = self.txt2img_image_conditioning(samples)
        state.nextjob()

        self.rng = rng.ImageRNG(
            samples.shape[1:], self.seeds, subseeds=self.subseeds, subseed_strength=self.subseed_strength,
            seed_resize_from_h=self.seed_resize_from_h, seed_resize_from_w=self.seed_resize_from_w,
        )  # fmt: skip
        noise = self.rng.next()
        if not self.disable_extra_networks:
            extra_networks.activate(self, self.hr_extra_network_data)
        self.calculate_hr_conds()
        if self.scripts is not None:
            self.scripts.before_hr(self)
            self.scripts.process_before_every_sampling(
                p=self, x=samples, noise=noise, c=self.hr_c, uc=self.hr_uc
            )
        samples = self.sampler.sample_img2img(
            self,
            samples,
            noise,
            self.hr_c,
            self.hr_uc,
            steps=self.hr_second_pass_steps or self.steps,
            image_conditioning=image_conditioning,
        )
        self.sampler = None
        pictures = decode_latent_batch(self.sd_model, samples, target_device=devices.cpu, check_for_nans=True)
        self.is_hr_pass = False
        return pictures

    def close(self):
        super().close()
        self.hr_c = self.hr_uc = None

    def clear_prompt_cache(self):
        super().clear_prompt_cache()
        self.cached_hr_c = StableDiffusionProcessingTxt2Img.cached_hr_c = [None, None]
        self.cached_hr_uc = StableDiffusionProcessingTxt2Img.cached_hr_uc = [None, None]

    def setup_prompts(self):
        super().setup_prompts()
        if not self.enable_hr:
            return
        self.hr_prompt = self.prompt if self.hr_prompt == "" else self.hr_prompt
        self.hr_negative_prompt = (
            self.negative_prompt if self.hr_negative_prompt == "" else self.hr_negative_prompt
        )

        def for_all(prompt):
            return list(prompt) if isinstance(prompt, list) else [prompt] * (self.batch_size * self.n_iter)

        styles = shared.prompt_styles
        self.all_hr_prompts = [
            styles.apply_styles_to_prompt(prompt, self.styles) for prompt in for_all(self.hr_prompt)
        ]
        self.all_hr_negative_prompts = [
            styles.apply_negative_styles_to_prompt(prompt, self.styles)
            for prompt in for_all(self.hr_negative_prompt)
        ]

    def parse_extra_network_prompts(self):
        super().parse_extra_network_prompts()
        if self.enable_hr:
            batch = slice(self.iteration * self.batch_size, (self.iteration + 1) * self.batch_size)
            self.hr_negative_prompts = self.all_hr_negative_prompts[batch]
            self.hr_prompts, self.hr_extra_network_data = extra_networks.parse_prompts(
                self.all_hr_prompts[batch]
            )

    def calculate_hr_conds(self):
        """Conditioning of the second pass, unless it is there already."""
        if self.hr_c is not None:
            return
        size = {"width": self.hr_upscale_to_x, "height": self.hr_upscale_to_y}
        prompts = prompt_parser.SdConditioning(self.hr_prompts, **size)
        negative = prompt_parser.SdConditioning(self.hr_negative_prompts, is_negative_prompt=True, **size)
        config = sd_samplers.find_sampler_config(self.hr_sampler_name or self.sampler_name)
        steps = self.hr_second_pass_steps or self.steps
        total_steps = config.total_steps(steps) if config else steps

        def cached(function, texts, caches):
            return self.get_conds_with_caching(
                function, texts, self.firstpass_steps, caches, self.hr_extra_network_data, total_steps
            )

        skips_uncond = profiles.active.cfg1_skips_uncond and self.hr_cfg == 1
        self.hr_uc = (
            None
            if skips_uncond
            else cached(prompt_parser.get_learned_conditioning, negative, [self.cached_hr_uc, self.cached_uc])
        )
        self.hr_c = cached(
            prompt_parser.get_multicond_learned_conditioning, prompts, [self.cached_hr_c, self.cached_c]
        )

    def setup_conds(self):
        if self.is_hr_pass:  # the refiner was switched to in the second pass
            self.hr_c = None
            self.calculate_hr_conds()
            return
        super().setup_conds()
        self.hr_c = self.hr_uc = None
        if not self.enable_hr or self.hr_checkpoint_info is not None:
            return
        if opts.hires_fix_use_firstpass_conds:
            self.calculate_hr_conds()
        elif profiles.active.extra_hires_activations:
            extra_networks.activate(self, self.hr_extra_network_data)
            self.calculate_hr_conds()
            extra_networks.activate(self, self.extra_network_data)

    def get_conds(self):
        return (self.hr_c, self.hr_uc) if self.is_hr_pass else super().get_conds()
