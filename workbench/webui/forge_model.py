"""The extra objects that a model has in Forge: `forge_objects`, a predictor that knows the noise levels, and
a model configuration.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from workbench.webui import profiles


class Predictor(nn.Module):
    """Noise levels of the model, and how its output becomes a denoised latent."""

    sigma_data = 1.0

    def __init__(self, alphas_cumprod: torch.Tensor, prediction_type: str):
        super().__init__()
        self.prediction_type = prediction_type
        sigmas = ((1 - alphas_cumprod.double()) / alphas_cumprod.double()) ** 0.5
        self.register_buffer("alphas_cumprod", alphas_cumprod.float())
        self.set_sigmas(sigmas)

    def set_sigmas(self, sigmas: torch.Tensor) -> None:
        self.register_buffer("sigmas", sigmas.float())
        self.register_buffer("log_sigmas", sigmas.log().float())

    @property
    def sigma_min(self):
        return self.sigmas[0]

    @property
    def sigma_max(self):
        return self.sigmas[-1]

    def timestep(self, sigma: torch.Tensor) -> torch.Tensor:
        """The nearest whole timestep."""
        return (sigma.log() - self.log_sigmas[:, None]).abs().argmin(dim=0).view(sigma.shape)

    def sigma(self, timestep: torch.Tensor) -> torch.Tensor:
        """Noise level at a timestep, fractional ones interpolated in the logarithm."""
        t = timestep.float().clamp(0, len(self.sigmas) - 1)
        low, high = t.floor().long(), t.ceil().long()
        return torch.lerp(self.log_sigmas[low], self.log_sigmas[high], t.frac()).exp()

    def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
        """The latent that sampling starts from; max_denoise: as if nothing but noise were in it."""
        scale = (1.0 + sigma**2.0) ** 0.5 if max_denoise else sigma
        return noise * scale + latent_image

    def calculate_input(self, sigma, noise):
        return noise / (sigma.view(-1, 1, 1, 1) ** 2 + self.sigma_data**2) ** 0.5

    def calculate_denoised(self, sigma, model_output, model_input):
        sigma = sigma.view(-1, 1, 1, 1)
        if self.prediction_type == "v":
            return model_input / (sigma**2 + 1) - model_output * sigma / (sigma**2 + 1) ** 0.5
        return model_input - model_output * sigma


class KModel(nn.Module):
    """`forge_objects.unet.model`: the UNet with its predictor; `apply_model` returns the denoised latent."""

    def __init__(self, host, predictor: Predictor, model_config):
        super().__init__()
        self._host = [host]  # in a list, so that the two modules do not contain each other
        self.diffusion_model = host.model.diffusion_model
        self.predictor = predictor
        self.model_config = model_config

    def apply_model(self, x, t, c_crossattn=None, y=None, **kwargs):
        """x: [B, 4, h, w], t: sigmas [B], c_crossattn: [B, tokens, width], y: SDXL's vector."""
        timestep = self.predictor.timestep(t).float()
        output = self._host[0].run_unet(self.predictor.calculate_input(t, x), timestep, c_crossattn, y)
        return self.predictor.calculate_denoised(t, output, x)


class Patcher:
    """A part of the model, with what is added to its weights by name: (strength, LoRA's layer, ...)."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.patches: dict[str, list[tuple]] = {}

    def clone(self):
        cloned = copy.copy(self)
        cloned.patches = {key: list(patches) for key, patches in self.patches.items()}
        return cloned


class UnetPatcher(Patcher):
    """`forge_objects.unet`."""

    def __init__(self, model: KModel):
        super().__init__(model)
        self.model_options = {"transformer_options": {}}
        if not profiles.active.loras_are_patches:
            # (file, weight of the LoRA, of the model, computed on the fly) -> what is added, by layer
            self.lora_patches = {}
        self.controlnet_linked_list = None
        self.extra_concat_condition = None


class Clip:
    """`forge_objects.clip`: the text encoders."""

    def __init__(self, patcher: Patcher):
        self.patcher = patcher

    def clone(self):
        return Clip(self.patcher.clone())


class ForgeObjects:
    def __init__(self, unet, clip, vae, clipvision=None):
        self.unet = unet
        self.clip = clip
        self.vae = vae
        self.clipvision = clipvision

    def shallow_copy(self):
        return ForgeObjects(self.unet, self.clip, self.vae, self.clipvision)


class SD15:
    """Name of a model configuration; extensions look at the class name only."""


class SDXL:
    """See SD15."""


class SSD1B(SDXL):
    """See SD15. A kind of SDXL, as in Forge."""


MODEL_CONFIGS = {"sd15": SD15, "sdxl": SDXL, "ssd1b": SSD1B}


class ForgeScheduleLinker(nn.Module):
    """`model_wrap` of a k-diffusion sampler in Forge: noise levels only, its `forward` is never used."""

    def __init__(self, predictor: Predictor, inner_model):
        super().__init__()
        self.predictor = predictor
        self.inner_model = inner_model

    @property
    def sigmas(self):
        return self.predictor.sigmas

    @property
    def log_sigmas(self):
        return self.predictor.sigmas.log()

    @property
    def sigma_min(self):
        return self.predictor.sigma_min()

    @property
    def sigma_max(self):
        return self.predictor.sigma_max()

    def get_sigmas(self, n=None):
        levels = (
            self.sigmas.flip(0) if n is None else self.t_to_sigma(torch.linspace(len(self.sigmas) - 1, 0, n))
        )
        return torch.cat([levels, levels.new_zeros(1)])

    def sigma_to_t(self, sigma, quantize=None):
        return self.predictor.timestep(sigma)

    def t_to_sigma(self, t):
        return self.predictor.sigma(t)


class FakeInitialModel:
    """`shared.sd_model` before the first model is loaded: nothing can be read off it."""

    cond_stage_model = None
    chunk_length = 75


def attach(host) -> None:
    """Give a model the attributes it has in Forge."""
    config = MODEL_CONFIGS[host.small.family]()
    predictor = Predictor(host.small.alphas_cumprod, host.parameterization)
    host.model_config = config
    host.forge_objects = ForgeObjects(
        UnetPatcher(KModel(host, predictor, config)), Clip(Patcher(host.small.text_encoder)), host.small.vae
    )
    host.forge_objects_original = host.forge_objects.shallow_copy()
    host.forge_objects_after_applying_lora = host.forge_objects.shallow_copy()
    host.current_lora_hash = "[]"
