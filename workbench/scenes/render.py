"""Draws scenes with torch, on any device: outlines are signed distances, so edges are smooth and a batch is
one computation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workbench.scenes import COLOURS, Scene

SIDE = 64
"""Width and height of a picture in pixels."""
GRID = 8
"""Objects stand with their centre on a multiple of this many pixels, the width of a cell of the latents."""
REACH = {"small": 13.0, "big": 21.0, None: 13.0}
"""Radius in pixels of the circle that an object of this size fills, whatever its angle; None: one of two."""
MARGIN = 1.0
"""Background kept around an object and between two, in pixels."""
SIDEWAYS = 8.0
"""Largest distance, in pixels, between two objects across the direction in which they stand."""
TILE = 8
"""Width of a tile of the mosaic, in pixels."""
TILE_TONE = 12.0
"""Levels of 255 by which a tile is lighter or darker than the background's colour, each by a throw of a coin.
"""
LOOKS = ("plain", "lit", "pastel")
"""plain: flat colours. lit: a lamp at the upper left, the look of the second checkpoint. pastel: washed-out
colours, the style LoRA's.
"""
LAMP = 42.0
"""Levels that the lamp adds at the lit edge of an object of radius 14, and takes away at the other."""
SKY = 10.0
"""The same for the upper and lower end of the background."""
WASHED = 0.4
"""Share of white in a pastel colour."""


def _polygon(corners: Sequence[tuple[float, float]]) -> Callable[[Tensor, Tensor], Tensor]:
    """Signed distance to a polygon: that to its nearest edge, negative where a ray crosses the outline an odd
    number of times.
    """
    edges = list(zip(corners, [*corners[1:], corners[0]], strict=True))

    def distance(x: Tensor, y: Tensor) -> Tensor:
        nearest = torch.full_like(x, math.inf)
        inside = torch.zeros_like(x, dtype=torch.bool)
        for (ax, ay), (bx, by) in edges:
            ex, ey, px, py = bx - ax, by - ay, x - ax, y - ay
            along = ((px * ex + py * ey) / (ex * ex + ey * ey)).clamp(0, 1)
            nearest = torch.minimum(nearest, (px - along * ex) ** 2 + (py - along * ey) ** 2)
            if ey:
                inside ^= ((ay > y) != (by > y)) & (x < ax + py * ex / ey)
        return torch.where(inside, -nearest.sqrt(), nearest.sqrt())

    return distance


def _regular(radii: Sequence[float], corners: int) -> list[tuple[float, float]]:
    """Corners on circles of `radii` by turns, the first one on top."""
    angles = [-math.pi / 2 + index * 2 * math.pi / corners for index in range(corners)]
    return [
        (radii[i % len(radii)] * math.cos(a), radii[i % len(radii)] * math.sin(a))
        for i, a in enumerate(angles)
    ]


_ARM = 0.3  # half the width of the cross's arms; their corners touch the unit circle
_TIP = math.sqrt(1 - _ARM**2)
_QUARTER = ((_ARM, -_TIP), (_ARM, -_ARM), (_TIP, -_ARM))
_CROSS = [
    (c * x - s * y, s * x + c * y) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1)) for x, y in _QUARTER
]  # fmt: skip
OUTLINES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "circle": lambda x, y: (x * x + y * y).sqrt() - 0.9,
    "square": _polygon(_regular((1.0,), 4)),
    "triangle": _polygon(_regular((1.0,), 3)),
    "cross": _polygon(_CROSS),
}
"""Signed distance of points (x, y) to each shape that fills the unit circle, y pointing down."""
TURN = {"circle": 0.0, "square": math.pi / 2, "triangle": 2 * math.pi / 3, "cross": math.pi / 2}
"""The angle after which a shape looks the same again; 0 where every angle looks the same."""
UPRIGHT = {"circle": 0.0, "square": math.pi / 4, "triangle": 0.0, "cross": 0.0}
"""The angle at which a shape is drawn."""


def coverage(
    shapes: Sequence[str], centres: Tensor, reach: Tensor, angles: Tensor, side: int = SIDE
) -> Tensor:
    """Share of each pixel that is covered, [B, side, side] in 0..1. `centres` [B, 2] (x, y), `reach` [B] in
    pixels, `angles` [B].
    """
    grid = torch.arange(side, device=centres.device) + 0.5
    dx = (grid[None, None, :] - centres[:, 0, None, None]) / reach[:, None, None]
    dy = (grid[None, :, None] - centres[:, 1, None, None]) / reach[:, None, None]
    cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None]
    x, y = cos * dx + sin * dy, cos * dy - sin * dx
    covered = torch.empty_like(x)
    for name in set(shapes):
        rows = torch.tensor(
            [index for index, shape in enumerate(shapes) if shape == name], device=centres.device
        )
        covered[rows] = (0.5 - OUTLINES[name](x[rows], y[rows]) * reach[rows, None, None]).clamp(0, 1)
    return covered


def to_uint8(pictures: Tensor) -> np.ndarray:
    """float [B, 3, H, W] in -1..1 to uint8 [B, H, W, 3]."""
    return (
        ((pictures.detach().float().clamp(-1, 1) + 1.0) * 127.5)
        .round()
        .to(torch.uint8)
        .permute(0, 2, 3, 1)
        .cpu()
        .numpy()
    )


@dataclass(frozen=True)
class Placement:
    """Where the objects of B scenes are: float32 arrays for two places each, the second empty (reach 0) where
    there is one object.
    """

    centres: np.ndarray  # [B, 2, 2]: place, (x, y)
    reach: np.ndarray  # [B, 2]
    angles: np.ndarray  # [B, 2]


def places(reach: float) -> list[int]:
    """Coordinates on the grid where an object of this reach stays inside the picture."""
    return [at for at in range(0, SIDE + 1, GRID) if at - reach >= MARGIN and at + reach <= SIDE - MARGIN]


def place(scenes: Sequence[Scene], rng: np.random.Generator) -> Placement:
    """Random places that agree with the scenes. Objects never overlap or leave the picture."""
    count = len(scenes)
    centres, reach, angles = np.zeros((count, 2, 2)), np.zeros((count, 2)), np.zeros((count, 2))
    free = places(REACH[None])
    apart = [(near, far) for near in free for far in free if far - near >= 2 * REACH[None] + MARGIN]
    level = [(one, other) for one in free for other in free if abs(one - other) <= SIDEWAYS]
    for index, scene in enumerate(scenes):
        for number, thing in enumerate(scene.things):
            reach[index, number] = REACH[thing.size]
            angles[index, number] = UPRIGHT[thing.shape]
        if scene.relation is None:
            centres[index, 0] = rng.choice(places(reach[index, 0]), 2)
            continue
        along, across = apart[rng.integers(len(apart))], level[rng.integers(len(level))]
        axis = 0 if scene.relation in ("left of", "right of") else 1
        centres[index, :, axis] = along[::-1] if scene.relation in ("right of", "below") else along
        centres[index, :, 1 - axis] = across
    return Placement(centres.astype(np.float32), reach.astype(np.float32), angles.astype(np.float32))


def tile_tone(look: str) -> float:
    """TILE_TONE in a look."""
    return TILE_TONE * (1 - WASHED if look == "pastel" else 1.0)


def palette(look: str) -> dict[str, np.ndarray]:
    """The mean tone of every colour in a look, float64 [3] in 0..255. ValueError for a look that is not one
    of LOOKS.
    """
    if look not in LOOKS:
        raise ValueError(f"unknown look {look!r}; known: {', '.join(LOOKS)}")
    share = WASHED if look == "pastel" else 0.0
    return {name: np.array(rgb) * (1 - share) + 255.0 * share for name, rgb in COLOURS.items()}


def render(
    scenes: Sequence[Scene],
    rng: np.random.Generator,
    look: str = "plain",
    device: torch.device | str = "cpu",
    tiles: np.ndarray | None = None,
) -> Tensor:
    """Pictures of `scenes`, float32 [B, 3, SIDE, SIDE] in -1..1. ValueError for a look that is not one of
    LOOKS.

    `tiles` [B, SIDE / TILE, SIDE / TILE] are the tones of the mosaic, -1 dark to 1 light; None: a coin for
    each.
    """
    tones = palette(look)
    placed = place(scenes, rng)
    names = [[scene.background, *(thing.colour for thing in scene.things)] for scene in scenes]
    # [B, 3, 3]; a missing second is never seen
    colours = np.stack([[tones[name] for name in (row * 2)[:3]] for row in names])
    colours = torch.from_numpy(colours.astype(np.float32)).to(device)
    coins = rng.integers(0, 2, (len(scenes), 1, SIDE // TILE, SIDE // TILE)) * 2.0 - 1.0
    light = torch.from_numpy(coins if tiles is None else tiles[:, None]).float().to(device)
    centres, reach, angles = (
        torch.from_numpy(part).to(device) for part in (placed.centres, placed.reach, placed.angles)
    )

    mosaic = light.repeat_interleave(TILE, dim=2).repeat_interleave(TILE, dim=3)
    pictures = colours[:, 0, :, None, None] + tile_tone(look) * mosaic
    lamp_row = torch.linspace(1, -1, SIDE, device=device)
    if look == "lit":
        pictures = pictures + SKY * lamp_row[None, None, :, None]
    grid = torch.arange(SIDE, device=device) + 0.5
    for number in range(2):
        rows = [index for index, scene in enumerate(scenes) if len(scene.things) > number]
        if not rows:
            continue
        chosen = torch.tensor(rows, device=device)
        where, radius = centres[chosen, number], reach[chosen, number]
        mask = coverage(
            [scenes[index].things[number].shape for index in rows], where, radius, angles[chosen, number]
        )[:, None]
        paint = colours[chosen, number + 1, :, None, None]
        if look == "lit":
            offset = (grid[None, None, :] - where[:, 0, None, None]) + (
                grid[None, :, None] - where[:, 1, None, None]
            )
            paint = paint - LAMP * (offset / (math.sqrt(2) * radius[:, None, None]))[:, None]
        pictures = pictures.index_copy(0, chosen, pictures[chosen] * (1 - mask) + paint * mask)
    return pictures.round().clamp(0, 255) / 127.5 - 1.0
