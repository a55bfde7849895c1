"""Pictures: resizing, grids, saving with the infotext, and reading it back."""

from __future__ import annotations

import datetime
import io
import math
import os
from pathlib import Path

from PIL import Image, ImageOps, PngImagePlugin

from modules import script_callbacks
from modules.shared import opts

LANCZOS = Image.Resampling.LANCZOS
NEAREST = Image.Resampling.NEAREST


def read(fp, **kwargs):
    """Open an image, turned the way its EXIF data says."""
    return fix_image(Image.open(fp, **kwargs))


def fix_image(image):
    return None if image is None else ImageOps.exif_transpose(image)


def flatten(img, bgcolor):
    """The image on a background of one colour, as RGB."""
    if img.mode != "RGBA":
        return img.convert("RGB")
    background = Image.new("RGBA", img.size, bgcolor)
    background.alpha_composite(img)
    return background.convert("RGB")


def _scaled(image, width, height, upscaler_name=None):
    method = NEAREST if upscaler_name == "Nearest" and image.mode != "L" else LANCZOS
    return image.resize((width, height), resample=method)


def resize_image(resize_mode, im, width, height, upscaler_name=None):
    """0: stretch to the size. 1: fill it and crop. 2: fit into it, the rest filled with the border's
    colours.
    """
    if resize_mode not in (1, 2):
        return _scaled(im, width, height, upscaler_name)
    choose = max if resize_mode == 1 else min
    factor = choose(width / im.width, height / im.height)
    inner = _scaled(im, max(round(im.width * factor), 1), max(round(im.height * factor), 1), upscaler_name)
    result = _scaled(inner, width, height) if resize_mode == 2 else Image.new(im.mode, (width, height))
    result.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
    return result


def image_grid(imgs, batch_size=1, rows=None):
    """All images in one, in rows as square as possible."""
    rows = rows or max(round(math.sqrt(len(imgs))), 1)
    cols = math.ceil(len(imgs) / rows)
    params = script_callbacks.ImageGridLoopParams(imgs, cols, rows)
    script_callbacks.image_grid_callback(params)
    width, height = (max(size) for size in zip(*(img.size for img in imgs), strict=True))
    grid = Image.new("RGB", (params.cols * width, params.rows * height), "black")
    for i, img in enumerate(params.imgs):
        grid.paste(img, (i % params.cols * width, i // params.cols * height))
    return grid


def pnginfo_of(image) -> PngImagePlugin.PngInfo:
    """The texts of `image.info` as PNG chunks."""
    info = PngImagePlugin.PngInfo()
    for key, value in image.info.items():
        if isinstance(key, str) and isinstance(value, str):
            info.add_text(key, value)
    return info


def save_image(
    image, path, basename, seed=None, prompt=None, extension="png", info=None, short_filename=False,
    no_prompt=False, grid=False,
    pnginfo_section_name="parameters", p=None, existing_info=None, forced_filename=None, suffix="",
    save_to_dirs=None,
):  # fmt: skip
    """Save an image as PNG into a folder of today, numbered. Returns (file name, None)."""
    folder = Path(path) / datetime.date.today().isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    stem = forced_filename
    if stem is None:
        number = (
            max((int(file.name[:5]) for file in folder.glob("[0-9][0-9][0-9][0-9][0-9]-*")), default=-1) + 1
        )
        stem = f"{number:05}-{basename or seed}{suffix}"
    pnginfo = dict(existing_info or {})
    if info is not None and opts.enable_pnginfo:
        pnginfo[pnginfo_section_name] = info
    params = script_callbacks.ImageSaveParams(image, p, str(folder / f"{stem}.png"), pnginfo)
    script_callbacks.before_image_saved_callback(params)
    image = params.image
    chunks = PngImagePlugin.PngInfo()
    for key, value in params.pnginfo.items():
        chunks.add_text(str(key), str(value))
    partial = f"{params.filename}.part"
    image.save(partial, format="PNG", pnginfo=chunks)
    os.replace(partial, params.filename)
    image.already_saved_as = params.filename
    script_callbacks.image_saved_callback(params)
    return params.filename, None


def read_info_from_image(image):
    """(infotext or None, the other texts stored in the image)"""
    items = {key: value for key, value in (image.info or {}).items() if isinstance(value, str | int | float)}
    geninfo = items.pop("parameters", None)
    return geninfo, items


def image_data(data):
    """(infotext, items) of an uploaded file's bytes; ("", None) if it is not an image."""
    try:
        return read_info_from_image(read(io.BytesIO(data)))
    except OSError:
        return "", None
