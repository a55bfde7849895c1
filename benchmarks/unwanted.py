"""Prompts that leave one thing open, and negative prompts that name one value of it: what is asked for, and
how a picture of it is judged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from workbench.scenes import Scene, Thing, random_scene
from workbench.scenes.judge import Verdict

TASKS = ("colour", "shape", "size")
"""What can be left open. Not the background's colour, which guidance, full or not, does nothing about where
the prompt does not tell it; not the relation of two objects, which the models draw together only where it is
told; and no caption has a word for a mosaic that is missing.
"""


@dataclass(frozen=True)
class Wish:
    """A prompt that leaves `open`, one of TASKS, unsaid; `scene` is what it asks for, with a value there.

    It is the last object's that is open.
    """

    scene: Scene
    open: str
    prompt: str

    @property
    def value(self) -> str:
        """What the negative prompt names."""
        return _words(self.scene.things[-1])[self.open]

    @property
    def negative(self) -> str:
        """The negative prompt: it names what is open in `prompt`, and of the rest as little as can be."""
        told = {self.open, "shape"}  # one that named the wanted colour too would drive it away
        words = _words(self.scene.things[-1])
        return " ".join(["a", *(word for name, word in words.items() if name in told)])

    def seen_in(self, verdict: Verdict) -> Wish:
        """The same with the value that a picture shows; itself where that cannot be told."""
        *others, last = self.scene.things
        told = {getattr(thing, self.open) for thing in others}
        values = (getattr(thing, self.open) for thing in verdict.things)  # the largest thing's first
        value = next((value for value in values if value is not None and value not in told), None)
        if value is None:
            return self
        things = (*others, replace(last, **{self.open: value}))
        return replace(self, scene=replace(self.scene, things=things))

    def judged(self, verdict: Verdict) -> dict[str, bool]:
        """Whether the picture has the unwanted value, whether all is right that the prompt says, and whether
        the mosaic is missing.
        """
        right = verdict.agrees(self.scene)
        # who stands where cannot be right where the colour that belongs there is left open
        left_out = {self.open, "relation", "all"}
        return {
            "unwanted": self.value in (getattr(thing, self.open) for thing in verdict.things),
            "right": all(flag for name, flag in right.items() if name not in left_out),
            "flat": not right["mosaic"],
        }


def _words(thing: Thing) -> dict[str, str]:
    words = {"size": thing.size, "colour": thing.colour, "shape": thing.shape}
    return {name: word for name, word in words.items() if word}


def _noun(thing: Thing, without: str = "") -> str:
    return " ".join(["a", *(word for name, word in _words(thing).items() if name != without)])


def wish(task: str, rng: np.random.Generator, held_out: bool) -> Wish:
    """A single object with one thing left open. With `held_out` the prompt tells a combination of colour and
    shape that training never showed; as that takes both, a colour or shape is left open of a second object
    there.
    """
    while True:
        scene = random_scene(rng, held_out=held_out, pair=held_out and task != "size")
        *others, last = scene.things
        if task == "size":
            break
        # the open one is not told of the other object as well
        if not last.held_out and last.shape not in (thing.shape for thing in others):
            break
    nouns = [f"{_noun(thing)} {scene.relation}" for thing in others]
    nouns.append(_noun(last, without=task) + (" shape" if task == "shape" else ""))
    return Wish(scene, task, f"{' '.join(nouns)} on a {scene.background} mosaic")


def wishes(task: str, count: int, seed: int, *, held_out: bool = False) -> list[Wish]:
    """The same for the same arguments."""
    rng = np.random.default_rng([seed, TASKS.index(task), held_out])
    return [wish(task, rng, held_out) for _ in range(count)]
