"""Says what a picture shows: background, colour, shape and size, or None where it shows nothing clear.

Plain image analysis, nothing learned: the background is the commonest colour of the rim, the shape is whatever differs from it, and its
outline is compared with every true outline at every position. So the judge cannot be fooled in the way a classifier trained on the same
pictures can, and a smear is not counted as a shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import fft

from workbench.pictures import COLOURS, SHAPES, SIDE, SIZES, Scene, shape_mask

RIM = 2
"""Width of the rim, in pixels, whose median is taken as the background."""
LEAST_CONTRAST = 60.0
"""Euclidean RGB distance (0..441) below which a pixel cannot belong to the shape; the two closest tones are 136 apart."""
LEAST_OVERLAP = 0.80
"""Intersection over union with the best true outline below which the outline counts as no known shape."""
FARTHEST_COLOUR = 90.0
"""RGB distance from the nearest named colour beyond which a colour has no name."""


@dataclass(frozen=True)
class Verdict:
    """What one picture shows; `overlap` is the intersection over union (0..1) with the best matching outline."""

    background: str | None
    colour: str | None
    shape: str | None
    size: str | None
    overlap: float

    def agrees(self, scene: Scene) -> dict[str, bool]:
        """Which attributes are those of `scene`, and under "all" whether every one is."""
        right = {name: getattr(self, name) == getattr(scene, name) for name in ("background", "colour", "shape", "size")}
        return {**right, "all": all(right.values())}


class Judge:
    """Judges 64x64 RGB pictures."""

    names = tuple((shape, size) for shape in SHAPES for size in SIZES)

    @cached_property
    def _outlines(self) -> np.ndarray:
        """float32 [8, 64, 64]: coverage of each shape and size, centred."""
        return np.stack([shape_mask(shape, SIZES[size]) for shape, size in self.names])

    @cached_property
    def _spectra(self) -> np.ndarray:
        """Conjugate spectra of the outlines, zero-padded so that correlation does not wrap around."""
        return np.conj(fft.rfft2(self._outlines, s=(2 * SIDE, 2 * SIDE)))

    def __call__(self, pictures: np.ndarray) -> list[Verdict]:
        """One verdict for each of `pictures`, uint8 [B, 64, 64, 3]. ValueError for any other shape."""
        pictures = np.asarray(pictures)
        if pictures.ndim != 4 or pictures.shape[1:] != (SIDE, SIDE, 3):
            raise ValueError(f"expected pictures [B, {SIDE}, {SIDE}, 3], got {list(pictures.shape)}")
        return [self._judge(picture.astype(np.float32)) for picture in pictures]

    def _judge(self, picture: np.ndarray) -> Verdict:
        rim = np.concatenate([picture[:RIM].reshape(-1, 3), picture[-RIM:].reshape(-1, 3), picture[:, :RIM].reshape(-1, 3),
                              picture[:, -RIM:].reshape(-1, 3)])  # fmt: skip
        ground = np.median(rim, axis=0)
        background = nearest_colour(ground)
        distance = np.linalg.norm(picture - ground, axis=-1)
        strong = distance > max(LEAST_CONTRAST, 0.6 * float(np.quantile(distance, 0.98)))
        if strong.sum() < 40:
            return Verdict(background, None, None, None, 0.0)
        tone = np.median(picture[strong], axis=0)
        direction = tone - ground
        coverage = np.clip((picture - ground) @ direction / float(direction @ direction), 0.0, 1.0)
        coverage[distance < 0.25 * LEAST_CONTRAST] = 0.0
        overlaps = self._overlaps(coverage)
        best = int(overlaps.argmax())
        overlap = float(overlaps[best])
        shape, size = self.names[best] if overlap >= LEAST_OVERLAP else (None, None)
        return Verdict(background, nearest_colour(tone), shape, size, overlap)

    def _overlaps(self, coverage: np.ndarray) -> np.ndarray:
        """Best intersection over union of `coverage` with each outline over all shifts, [8]."""
        spectrum = fft.rfft2(coverage, s=(2 * SIDE, 2 * SIDE))
        shared = fft.irfft2(spectrum * self._spectra, s=(2 * SIDE, 2 * SIDE)).max(axis=(1, 2))
        # For soft masks the product's sum stands in for the intersection; the squared sums keep a perfect match at exactly 1.
        union = (coverage**2).sum() + (self._outlines**2).sum(axis=(1, 2)) - shared
        return shared / union


def nearest_colour(rgb: np.ndarray) -> str | None:
    """Name of the nearest of COLOURS to `rgb` (0..255), or None when all are far."""
    names = list(COLOURS)
    distances = np.linalg.norm(np.array([COLOURS[name] for name in names]) - rgb, axis=1)
    best = int(distances.argmin())
    return names[best] if distances[best] <= FARTHEST_COLOUR else None


def agreement(pictures: np.ndarray, scenes: Sequence[Scene], judge: Judge | None = None) -> dict[str, float]:
    """Share (0..1) of `pictures`, uint8 [B, 64, 64, 3], whose attributes are those of `scenes`: one figure per attribute, and "all"."""
    if len(pictures) != len(scenes):
        raise ValueError(f"{len(pictures)} pictures for {len(scenes)} scenes")
    rows = [verdict.agrees(scene) for verdict, scene in zip((judge or Judge())(pictures), scenes, strict=True)]
    return {name: sum(row[name] for row in rows) / max(1, len(rows)) for name in rows[0]} if rows else {}


def scene_of(caption: str) -> Scene:
    """The scene that a full caption ("a big red star on a blue background") names. ValueError when a word is missing or extra."""
    words = caption.lower().replace(",", " ").split()
    try:
        background = words[words.index("background") - 1]
        rest = [word for word in words[: words.index("background") - 1] if word not in ("a", "on", "of", "the", "picture")]
        size, colour, shape = rest
        if size not in SIZES or colour not in COLOURS or shape not in SHAPES or background not in COLOURS:
            raise ValueError
    except ValueError:
        raise ValueError(f"not a full caption: {caption!r}; an example is 'a big red star on a blue background'") from None
    return Scene(background, colour, shape, size)
