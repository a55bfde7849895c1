"""The methods by which LoRAs make pictures in few steps: one row says how each of them is sampled."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How the LoRAs of a method are sampled.

    `sampler` is a value of the option of that name, None where our samplers know no way yet; `steps` and
    `cfg` are (lowest, highest, usual). The range is where the method works: a request is brought into it, an
    LCM option outside it is refused, and Settings -> LCM can change it.
    """

    sampler: str | None = None
    steps: tuple[int, int, int] = (1, 8, 4)
    cfg: tuple[float, float, float] = (1.0, 2.0, 1.0)
    weight: float = 1.0
    gamma: float | None = None


@dataclass(frozen=True)
class Method:
    """One way to distil a LoRA for few steps.

    `words` are the beginnings of words by which names of files speak of it.
    """

    name: str
    words: tuple[str, ...] = ()
    recipe: Recipe = Recipe()


LCM = Method("lcm", recipe=Recipe("lcm"))
"""Latent consistency models, arXiv 2310.04378 and 2311.05556."""

TCD = Method("tcd", ("tcd",), Recipe("tcd", gamma=0.3))
"""Trajectory consistency distillation, arXiv 2402.19159; gamma of its authors, as diffusers'
`TCDScheduler.step(eta=)`.
"""

METHODS: tuple[Method, ...] = (
    LCM,
    TCD,
    Method("hyper", ("hyper",)),  # Hyper-SD
    Method("lightning", ("lightning",)),
    Method("turbo", ("turbo",)),
    Method("pcm", ("pcm",)),  # phased consistency
    Method("dmd", ("dmd",)),  # distribution matching
    Method("flash", ("flash",)),  # Flash Diffusion
)


def sampled_by(sampler: str) -> Method:
    """The method whose recipe counts where the option "sampler" is `sampler`: the first that has it."""
    return next(method for method in METHODS if method.recipe.sampler == sampler)


def named_in(relative: str) -> Method | None:
    """The method other than LCM that a file's name speaks of, or None. `relative` is its path in the LoRA
    folder, with forward slashes.

    "hyper" may be a style's as well ("hyperrealistic").
    """
    words = _words(relative)
    if LCM.name in words:
        return None
    return next((method for method in METHODS if any(word.startswith(method.words) for word in words)), None)


def names_steps(relative: str) -> bool:
    """Whether the name speaks of steps, as "Hyper-SD15-8steps-lora" does."""
    return not {"step", "steps"}.isdisjoint(_words(relative))


def _words(relative: str) -> list[str]:
    stem = os.path.splitext(relative.rsplit("/", 1)[-1].lower())[0]
    return "".join(c if c.isalpha() else " " for c in stem).split()
