"""What the small models draw: one object with a size, or two with a relation, on a mosaic; eight colours and
four shapes.

    a big red triangle on a blue mosaic
    a red circle left of a yellow cross on a green mosaic

The place is not in the caption, nor is which tiles of the mosaic are light and which are dark. The tiles are
what few-step sampling stumbles over, as it does over the texture of real pictures: they differ so little that
they are decided in the last part of sampling, and a denoiser that is asked only once there answers with the
mean of light and dark, a flat background. No guidance changes that.

`HELD_OUT` combinations of colour and shape never occur in training, neither in a picture nor in a caption.
What a model does with them is reported apart: it shows whether it has learnt colours and shapes, or a list of
pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 45, 45),
    "green": (45, 160, 65),
    "blue": (50, 75, 215),
    "yellow": (225, 205, 50),
    "cyan": (60, 205, 220),
    "black": (40, 40, 40),
    "white": (225, 225, 225),
    "purple": (125, 45, 165),
}
"""Far enough from 0 and 255 that a tile can be darker or lighter."""
SHAPES = ("circle", "square", "triangle", "cross")
SIZES = ("small", "big")
RELATIONS = ("left of", "right of", "above", "below")
HELD_OUT = frozenset({("green", "circle"), ("yellow", "square"), ("black", "triangle"), ("cyan", "cross")})
WORDS = (*COLOURS, *SHAPES, *SIZES, "left", "right", "above", "below", "mosaic")
PAIR_SHARE = 2 / 3
"""How many pictures show two objects."""
TEACHER_CFG = 2.0
"""The CFG scale at which the shipped checkpoints, without an LCM-LoRA, draw most prompts right; `python
dev.py bench` compares it.
"""


@dataclass(frozen=True)
class Thing:
    """One object: `colour` is a key of COLOURS, `shape` one of SHAPES; `size`, one of SIZES, is only told of
    an object that is alone.
    """

    colour: str
    shape: str
    size: str | None = None

    @property
    def held_out(self) -> bool:
        return (self.colour, self.shape) in HELD_OUT


@dataclass(frozen=True)
class Scene:
    """What one picture shows: one thing, or a first that stands in `relation` (one of RELATIONS) to a second.
    All colours differ.
    """

    background: str
    things: tuple[Thing, ...]
    relation: str | None = None

    @property
    def caption(self) -> str:
        """The full caption."""
        return self._phrase(
            [f"{thing.size or ''} {thing.colour} {thing.shape}".strip() for thing in self.things]
        )

    @property
    def facts(self) -> dict[str, str]:
        """What the full caption tells, one word for each question."""
        told = {"background": self.background}
        for number, thing in enumerate(self.things, start=1):
            told |= {f"colour {number}": thing.colour, f"shape {number}": thing.shape}
            told |= {"size": thing.size} if thing.size else {}
        return told | ({"relation": self.relation} if self.relation else {})

    @property
    def in_reading_order(self) -> Scene:
        """The same scene told from left to right or from top to bottom."""
        if self.relation not in ("right of", "below"):
            return self
        return Scene(
            self.background, self.things[::-1], "left of" if self.relation == "right of" else "above"
        )

    @property
    def held_out(self) -> bool:
        """Whether it shows a combination that training never does."""
        return any(thing.held_out for thing in self.things)

    def _phrase(self, nouns: list[str], articles: bool = True, ending: str | None = None) -> str:
        nouns = [f"a {noun}" for noun in nouns] if articles else nouns
        phrase = f" {self.relation} ".join(nouns)
        return phrase + (f" on a {self.background} mosaic" if ending is None else ending)

    def loose_caption(self, rng: np.random.Generator) -> str:
        """A caption as a person might type it: words left out or others put in. Never says anything
        untrue.
        """
        keep = 0.85 if len(self.things) == 1 else 0.95  # without colours, "left of" says little
        nouns = []
        for thing in self.things:
            words = [
                thing.size if rng.random() < 0.7 else None,
                thing.colour if rng.random() < keep else None,
                thing.shape,
            ]
            nouns.append(" ".join(word for word in words if word))
        endings = ("", f", {self.background} mosaic", f" on {self.background}", None)
        articles = bool(rng.random() < 0.6)
        phrase = self._phrase(nouns, articles, endings[rng.integers(len(endings))])
        return f"a picture of {phrase}" if articles and rng.random() < 0.2 else phrase


def random_scene(rng: np.random.Generator, *, held_out: bool = False, pair: bool | None = None) -> Scene:
    """Any scene that shows a held-out combination, or (for training) none that does. `pair` None: two things
    in PAIR_SHARE of them.
    """
    names = list(COLOURS)
    pair = bool(rng.random() < PAIR_SHARE) if pair is None else pair
    while True:
        background, *colours = (
            names[index] for index in rng.choice(len(names), 3 if pair else 2, replace=False)
        )
        shapes = [SHAPES[index] for index in rng.integers(len(SHAPES), size=len(colours))]
        size = None if pair else SIZES[rng.integers(2)]
        scene = Scene(
            background,
            tuple(Thing(colour, shape, size) for colour, shape in zip(colours, shapes, strict=True)),
            RELATIONS[rng.integers(4)] if pair else None,
        )
        if scene.held_out == held_out:
            return scene


def prompts(count: int, seed: int, *, held_out: bool = False) -> list[Scene]:
    """Scenes to measure with; the same for the same arguments."""
    return random_scenes(count, np.random.default_rng([seed, 77]), held_out=held_out)


def random_scenes(count: int, rng: np.random.Generator, *, held_out: bool = False) -> list[Scene]:
    """`count` scenes for training, or with `held_out` as many that training never shows."""
    return [random_scene(rng, held_out=held_out) for _ in range(count)]
