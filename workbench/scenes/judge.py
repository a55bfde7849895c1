"""Says what a picture shows, or that it shows nothing clear.

Image analysis: the background is the commonest colour of the rim, objects are connected regions that differ
from it by more than a tile does, and each object's mask, brought to a standard place and area, is compared
with every true outline at every angle. The mosaic is there when most tiles are clearly light or clearly dark.
Nothing is learned from pictures, so it cannot be fooled the way a classifier can, and a smear is not counted
as a shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from workbench.scenes import SHAPES, SIZES, Scene
from workbench.scenes.render import REACH, SIDE, SKY, TILE, TURN, coverage, palette, tile_tone

RIM = 2
"""Width of the rim, in pixels, whose commonest colour is taken as the background."""
LEAST_CONTRAST = 45.0
"""RGB distance (0..441), light and dark of a tile left out, below which a pixel cannot belong to an object.
"""
LEAST_AREA = 60
"""Pixels; the smallest object has about 220."""
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
CLEAR_TONE = 0.5
"""Share of the true difference from the background's mean tone beyond which a tile is clearly light or dark.
"""
LEAST_CLEAR = 0.85
"""Share of the tiles that must be clearly light or dark; of tiles that are an average of the two, few are."""
ATTRIBUTES = ("background", "mosaic", "colour", "shape", "size", "relation")
"""What can be right or wrong of a scene; `mosaic` is whether there are tiles, `size` that of a single object,
`relation` who stands where of two."""


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
    """What one picture shows. `clear_tiles` is the share (0..1) of the background's tiles that are clearly
    light or dark.
    """

    background: str | None
    things: tuple[Seen, ...]
    clear_tiles: float

    def agrees(self, scene: Scene) -> dict[str, bool]:
        """Which of ATTRIBUTES are as in `scene` (those that it has), and under "all" whether everything is.

        Of two objects, colours and shapes are right when the picture has these two, wherever they are; the
        relation is right when each object, with its own colour and shape, stands where it should.
        """
        seen = self.things if len(self.things) == len(scene.things) else ()
        right = {
            "background": self.background == scene.background,
            "mosaic": self.clear_tiles >= LEAST_CLEAR,
            "colour": (
                bool(seen) and sorted(str(s.colour) for s in seen) == sorted(t.colour for t in scene.things)
            ),
            "shape": (
                bool(seen) and sorted(str(s.shape) for s in seen) == sorted(t.shape for t in scene.things)
            ),
        }
        if scene.relation is None:
            right["size"] = bool(seen) and seen[0].size == scene.things[0].size
        else:
            wanted = [(thing.colour, thing.shape) for thing in scene.things]
            right["relation"] = (
                bool(seen) and [(s.colour, s.shape) for s in _in_order(seen, scene.relation)] == wanted
            )
        return {**right, "all": all(right.values())}


def _in_order(seen: Sequence[Seen], relation: str) -> list[Seen]:
    """The two objects as (first, second) of `relation`; empty when they stand in the other axis."""
    (ax, ay), (bx, by) = (s.centre for s in seen)
    sideways = relation in ("left of", "right of")
    if sideways != (abs(ax - bx) > abs(ay - by)):
        return []
    return sorted(
        seen, key=lambda s: s.centre[0 if sideways else 1], reverse=relation in ("right of", "below")
    )


class Judge:
    """Judges 64x64 RGB pictures in the palette of `look`; ValueError for one that is not one of LOOKS."""

    def __init__(self, look: str = "plain") -> None:
        tones = palette(look)
        self._names, self._tones = list(tones), np.stack(list(tones.values()))
        self._tile_tone = tile_tone(look)
        self._contrast = LEAST_CONTRAST * (0.6 if look == "pastel" else 1.0)
        self._sky = (SKY if look == "lit" else 0.0) * np.linspace(1, -1, SIDE, dtype=np.float32)[
            :, None, None
        ]

    def __call__(self, pictures: np.ndarray) -> list[Verdict]:
        """One verdict for each of `pictures`, uint8 [B, 64, 64, 3]. ValueError for any other shape."""
        pictures = np.asarray(pictures)
        if pictures.ndim != 4 or pictures.shape[1:] != (SIDE, SIDE, 3):
            raise ValueError(f"expected pictures [B, {SIDE}, {SIDE}, 3], got {list(pictures.shape)}")
        found = [self._objects(picture.astype(np.float32)) for picture in pictures]
        masks = [mask for _, objects, _ in found for _, mask in objects]
        shapes = iter(_shapes(torch.from_numpy(np.stack(masks))) if masks else ())
        verdicts = []
        for background, objects, clear_tiles in found:
            things = []
            for colour, mask in objects:
                shape, size, overlap = next(shapes)
                y, x = ndimage.center_of_mass(mask)
                things.append(Seen(colour, shape, size, (float(x), float(y)), overlap))
            verdicts.append(Verdict(background, tuple(things), clear_tiles))
        return verdicts

    def tone(self, name: str) -> np.ndarray:
        """The colour `name` of the look, RGB in 0..255."""
        return self._tones[self._names.index(name)]

    def name(self, rgb: np.ndarray) -> str | None:
        """Name of the colour nearest to `rgb` (0..255), or None when all are far."""
        distances = np.linalg.norm(self._tones - rgb, axis=1)
        best = int(distances.argmin())
        return self._names[best] if distances[best] <= FARTHEST_COLOUR else None

    def _objects(self, picture: np.ndarray) -> tuple[str | None, list[tuple[str | None, np.ndarray]], float]:
        """The background's colour; of each object (at most three) its colour and its mask, float32 [64, 64]
        in 0..1; `clear_tiles`.
        """
        rim = np.ones((SIDE, SIDE), dtype=bool)
        rim[RIM:-RIM, RIM:-RIM] = False
        picture = picture - self._sky
        ground = np.median(picture[rim], axis=0)
        near_ground = np.linalg.norm(picture[rim] - ground, axis=-1) < 2 * self._contrast
        # the median is a light tile or a dark one
        ground = picture[rim][near_ground].mean(axis=0) if near_ground.any() else ground
        difference = picture - ground
        lightness = difference.mean(axis=-1, keepdims=True)
        difference -= lightness.clip(-1.3 * self._tile_tone, 1.3 * self._tile_tone)
        distance = np.linalg.norm(difference, axis=-1)
        regions, count = ndimage.label(distance > self._contrast)
        sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
        largest = sizes.max(initial=0)
        objects = []
        free = np.ones((SIDE, SIDE), dtype=bool)
        for label in sorted(range(count), key=lambda index: -sizes[index])[:3]:
            if sizes[label] < max(LEAST_AREA, LEAST_SHARE * largest):
                break
            inside = regions == label + 1
            free &= ~ndimage.binary_dilation(inside, iterations=2)
            core = ndimage.binary_erosion(inside)
            tone = np.median(picture[core if core.sum() >= 20 else inside], axis=0)
            near = ndimage.binary_dilation(inside, iterations=2) & ((regions == 0) | inside)
            reference = np.median(difference[core if core.sum() >= 20 else inside], axis=0)
            mask = np.clip(difference @ reference / max(1.0, float(reference @ reference)), 0.0, 1.0)
            mask[~near | (distance < 0.35 * self._contrast)] = 0.0
            mask[core & (mask > 0.5)] = 1.0  # shading within an object is no part of its outline
            objects.append((self.name(tone), mask.astype(np.float32)))
        return self.name(ground), objects, self._clear_tiles(lightness[..., 0], free)

    def _clear_tiles(self, lightness: np.ndarray, free: np.ndarray) -> float:
        """Share of tiles that are clearly light or dark, of those that at least half can be seen of. `free`:
        where no object is.
        """
        rows = SIDE // TILE
        tiles = lightness.reshape(rows, TILE, rows, TILE).swapaxes(1, 2).reshape(rows * rows, -1)
        seen = free.reshape(rows, TILE, rows, TILE).swapaxes(1, 2).reshape(rows * rows, -1)
        tones = np.array(
            [
                np.median(tile[part])
                for tile, part in zip(tiles, seen, strict=True)
                if 2 * part.sum() >= TILE * TILE
            ]
        )
        if not len(tones):
            return 0.0
        middle = np.quantile(
            tones, (0.1, 0.9)
        ).mean()  # of the tiles' own: the background's tone may be a little off
        return float((abs(tones - middle) >= CLEAR_TONE * self._tile_tone).mean())


@lru_cache(maxsize=1)
def _templates() -> tuple[list[str], Tensor, dict[str, float]]:
    """Every shape at every angle in the standard view: names, float32 [T, CROP * CROP], and the area of each
    shape that fills radius 1.
    """
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
    """Masks [B, 64, 64] with their centroid in the middle and STANDARD_AREA pixels large, [B, CROP, CROP];
    and their areas [B].
    """
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
    # For soft masks the product's sum stands in for the intersection; the squared sums keep a perfect match
    # at exactly 1.
    union = views.square().sum(1, keepdim=True) + templates.square().sum(1) - shared
    overlap, best = (shared / union).max(dim=1)
    result = []
    for index in range(len(masks)):
        score, name = float(overlap[index]), names[int(best[index])]
        reach = math.sqrt(float(area[index]) / areas[name])
        size = min(SIZES, key=lambda word: abs(reach - REACH[word]))
        result.append((name, size, score) if score >= LEAST_OVERLAP else (None, None, score))
    return result


def agreement(pictures: np.ndarray, scenes: Sequence[Scene], look: str = "plain") -> list[dict[str, bool]]:
    """What is right of each picture, see `Verdict.agrees`."""
    return [verdict.agrees(scene) for verdict, scene in zip(Judge(look)(pictures), scenes, strict=True)]


def rates(rows: Sequence[Mapping[str, bool]]) -> dict[str, float]:
    """The share (0..1) of pictures in which each attribute is right, of those that have the attribute."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        name: sum(row[name] for row in rows if name in row) / sum(name in row for row in rows)
        for name in names
    }
