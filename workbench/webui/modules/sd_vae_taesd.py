"""The tiny decoder of the loaded model, downloaded where it is not there; a setting has it make pictures."""

from __future__ import annotations

from pathlib import Path

import torch

from modules import devices, paths_internal, shared
from workbench.tiny_decoder import build_tiny_decoder

ADDRESS = "https://github.com/madebyollin/taesd/raw/main/"

sd_vae_taesd_models = {}


def decoder_model():
    """Latents to pictures in 0..1."""
    name = "taesdxl_decoder.pth" if shared.sd_model.is_sdxl else "taesd_decoder.pth"
    if name not in sd_vae_taesd_models:
        file = Path(paths_internal.models_path) / "VAE-taesd" / name
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(ADDRESS + name, str(file))
        decoder = build_tiny_decoder()
        decoder.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
        sd_vae_taesd_models[name] = decoder.eval().to(devices.device, devices.dtype)
    return sd_vae_taesd_models[name]
