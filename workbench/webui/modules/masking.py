"""Masks: the region to work on, and filling what is to be replaced."""

from __future__ import annotations

from PIL import Image, ImageFilter, ImageOps


def get_crop_region_v2(mask, pad=0):
    """The smallest box (x1, y1, x2, y2) around the white of an L mask, with padding; None if there is
    none.
    """
    box = mask.getbbox()
    if box is None or not pad:
        return box
    return (
        max(box[0] - pad, 0),
        max(box[1] - pad, 0),
        min(box[2] + pad, mask.width),
        min(box[3] + pad, mask.height),
    )


def get_crop_region(mask, pad=0):
    return get_crop_region_v2(mask, pad) or (mask.width, mask.height, 0, 0)


def expand_crop_region(crop_region, processing_width, processing_height, image_width, image_height):
    """The box made as wide or as high as the processing size's shape asks, moved back inside the image."""

    def widen(low, high, wanted, limit):
        extra = int(wanted) - (high - low)
        low -= extra // 2
        high += extra - extra // 2
        if high > limit:
            low, high = low - (high - limit), limit
        if low < 0:
            low, high = 0, min(high - low, limit)
        return low, high

    x1, y1, x2, y2 = crop_region
    target = processing_width / processing_height
    if (x2 - x1) / (y2 - y1) > target:
        y1, y2 = widen(y1, y2, (x2 - x1) / target, image_height)
    else:
        x1, x2 = widen(x1, x2, (y2 - y1) * target, image_width)
    return x1, y1, x2, y2


def fill(image, mask):
    """The image with the white part of the mask painted over by blurred surroundings."""
    filled = Image.new("RGBA", image.size)
    around = Image.new("RGBa", image.size)
    around.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask.convert("L")))
    around = around.convert("RGBa")
    for radius, repeats in ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1)):
        blurred = around.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(repeats):
            filled.alpha_composite(blurred)
    return filled.convert("RGB")
