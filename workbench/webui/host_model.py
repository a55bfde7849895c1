"""A small checkpoint with the face of a WebUI's `sd_model`."""

from __future__ import annotations

import torch
from torch import nn

from modules.sd_models_types import ModelType
from workbench.small_models import SmallModel
from workbench.webui import forge_model, profiles, text_conditioning, unet_log

SIZE_IDS = 6
MODEL_TYPES = {"sd15": ModelType.SD1, "sdxl": ModelType.SDXL, "ssd1b": ModelType.SSD}
PARAMETERIZATION = {"epsilon": "eps", "v_prediction": "v", "eps": "eps", "v": "v"}


class DiffusionWrapper(nn.Module):
    """`sd_model.model`: holds the UNet as `diffusion_model`."""

    conditioning_key = "crossattn"

    def __init__(self, unet):
        super().__init__()
        self.diffusion_model = unet
        # as the original UNet names them, for those who hook its time embedding
        unet.time_embed = [
            unet.time_embedding.linear_1,
            unet.time_embedding.act,
            unet.time_embedding.linear_2,
        ]


class HostModel(nn.Module):
    """What extensions find in `shared.sd_model` and `p.sd_model`.

    Latents [B, 4, H/8, W/8] are scaled as the UNet sees them; pictures are [B, 3, H, W] in -1..1.
    """

    cond_stage_key = "txt"
    channels = latent_channels = 4
    is_sdxl_inpaint = is_inpaint = False
    lowvram = False
    use_distilled_cfg_scale = False

    def __init__(self, small: SmallModel, checkpoint_info):
        super().__init__()
        profile = profiles.active
        self.small = small
        unet_log.watch(small.unet)
        self.model = DiffusionWrapper(small.unet)
        self.first_stage_model = small.vae
        self.cond_stage_model = small.text_encoder
        self.scale_factor = small.scaling_factor
        self.parameterization = PARAMETERIZATION[small.prediction_type]
        self.set_checkpoint(checkpoint_info)

        self.is_sdxl = small.family in ("sdxl", "ssd1b")
        self.is_sd1 = small.family == "sd15"
        self.is_sd2 = False
        if profile.has_is_ssd:
            self.is_ssd = small.family == "ssd1b"
        if profile.has_is_sd3:
            self.is_sd3 = False
        if profile.has_model_type:
            self.model_type = MODEL_TYPES[small.family]
        if profile.model_has_alphas_cumprod:
            self.register_buffer("alphas_cumprod", small.alphas_cumprod.clone())
            if profile.native_lcm:  # as old as the settings that change the noise levels
                self.alphas_cumprod_original = self.alphas_cumprod
        if profile.forge:
            forge_model.attach(self)
        else:
            self.num_timesteps = len(small.alphas_cumprod)

    def set_checkpoint(self, checkpoint_info) -> None:
        self.sd_checkpoint_info = checkpoint_info
        self.sd_model_checkpoint = checkpoint_info.filename
        self.sd_model_hash = checkpoint_info.calculate_shorthash()
        self.filename = checkpoint_info.filename

    @property
    def device(self) -> torch.device:
        return self.small.device

    @property
    def dtype(self) -> torch.dtype:
        return self.small.dtype

    def ema_scope(self):
        return torch.no_grad()

    def get_learned_conditioning(self, prompts):
        """Conditioning of a list of prompts, see `text_conditioning.encode_prompts`."""
        import networks

        from modules import shared

        networks.apply_to(self)
        zero_if_empty = self.is_sdxl and getattr(prompts, "is_negative_prompt", False)
        return text_conditioning.encode_prompts(
            self.small, list(prompts), emphasis=shared.opts.emphasis, zero_if_empty=zero_if_empty
        )

    def get_prompt_lengths_on_ui(self, prompt):
        return text_conditioning.prompt_lengths(self.small, prompt)

    def run_unet(self, x, t, crossattn, vector=None):
        """One UNet forward with the loaded networks. x: [B, 4, h, w], t: [B], vector: [B, 1286] for SDXL."""
        import networks

        networks.apply_to(self)
        added = (
            None
            if vector is None
            else {"text_embeds": vector[:, :-SIZE_IDS], "time_ids": vector[:, -SIZE_IDS:]}
        )
        return self.model.diffusion_model(
            x, t, encoder_hidden_states=crossattn, added_cond_kwargs=added
        ).sample

    def apply_model(self, x, t, cond, *args, **kwargs):
        """What the UNet predicts (noise, or v) for x [B, 4, h, w] at timesteps t [B].

        cond: {"c_crossattn": [tensor], "c_concat": [...]} or SDXL's {"crossattn", "vector", "c_concat"}.
        """
        if "crossattn" in cond:
            return self.run_unet(x, t, cond["crossattn"], cond["vector"])
        return self.run_unet(x, t, torch.cat(cond["c_crossattn"], dim=1))

    forward = apply_model

    def encode_first_stage(self, x):
        """The distribution of latents of pictures; see get_first_stage_encoding."""
        return self.first_stage_model.encode(x).latent_dist

    def get_first_stage_encoding(self, encoded):
        """A sample from the distribution, scaled; draws from the global random state."""
        return encoded.sample() * self.scale_factor

    def decode_first_stage(self, z):
        return self.small.decode_latents(z)
