"""Says what a picture of the richer task shows, or that it shows nothing clear.

Image analysis: the background is the commonest colour of the rim, objects are connected regions that differ from it, and each object's
mask, brought to a standard place and area, is compared with every true outline at every angle. Nothing is learned from pictures, so it
cannot be fooled the way a classifier can, and a smear is not counted as a shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from workbench.scenes import SHAPES, SIZES, Scene
from workbench.scenes.render import REACH, SIDE, TURN, coverage, palette

RIM = 2
"""Width of the rim, in pixels, whose median is taken as the background."""
LEAST_CONTRAST = 45.0
"""Euclidean RGB distance (0..441) below which a pixel cannot belong to an object; the two closest colours are 84 apart."""
LEAST_AREA = 60
"""Pixels; the smallest object has about 180."""
LEAST_SHARE = 0.15
"""A region smaller than this share of the largest is a speck, not an object."""
LEAST_OVERLAP = 0.80
"""Intersection over union with the best true outline below which an outline is no known shape."""
FARTHEST_COLOUR = 75.0
"""RGB distance from the nearest named colour beyond which a colour has no name."""
CROP = 32
"""Side, in pixels, of the standard view of a mask."""
STANDARD_AREA = 300.0
"""Pixels that a mask covers in its standard view."""
ANGLE_STEP = math.radians(5.0)
ATTRIBUTES = ("background", "colour", "shape", "size", "relation")
"""What can be right or wrong of a scene; `size` is that of a single object, `relation` who stands where of two."""


@dataclass(frozen=True)
class Seen:
    """One object. `centre` is (x, y) in pixels; `overlap` that with the best outline."""

    colour: str | None
    shape: str | None
    size: str | None
    centre: tuple[float, float]
    overlap: float


@dataclass(frozen=True)
class Verdict:
    """What one picture shows."""

    background: str | None
    things: tuple[Seen, ...]

    def agrees(self, scene: Scene) -> dict[str, bool]:
        """Which of ATTRIBUTES are as in `scene` (those that it has), and under "all" whether everything is.

        Of two objects, colours and shapes are right when the picture has these two, wherever they are; the relation is right when
        each object, with its own colour and shape, stands where it should.
        """
        seen = self.things if len(self.things) == len(scene.things) else ()
        right = {
            "background": self.background == scene.background,
            "colour": bool(seen) and sorted(str(s.colour) for s in seen) == sorted(t.colour for t in scene.things),
            "shape": bool(seen) and sorted(str(s.shape) for s in seen) == sorted(t.shape for t in scene.things),
        }
        if scene.relation is None:
            right["size"] = bool(seen) and seen[0].size == scene.things[0].size
        else:
            wanted = [(thing.colour, thing.shape) for thing in scene.things]
            right["relation"] = bool(seen) and [(s.colour, s.shape) for s in _in_order(seen, scene.relation)] == wanted
        return {**right, "all": all(right.values())}


def _in_order(seen: Sequence[Seen], relation: str) -> list[Seen]:
    """The two objects as (first, second) of `relation`; empty when they stand in the other axis."""
    (ax, ay), (bx, by) = (s.centre for s in seen)
    sideways = relation in ("left of", "right of")
    if sideways != (abs(ax - bx) > abs(ay - by)):
        return []
    return sorted(seen, key=lambda s: s.centre[0 if sideways else 1], reverse=relation in ("right of", "below"))


class Judge:
    """Judges 64x64 RGB pictures in the palette of `look`."""

    def __init__(self, look: str = "plain") -> None:
        tones = palette(look)
        self._names, self._tones = list(tones), np.stack(list(tones.values()))
        self._contrast = LEAST_CONTRAST * (0.6 if look == "pastel" else 1.0)

    def __call__(self, pictures: np.ndarray) -> list[Verdict]:
        """One verdict for each of `pictures`, uint8 [B, 64, 64, 3]. ValueError for any other shape."""
        pictures = np.asarray(pictures)
        if pictures.ndim != 4 or pictures.shape[1:] != (SIDE, SIDE, 3):
            raise ValueError(f"expected pictures [B, {SIDE}, {SIDE}, 3], got {list(pictures.shape)}")
        found = [self._objects(picture.astype(np.float32)) for picture in pictures]
        masks = [mask for _, objects in found for _, mask in objects]
        shapes = iter(_shapes(torch.from_numpy(np.stack(masks))) if masks else ())
        verdicts = []
        for background, objects in found:
            things = []
            for colour, mask in objects:
                shape, size, overlap = next(shapes)
                y, x = ndimage.center_of_mass(mask)
                things.append(Seen(colour, shape, size, (float(x), float(y)), overlap))
            verdicts.append(Verdict(background, tuple(things)))
        return verdicts

    def name(self, rgb: np.ndarray) -> str | None:
        """Name of the colour nearest to `rgb` (0..255), or None when all are far."""
        distances = np.linalg.norm(self._tones - rgb, axis=1)
        best = int(distances.argmin())
        return self._names[best] if distances[best] <= FARTHEST_COLOUR else None

    def _objects(self, picture: np.ndarray) -> tuple[str | None, list[tuple[str | None, np.ndarray]]]:
        """The background's colour, and of each object (at most three) its colour and its mask, float32 [64, 64] in 0..1."""
        rim = np.ones((SIDE, SIDE), dtype=bool)
        rim[RIM:-RIM, RIM:-RIM] = False
        ground = np.median(picture[rim], axis=0)
        distance = np.linalg.norm(picture - _row_ground(picture, ground), axis=-1)
        regions, count = ndimage.label(distance > self._contrast)
        sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
        largest = sizes.max(initial=0)
        objects = []
        for label in sorted(range(count), key=lambda index: -sizes[index])[:3]:
            if sizes[label] < max(LEAST_AREA, LEAST_SHARE * largest):
                break
            inside = regions == label + 1
            core = ndimage.binary_erosion(inside)
            tone = np.median(picture[core if core.sum() >= 20 else inside], axis=0)
            direction = tone - ground
            near = ndimage.binary_dilation(inside, iterations=2) & ((regions == 0) | inside)
            mask = np.clip((picture - ground) @ direction / max(1.0, float(direction @ direction)), 0.0, 1.0)
            mask[~near | (distance < 0.35 * self._contrast)] = 0.0
            mask[core & (mask > 0.5)] = 1.0  # shading within an object is no part of its outline
            objects.append((self.name(tone), mask.astype(np.float32)))
        return self.name(ground), objects


def _row_ground(picture: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """The background of each row, [64, 1, 3], as its two ends show it where these are of the background's kind: it may be shaded."""
    ends = np.concatenate([picture[:, :RIM], picture[:, -RIM:]], axis=1)
    rows = np.median(ends, axis=1)
    far = np.linalg.norm(rows - ground, axis=1) > LEAST_CONTRAST
    rows[far] = ground
    return rows[:, None]


@lru_cache(maxsize=1)
def _templates() -> tuple[list[str], Tensor, dict[str, float]]:
    """Every shape at every angle in the standard view: names, float32 [T, CROP * CROP], and the area of each shape that fills radius 1."""
    names, angles = [], []
    for shape in SHAPES:
        turns = max(1, round(TURN[shape] / ANGLE_STEP))
        names += [shape] * turns
        angles += [TURN[shape] * index / turns for index in range(turns)]
    count = len(names)
    full = coverage(names, torch.full((count, 2), SIDE / 2), torch.full((count,), 20.0), torch.tensor(angles))
    areas = {name: float(full[index].sum()) / 400.0 for index, name in enumerate(names)}
    views, _ = standard_view(full)
    return names, views.flatten(1), areas


def standard_view(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Masks [B, 64, 64] with their centroid in the middle and STANDARD_AREA pixels large, [B, CROP, CROP]; and their areas [B]."""
    area = masks.sum(dim=(1, 2)).clamp(min=1.0)
    grid = torch.arange(SIDE) + 0.5
    centre_x = (masks.sum(dim=1) * grid).sum(dim=1) / area
    centre_y = (masks.sum(dim=2) * grid).sum(dim=1) / area
    scale = (area / STANDARD_AREA).sqrt()  # pixels of the picture to one of the view
    offsets = torch.arange(CROP) + 0.5 - CROP / 2
    x = centre_x[:, None, None] + scale[:, None, None] * offsets[None, None, :]
    y = centre_y[:, None, None] + scale[:, None, None] * offsets[None, :, None]
    where = torch.stack(torch.broadcast_tensors(x, y), dim=-1) / (SIDE / 2) - 1.0
    return F.grid_sample(masks[:, None], where, align_corners=False)[:, 0], area


def _shapes(masks: Tensor) -> list[tuple[str | None, str | None, float]]:
    """(shape, size, overlap) of each mask [B, 64, 64]; shape and size None where nothing fits."""
    names, templates, areas = _templates()
    views, area = standard_view(masks)
    views = views.flatten(1)
    shared = views @ templates.T
    # For soft masks the product's sum stands in for the intersection; the squared sums keep a perfect match at exactly 1.
    union = views.square().sum(1, keepdim=True) + templates.square().sum(1) - shared
    overlap, best = (shared / union).max(dim=1)
    result = []
    for index in range(len(masks)):
        score, name = float(overlap[index]), names[int(best[index])]
        reach = math.sqrt(float(area[index]) / areas[name])
        size = min(SIZES, key=lambda word: abs(reach - REACH[word]))
        result.append((name, size, score) if score >= LEAST_OVERLAP else (None, None, score))
    return result


def agreement(pictures: np.ndarray, scenes: Sequence[Scene], judge: Judge | None = None) -> list[dict[str, bool]]:
    """What is right of each picture, see `Verdict.agrees`."""
    if len(pictures) != len(scenes):
        raise ValueError(f"{len(pictures)} pictures for {len(scenes)} scenes")
    return [verdict.agrees(scene) for verdict, scene in zip((judge or Judge())(pictures), scenes, strict=True)]
