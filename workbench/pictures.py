"""The captioned pictures that the workbench's models are trained on: one coloured shape on a coloured background.

A picture is fully described by a `Scene` (background, colour, shape, size); position and the exact tone vary at random. That makes it
possible to say of any generated picture whether it shows what its caption asked for (see `workbench.judge`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw

SIDE = 64
"""Width and height of a picture in pixels."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (45, 70, 215),
    "yellow": (240, 215, 50),
    "pink": (235, 90, 200),
    "cyan": (60, 205, 220),
    "black": (25, 25, 25),
    "white": (240, 240, 240),
}
SHAPES = ("circle", "square", "triangle", "star")
SIZES: dict[str, float] = {"small": 15.5, "big": 23.0}
"""Half the side, in pixels, of the box that the shape fills. The small one spans four latent pixels, so the autoencoder can keep it."""

TONE_JITTER = 10
"""Largest random change of a colour channel, in levels of 255."""
SIZE_JITTER = 0.6
"""Largest random change of the half side, in pixels."""
SUPERSAMPLING = 4
MARGIN = 1.0
"""Background kept around the shape, in pixels."""


@dataclass(frozen=True)
class Scene:
    """What one picture shows. `background` and `colour` are keys of COLOURS, `shape` is one of SHAPES, `size` is a key of SIZES."""

    background: str
    colour: str
    shape: str
    size: str

    @property
    def caption(self) -> str:
        """The full caption, e.g. "a big red star on a blue background"."""
        return f"a {self.size} {self.colour} {self.shape} on a {self.background} background"


ALL_SCENES: tuple[Scene, ...] = tuple(
    Scene(background, colour, shape, size)
    for background in COLOURS
    for colour in COLOURS
    if colour != background
    for shape in SHAPES
    for size in SIZES
)
"""All 448 scenes."""


def loose_caption(scene: Scene, rng: np.random.Generator) -> str:
    """A caption as a person might type it: some words left out, other filler words, or commas. Never says anything untrue."""
    size = f"{scene.size} " if rng.random() < 0.7 else ""
    colour = f"{scene.colour} " if rng.random() < 0.85 else ""
    thing = f"{size}{colour}{scene.shape}"
    form = rng.integers(4)
    if rng.random() < 0.3:
        return thing if form else f"a {thing}"
    if form == 0:
        return f"{thing}, {scene.background} background"
    if form == 1:
        return f"a picture of a {thing} on a {scene.background} background"
    if form == 2:
        return f"{thing} on {scene.background}"
    return f"a {thing} on a {scene.background} background"


def outline(shape: str, centre_x: float, centre_y: float, half_side: float) -> list[tuple[float, float]]:
    """Corners of `shape`, in the units of the arguments; a circle is a polygon of 64 corners."""
    if shape == "square":
        reach = half_side * 0.9
        offsets = [(-reach, -reach), (reach, -reach), (reach, reach), (-reach, reach)]
    elif shape == "triangle":
        offsets = [(0.0, -half_side), (half_side, half_side), (-half_side, half_side)]
    elif shape == "star":
        radii = (half_side * 1.1, half_side * 0.44)
        angles = [-math.pi / 2 + corner * math.pi / 5 for corner in range(10)]
        offsets = [(radii[i % 2] * math.cos(a), radii[i % 2] * math.sin(a) + 0.05 * half_side) for i, a in enumerate(angles)]
    elif shape == "circle":
        angles = [corner * math.pi / 32 for corner in range(64)]
        offsets = [(half_side * math.cos(a), half_side * math.sin(a)) for a in angles]
    else:
        raise ValueError(f"unknown shape {shape!r}; known: {', '.join(SHAPES)}")
    return [(centre_x + dx, centre_y + dy) for dx, dy in offsets]


def shape_mask(shape: str, half_side: float, centre_x: float = SIDE / 2, centre_y: float = SIDE / 2) -> np.ndarray:
    """Anti-aliased coverage of `shape`, float32 [SIDE, SIDE] in 0..1."""
    scale = SUPERSAMPLING
    image = Image.new("L", (SIDE * scale, SIDE * scale), 0)
    ImageDraw.Draw(image).polygon([(x * scale, y * scale) for x, y in outline(shape, centre_x, centre_y, half_side)], fill=255)
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32) / 255.0


def render(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """One picture of `scene` at a random position, uint8 [SIDE, SIDE, 3]."""
    half_side = SIZES[scene.size] + rng.uniform(-SIZE_JITTER, SIZE_JITTER)
    room = SIDE / 2 - 1.1 * half_side - MARGIN
    centre_x, centre_y = SIDE / 2 + rng.uniform(-room, room, size=2)
    mask = shape_mask(scene.shape, half_side, centre_x, centre_y)[..., None]
    tones = [np.array(COLOURS[name]) + rng.uniform(-TONE_JITTER, TONE_JITTER, size=3) for name in (scene.background, scene.colour)]
    picture = tones[0] * (1.0 - mask) + tones[1] * mask
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def random_scene(rng: np.random.Generator) -> Scene:
    return ALL_SCENES[rng.integers(len(ALL_SCENES))]


def random_pictures(count: int, rng: np.random.Generator) -> tuple[np.ndarray, list[Scene]]:
    """`count` pictures, uint8 [count, SIDE, SIDE, 3], and their scenes."""
    scenes = [random_scene(rng) for _ in range(count)]
    return np.stack([render(scene, rng) for scene in scenes]), scenes


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """uint8 [B, H, W, 3] to float32 [B, 3, H, W] in -1..1, the range of an SD VAE."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def to_uint8(pictures: torch.Tensor) -> np.ndarray:
    """float [B, 3, H, W] in -1..1 to uint8 [B, H, W, 3]."""
    return ((pictures.detach().float().clamp(-1, 1) + 1.0) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
