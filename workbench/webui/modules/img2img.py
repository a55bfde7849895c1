"""The Generate button of the img2img tab."""

from __future__ import annotations

from modules import processing, scripts, shared
from modules.infotext_utils import create_override_settings_dict
from modules.shared import opts
from modules.txt2img import finish, start

INPAINT = 1
"""Index of the inpaint tab."""


def img2img(request, mode, init_img, init_img_with_mask, values, override_settings_texts, script_args):
    """A generation from the picture of the tab that is open. Raises ValueError without a picture."""
    mask = None
    image = init_img
    if mode == INPAINT and init_img_with_mask is not None:
        image, mask = init_img_with_mask["image"], init_img_with_mask["mask"].convert("L")
    if image is None:
        raise ValueError("There is no picture to start from: drop one on the img2img tab.")
    p = processing.StableDiffusionProcessingImg2Img(
        sd_model=shared.sd_model,
        outpath_samples=opts.outdir_img2img_samples,
        outpath_grids=opts.outdir_img2img_grids,
        init_images=[image],
        mask=mask,
        override_settings=create_override_settings_dict(override_settings_texts or []),
        **values,
    )
    start(p, request, scripts.scripts_img2img, script_args)
    return finish(p, scripts.scripts_img2img, script_args)
