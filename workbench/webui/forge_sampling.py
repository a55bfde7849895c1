"""Guidance as Forge does it: on the UNet object itself, with no uncond at CFG 1."""

from __future__ import annotations

import math

import torch


def _rows(cond, start=0, end=None):
    """Keyword arguments of `apply_model` for rows of a conditioning."""
    if isinstance(cond, dict):
        return {"c_crossattn": cond["crossattn"][start:end], "y": cond["vector"][start:end]}
    return {"c_crossattn": cond[start:end], "y": None}


def sampling_function(unet, params, cond_scale, conds_list):
    """The guided denoised latent [N, 4, h, w] for a CFGDenoiserParams with x [N, 4, h, w].

    Plain prompts of one length: one forward of N rows at CFG 1, else of 2N; conds of an AND prompt take a
    forward each.
    """
    model = unet.model
    x, sigma, cond, uncond = params.x, params.sigma, params.text_cond, params.text_uncond
    if math.isclose(cond_scale, 1.0):
        uncond = None
    plain = all(len(conds) == 1 for conds in conds_list)
    if plain and uncond is not None and cond.shape == uncond.shape:
        both = {
            key: None if value is None else torch.cat([value, _rows(uncond)[key]])
            for key, value in _rows(cond).items()
        }
        cond_pred, uncond_pred = model.apply_model(
            torch.cat([x, x]), torch.cat([sigma, sigma]), **both
        ).chunk(2)
    else:
        if plain:
            cond_pred = model.apply_model(x, sigma, **_rows(cond))
        else:
            cond_pred = torch.zeros_like(x)
            for image, conds in enumerate(conds_list):
                total = sum(weight for _, weight in conds)
                for row, weight in conds:
                    part = model.apply_model(
                        x[image : image + 1], sigma[image : image + 1], **_rows(cond, row, row + 1)
                    )
                    cond_pred[image] += part[0] * (weight / total)
        uncond_pred = torch.zeros_like(x) if uncond is None else model.apply_model(x, sigma, **_rows(uncond))
    return uncond_pred + (cond_pred - uncond_pred) * cond_scale
