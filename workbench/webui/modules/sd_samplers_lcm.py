"""The WebUI's own LCM sampler, with its own idea of the timesteps (evenly spaced noise levels, rounded
timesteps).
"""

from __future__ import annotations

import torch

from modules import sd_samplers_cfg_denoiser, sd_samplers_common, sd_samplers_kdiffusion, shared
from workbench.webui.k_diffusion_host import k_diffusion

TRAIN_STEPS = 1000
GRID_POINTS = 50
SKIP_STEPS = TRAIN_STEPS // GRID_POINTS
SIGMA_DATA = 0.5
TIMESTEP_SCALING = 10.0


class LCMCompVisDenoiser(k_diffusion.external.DiscreteSchedule):
    """A consistency model in k-diffusion's scaling: knows the 50 noise levels of t = 19, 39, ..., 999 only.

    It takes every model for an eps-prediction one, and applies c_skip to the variance-exploding input.
    """

    def __init__(self, model):
        predictor = None if hasattr(model, "alphas_cumprod") else model.forge_objects.unet.model.predictor
        table = model.alphas_cumprod if predictor is None else 1.0 / (predictor.sigmas**2.0 + 1.0)
        alphas_cumprod = table[SKIP_STEPS - 1 :: SKIP_STEPS].float()
        super().__init__(((1 - alphas_cumprod) / alphas_cumprod) ** 0.5, quantize=None)
        self.inner_model = model
        if predictor is not None:
            self.predictor = predictor

    def get_sigmas(self, n=None):
        """Noise levels of n evenly spaced timesteps from 999 to 19, then 0; all 50 if n is None."""
        if n is None:
            return super().get_sigmas()
        timesteps = torch.linspace(TRAIN_STEPS - 1, SKIP_STEPS - 1, n, device=self.sigmas.device)
        return k_diffusion.sampling.append_zero(self.t_to_sigma(timesteps))

    def sigma_to_t(self, sigma, quantize=None):
        """The grid's timestep whose noise level is nearest."""
        nearest = (sigma.log() - self.log_sigmas[:, None]).abs().argmin(dim=0).view(sigma.shape)
        return nearest * SKIP_STEPS + SKIP_STEPS - 1

    def t_to_sigma(self, timestep):
        """Noise level at a timestep, interpolated in the logarithm between the grid's points."""
        return super().t_to_sigma(
            ((timestep - (SKIP_STEPS - 1)) / SKIP_STEPS).float().clamp(0, GRID_POINTS - 1)
        )

    def forward(self, x, sigma, **kwargs):
        level = sigma.view(-1, 1, 1, 1)
        timestep = self.sigma_to_t(sigma)
        eps = self.inner_model.apply_model(x / (level**2 + 1.0) ** 0.5, timestep, **kwargs)
        scaled = timestep.view(-1, 1, 1, 1) * TIMESTEP_SCALING
        c_skip = SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2)
        c_out = scaled / (scaled**2 + SIGMA_DATA**2) ** 0.5
        return c_out * (x - eps * level) + c_skip * x


def sample_lcm(model, x, sigmas, extra_args=None, callback=None, disable=None, noise_sampler=None):
    """Each step: the model's picture, with noise of the next level on it."""
    draw_noise = k_diffusion.sampling.default_noise_sampler(x) if noise_sampler is None else noise_sampler
    ones = x.new_ones([x.shape[0]])
    for i in k_diffusion.sampling.trange(len(sigmas) - 1, disable=disable):
        denoised = model(x, sigmas[i] * ones, **(extra_args or {}))
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": denoised})
        x = (
            denoised
            if sigmas[i + 1] == 0
            else denoised + sigmas[i + 1] * draw_noise(sigmas[i], sigmas[i + 1])
        )
    return x


class CFGDenoiserLCM(sd_samplers_cfg_denoiser.CFGDenoiser):
    @property
    def inner_model(self):
        if self.model_wrap is None:
            self.model_wrap = LCMCompVisDenoiser(shared.sd_model)
        return self.model_wrap


class LCMSampler(sd_samplers_kdiffusion.KDiffusionSampler):
    def __init__(self, funcname, sd_model, options=None):
        super().__init__(funcname, sd_model, options)
        self.model_wrap_cfg = CFGDenoiserLCM(self)
        self.model_wrap = self.model_wrap_cfg.inner_model


samplers_lcm = [("LCM", sample_lcm, ["k_lcm"], {})]
samplers_data_lcm = [
    sd_samplers_common.SamplerData(
        label, lambda model, funcname=funcname: LCMSampler(funcname, model), aliases, options
    )
    for label, funcname, aliases, options in samplers_lcm
]
