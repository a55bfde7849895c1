"""What all samplers share: latents to pictures and back, img2img steps, noise routing, and the Sampler base
class.
"""

from __future__ import annotations

import inspect
from collections import namedtuple

import numpy as np
import torch
from PIL import Image

from modules import images, sd_models, sd_vae_taesd, shared
from modules.shared import opts, state
from workbench.webui.k_diffusion_host import k_diffusion

approximation_indexes = {"Full": 0, "TAESD": 3}


class SamplerData(namedtuple("SamplerData", ["name", "constructor", "aliases", "options"])):
    """A sampler as listed: `constructor(model)` makes a Sampler."""

    def total_steps(self, steps):
        """Number of denoiser calls for that many steps."""
        return steps * 2 if self.options.get("second_order", False) else steps


class InterruptedException(BaseException):
    """Raised inside sampling to leave it. Not an Exception, so that no sampler catches it by accident."""


def setup_img2img_steps(p, steps=None):
    """(steps of the whole schedule, index of the first of them from the end): what the denoising strength
    leaves.

    With explicit steps (or the setting) all of them run, inside a schedule that is longer accordingly.
    """
    strength = min(p.denoising_strength, 0.999)
    if opts.img2img_fix_steps or steps is not None:
        requested = steps or p.steps
        whole = int(requested / strength) if p.denoising_strength > 0 else 0
        return whole, requested - 1
    return p.steps, int(strength * p.steps)


def decode_first_stage(model, x):
    """By the VAE, or as the setting says."""
    return samples_to_images_tensor(x, approximation_indexes.get(opts.sd_vae_decode_method, 0), model)


def samples_to_images_tensor(sample, approximation=None, model=None):
    """Latents [B, 4, h, w] to pictures [B, 3, 8h, 8w] in -1..1."""
    with torch.no_grad():
        if approximation == approximation_indexes["TAESD"]:
            return sd_vae_taesd.decoder_model()(sample) * 2 - 1
        return (model or shared.sd_model).decode_first_stage(sample)


def tensor_to_image(picture: torch.Tensor) -> Image.Image:
    """[3, H, W] in 0..1 to a PIL image."""
    array = 255.0 * np.moveaxis(picture.clamp(0.0, 1.0).cpu().numpy(), 0, 2)
    return Image.fromarray(array.astype(np.uint8))


def single_sample_to_image(sample, approximation=None):
    return tensor_to_image(samples_to_images_tensor(sample.unsqueeze(0))[0] * 0.5 + 0.5)


def sample_to_image(samples, index=0, approximation=None):
    return single_sample_to_image(samples[index])


def samples_to_image_grid(samples, approximation=None):
    return images.image_grid([single_sample_to_image(sample) for sample in samples])


def images_tensor_to_samples(image, approximation=None, model=None):
    """Pictures [B, 3, H, W] in 0..1 to latents, one by one; draws from the global random state."""
    model = model or shared.sd_model
    with torch.no_grad():
        encoded = [
            model.get_first_stage_encoding(model.encode_first_stage(picture[None] * 2 - 1))
            for picture in image
        ]
    return torch.cat(encoded)


def store_latent(decoded):
    """Remember the latent for previews."""
    state.current_latent = decoded


def is_sampler_using_eta_noise_seed_delta(p) -> bool:
    from modules import sd_samplers

    config = sd_samplers.find_sampler_config(p.sampler_name)
    if config is None:
        return False
    eta = p.eta if p.eta is not None else getattr(p.sampler, "eta", None)
    return eta != 0 and config.options.get("uses_ensd", False)


def apply_refiner(cfg_denoiser, sigma=None) -> bool:
    """Switch to the refiner checkpoint if the time for it has come; returns whether it did."""
    p = cfg_denoiser.p
    if p.refiner_checkpoint_info is None or shared.sd_model.sd_checkpoint_info == p.refiner_checkpoint_info:
        return False
    if opts.refiner_switch_by_sample_steps or sigma is None:
        completed = cfg_denoiser.step / cfg_denoiser.total_steps
        p.extra_generation_params["Refiner switch by sampling steps"] = True
    else:
        sigmas = cfg_denoiser.inner_model.sigmas
        completed = (999 - int(torch.argmin((sigmas - sigma.max()).abs()))) / 1000
    if p.refiner_switch_at is not None and completed < p.refiner_switch_at:
        return False
    if getattr(p, "enable_hr", False):
        other_pass = "first pass" if p.is_hr_pass else "second pass"
        if opts.hires_fix_refiner_pass == other_pass:
            return False
        if opts.hires_fix_refiner_pass != "second pass":
            p.extra_generation_params["Hires refiner"] = opts.hires_fix_refiner_pass
    p.extra_generation_params["Refiner"] = p.refiner_checkpoint_info.short_title
    p.extra_generation_params["Refiner switch at"] = p.refiner_switch_at
    with sd_models.SkipWritingToConfig():
        sd_models.reload_model_weights(info=p.refiner_checkpoint_info)
    p.setup_conds()
    cfg_denoiser.update_inner_model()
    return True


class TorchHijack:
    """Stands in for `torch` inside k-diffusion, so that its noise comes from `p.rng`: one generator per
    image.
    """

    def __init__(self, p):
        self.rng = p.rng

    def __getattr__(self, item):
        return getattr(torch, item)

    def randn_like(self, x):
        return self.rng.next()


class Sampler:
    """One sampling pass. Subclasses have `sample` and `sample_img2img`; `config` is set by whoever makes the
    object.
    """

    eta_option_field = "eta_ancestral"
    eta_infotext_field = "Eta"
    eta_default = 1.0

    def __init__(self, funcname):
        self.funcname = funcname
        self.func = funcname
        self.extra_params = []
        self.options = {}
        self.config: SamplerData = None
        self.p = None
        self.model_wrap = None
        self.model_wrap_cfg = None
        self.sampler_extra_args = None
        self.sampler_noises = None
        self.stop_at = None
        self.last_latent = None
        self.eta = None
        self.s_min_uncond = None
        self.s_churn = 0.0
        self.s_tmin = 0.0
        self.s_tmax = float("inf")
        self.s_noise = 1.0
        self.conditioning_key = getattr(shared.sd_model.model, "conditioning_key", "crossattn")

    def callback_state(self, d):
        if self.stop_at is not None and d["i"] > self.stop_at:
            raise InterruptedException
        state.sampling_step = d["i"]
        shared.total_tqdm.update()

    def launch_sampling(self, steps, func):
        """func(), or the last latent there is if sampling was interrupted."""
        self.model_wrap_cfg.steps = steps
        self.model_wrap_cfg.total_steps = self.config.total_steps(steps)
        state.sampling_steps = steps
        state.sampling_step = 0
        try:
            return func()
        except InterruptedException:
            return self.last_latent

    def number_of_needed_noises(self, p):
        return p.steps

    def initialize(self, p) -> dict:
        """Connect to a generation; returns the keyword arguments for `self.func` that its settings ask
        for.
        """
        self.p = p
        denoiser = self.model_wrap_cfg
        denoiser.p = p
        denoiser.mask = getattr(p, "mask", None)
        denoiser.nmask = getattr(p, "nmask", None)
        denoiser.step = 0
        denoiser.image_cfg_scale = getattr(p, "image_cfg_scale", None)
        self.eta = p.eta if p.eta is not None else getattr(opts, self.eta_option_field, 0.0)
        self.s_min_uncond = getattr(p, "s_min_uncond", 0.0)
        k_diffusion.sampling.torch = TorchHijack(p)

        accepted = inspect.signature(self.func).parameters
        kwargs = {
            name: getattr(p, name) for name in self.extra_params if hasattr(p, name) and name in accepted
        }
        if "eta" in accepted:
            if self.eta != self.eta_default:
                p.extra_generation_params[self.eta_infotext_field] = self.eta
            kwargs["eta"] = self.eta
        for name, label in (
            ("s_churn", "Sigma churn"),
            ("s_tmin", "Sigma tmin"),
            ("s_tmax", "Sigma tmax"),
            ("s_noise", "Sigma noise"),
        ):
            value = getattr(opts, name)
            if name == "s_tmax":
                value = value or self.s_tmax
            if name in kwargs and value != getattr(self, name):
                kwargs[name] = value
                setattr(p, name, value)
                p.extra_generation_params[label] = value
        return kwargs

    def create_noise_sampler(self, x, sigmas, p):
        """Brownian noise that depends on each image's seed only."""
        positive = sigmas[sigmas > 0]
        seeds = p.all_seeds[p.iteration * p.batch_size : (p.iteration + 1) * p.batch_size]
        return k_diffusion.sampling.BrownianTreeNoiseSampler(x, positive.min(), sigmas.max(), seed=seeds)

    def sample(self, p, x, conditioning, unconditional_conditioning, steps=None, image_conditioning=None):
        raise NotImplementedError()

    def sample_img2img(
        self, p, x, noise, conditioning, unconditional_conditioning, steps=None, image_conditioning=None
    ):
        raise NotImplementedError()

    def add_infotext(self, p):
        if self.model_wrap_cfg.padded_cond_uncond:
            p.extra_generation_params["Pad conds"] = True
