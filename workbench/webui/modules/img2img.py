"""The Generate button of the img2img tab."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modules import images, processing, scripts, shared
from modules.infotext_utils import create_override_settings_dict, parse_generation_parameters
from modules.sd_models import get_closet_checkpoint_match
from modules.shared import opts
from modules.txt2img import finish, run, start

INPAINT, BATCH = 1, 2
"""Indices of these tabs."""
PNG_INFO = ("Prompt", "Negative prompt", "Seed", "CFG scale", "Sampler", "Steps", "Model hash")
"""What a batch can take from each picture's generation parameters."""
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Batch:
    """What the batch tab says. `png_info` are those of PNG_INFO to be taken from each picture, None where
    nothing is.
    """

    input_dir: str
    output_dir: str
    png_info: list[str] | None


def process_batch(p, batch: Batch, script_args):
    """One generation after another with one and the same `p`, from every picture of a folder. Raises
    ValueError without any.
    """
    folder = Path(batch.input_dir.strip())
    files = (
        sorted(file for file in folder.iterdir() if file.suffix.lower() in _ENDINGS)
        if batch.input_dir.strip()
        else []
    )
    if not files:
        raise ValueError(f"There are no pictures in {batch.input_dir!r}: give a folder that has some.")
    if batch.output_dir.strip():
        p.outpath_samples = batch.output_dir.strip()
    processing.fix_seed(p)
    names = ("prompt", "negative_prompt", "seed", "cfg_scale", "sampler_name", "steps")
    given = {name: getattr(p, name) for name in names}
    checkpoint = p.override_settings.get("sd_model_checkpoint")
    shared.state.job_count = len(files) * p.n_iter
    whole = None
    for file in files:
        if shared.state.interrupted or shared.state.stopping_generation:
            break
        picture = images.read(file)
        p.init_images = [picture] * p.batch_size
        if batch.png_info is not None:
            _take_png_info(p, given, checkpoint, picture, batch.png_info)
        processed = run(p, scripts.scripts_img2img, script_args)
        if whole is None:
            whole = processed
        else:
            whole.images.extend(processed.images)
            whole.infotexts.extend(processed.infotexts)
    return whole


def _take_png_info(p, given, checkpoint, picture, wanted):
    """Put what is wanted of a picture's parameters in the place of what the tab says; prompts are added to
    it.
    """
    found = parse_generation_parameters(images.read_info_from_image(picture)[0] or "")
    found = {key: found[key] for key in wanted if key in found}
    p.prompt = " ".join([given["prompt"], *([found["Prompt"]] if "Prompt" in found else [])])
    p.negative_prompt = " ".join(
        [given["negative_prompt"], *([found["Negative prompt"]] if "Negative prompt" in found else [])]
    )
    p.seed = int(found.get("Seed", given["seed"]))
    p.cfg_scale = float(found.get("CFG scale", given["cfg_scale"]))
    p.sampler_name = found.get("Sampler", given["sampler_name"])
    p.steps = int(found.get("Steps", given["steps"]))
    of_picture = get_closet_checkpoint_match(found["Model hash"]) if "Model hash" in found else None
    if of_picture is not None:
        p.override_settings["sd_model_checkpoint"] = of_picture.name
    elif checkpoint is not None:
        p.override_settings["sd_model_checkpoint"] = checkpoint
    else:
        p.override_settings.pop("sd_model_checkpoint", None)


def img2img(
    request, mode, init_img, init_img_with_mask, batch, scale_by, values, override_settings_texts, script_args
):
    """A generation from the picture, or the pictures, of the tab that is open. Raises ValueError without a
    picture.

    Where `scale_by` is not None, the size is that of the picture by so much; in a batch it is that of the
    values all the same.
    """
    mask = None
    image = init_img
    if mode == INPAINT and init_img_with_mask is not None:
        image, mask = init_img_with_mask["image"], init_img_with_mask["mask"].convert("L")
    if image is None and mode != BATCH:
        raise ValueError("There is no picture to start from: drop one on the img2img tab.")
    if scale_by is not None and mode != BATCH:
        values = {**values, "width": int(image.width * scale_by), "height": int(image.height * scale_by)}
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
    if mode == BATCH:
        return finish(p, lambda: process_batch(p, batch, script_args))
    return finish(p, lambda: run(p, scripts.scripts_img2img, script_args))
