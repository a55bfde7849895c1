"""The WebUI's tiny decoder (TAESD), which makes a draft of a picture in a fraction of the VAE's time."""

from __future__ import annotations

from pathlib import Path

import torch

from lib_lcm.webui.host import models, server

_unusable: list[tuple[str, float]] = []
"""Files that made no picture, and when they had been written: not tried again before they change."""


def draft(latents):
    """Pictures in the place of a generation's latents, in a form that makes the WebUI decode no further; None
    where it is to decode them itself. Downloads nothing.
    """
    # decoded by then after a hires pass; four channels: no other model's decoder is asked for here
    if not torch.is_tensor(latents) or latents.shape[1] != 4:
        return None
    if server.setting("sd_vae_decode_method", "Full") != "Full":  # Generate makes no better ones
        return None
    file = _weights()
    try:
        state = str(file), file.stat().st_mtime
    except OSError:  # the WebUI would download it
        return None
    if state in _unusable:
        return None
    try:
        from modules import devices, processing

        decoder = server.module_of_webui("sd_vae_taesd").decoder_model()
        weight = next(decoder.parameters())
        pictures = decoder(latents.to(weight.device, weight.dtype)).to(devices.cpu) * 2 - 1
    except Exception as error:
        _unusable.append(state)
        server.log(f"Live decodes with the VAE, as {file.name} cannot be used ({error!r:.200}).")
        return None
    # what is wrong with the latents, the WebUI says
    return processing.DecodedSamples(pictures) if pictures.isfinite().all() else None


def _weights() -> Path:
    """What the WebUI's `decoder_model` reads for the loaded model, or downloads."""
    from modules import paths_internal

    name = "taesdxl_decoder.pth" if models.in_use().is_sdxl else "taesd_decoder.pth"
    return Path(paths_internal.models_path) / "VAE-taesd" / name
