"""The methods by which LoRAs make pictures in few steps: one row says how the LoRAs of each are sampled."""

from __future__ import annotations

import re
from dataclasses import dataclass

GRID, EVEN = "grid", "even"
"""Rules for timesteps: evenly over the 50 points that LCMs are distilled on (`lcm_timesteps`), or evenly over
all timesteps from the last one on (`even_timesteps`, diffusers' `timestep_spacing="trailing"`).
"""


@dataclass(frozen=True)
class Recipe:
    """How the LoRAs of a method are sampled.

    `sampler` is a value of the option of that name; `steps` and `cfg` are (lowest, highest, usual). The range
    is where the method works. `timesteps` is one of the rules above, or the timestep at which a model of a
    single step looks. `gamma` is TCD's.
    """

    sampler: str
    timesteps: str | int = GRID
    steps: tuple[int, int, int] = (1, 8, 4)
    cfg: tuple[float, float, float] = (1.0, 2.0, 1.0)
    gamma: float | None = None

    @property
    def exact_steps(self) -> int | None:
        """The one number of steps that works; None where there are several."""
        return self.steps[0] if self.steps[0] == self.steps[1] else None


@dataclass(frozen=True)
class Method:
    """One way to distil a LoRA for few steps.

    `group` is what people call it; the variants of one group are for different numbers of steps. `words` is a
    regular expression for what names of files say of it, in lower case with a space for all that is neither
    letter nor digit; `number` the steps that they name beside it. `recipe` is None for what none of our
    samplers can sample. `source` says where the recipe is from. `is_of_checkpoint`: the loaded checkpoint is
    one itself, which shows by what is in it, so that nobody has to pick it.
    """

    name: str
    label: str
    group: str
    words: str | None = None
    recipe: Recipe | None = None
    number: int | None = None
    source: str = ""
    is_of_checkpoint: bool = False

    @property
    def needs_steps(self) -> int | None:
        """The one number of steps that it works with; None where there are several."""
        return None if self.recipe is None else self.recipe.exact_steps

    @property
    def keeps_cfg(self) -> bool:
        """Whether it was made for a CFG scale well above 1, at which the negative prompt works."""
        return self.recipe is not None and self.recipe.cfg[2] > 2.0


def _word(text: str) -> str:
    """The word, with the family's name before or after it in one or not."""
    return rf"(?<![a-z])(?:sdxl|sd|xl)?{text}(?:sdxl|sd|xl)?(?![a-z])"


_HYPER = rf"hyper ?sd|{_word('hyper')}"
_HYPER_N = rf"^(?!.*unified).*(?:{_HYPER})"
_HYPER_CFG = rf"(?=.*{_word('cfg')}).*?(?:{_HYPER})"
_SMALL = r"(?=.*small ?cfg).*?pcm"
_NORMAL = r"(?=.*normal ?cfg).*?pcm"
_HYPER_CARD = "https://huggingface.co/ByteDance/Hyper-SD"
_LIGHTNING_CARD = "https://huggingface.co/ByteDance/SDXL-Lightning"
_ANIMATED_CARD = "https://huggingface.co/ByteDance/AnimateDiff-Lightning"
_PCM_CODE = "https://github.com/G-U-N/Phased-Consistency-Model"

LCM = Method(
    "lcm", "LCM", "LCM", r"(?<![a-z])t?lcm(?=lora|sd|xl|ssd|[^a-z]|$)", Recipe("lcm"),
    source="arXiv 2310.04378 and 2311.05556; diffusers' LCMScheduler",
)  # fmt: skip
FULL_LCM = Method(
    "full-lcm", "Full LCM", "Full LCM", recipe=Recipe("lcm", cfg=(1.0, 15.0, 8.0)), is_of_checkpoint=True,
    # it was distilled with CFG 1 + w, w from 5 to 15 (SD 1.5) or 3 to 15 (SDXL); the published default is 8
    source="arXiv 2310.04378; diffusers' LatentConsistencyModelPipeline",
)  # fmt: skip
TCD = Method(
    "tcd", "TCD", "TCD", _word("tcd"), Recipe("tcd", gamma=0.3),
    source="arXiv 2402.19159; diffusers' TCDScheduler, whose `eta` is gamma",
)  # fmt: skip


def _hyper(steps: int) -> Method:
    recipe = Recipe("ddim", EVEN, (steps, steps, steps))
    return Method(
        f"hyper-{steps}", f"Hyper-SD, {steps} steps", "Hyper-SD", _HYPER_N, recipe, steps, _HYPER_CARD
    )


def _hyper_cfg(steps: int) -> Method:
    # the card says 5 to 8; Krita's plugin uses 3.5 to 4 with the same file
    recipe = Recipe("ddim", EVEN, (steps, steps, steps), (3.0, 8.0, 5.0))
    return Method(
        f"hyper-cfg-{steps}", f"Hyper-SD CFG, {steps} steps", "Hyper-SD CFG", _HYPER_CFG, recipe, steps,
        _HYPER_CARD,
    )  # fmt: skip


def _lightning(steps: int) -> Method:
    recipe = Recipe("euler", EVEN, (steps, steps, steps))
    return Method(
        f"lightning-{steps}", f"Lightning, {steps} steps", "Lightning", _word("lightning"), recipe, steps,
        f"{_LIGHTNING_CARD}, {_ANIMATED_CARD}",
    )  # fmt: skip


def _trailing(steps: int) -> Method:
    recipe = Recipe("ddim", EVEN, (steps, steps, steps))
    return Method(
        f"trailing-{steps}", f"Trailing, {steps} steps", "Trailing", None, recipe, steps,
        "lib_lcm.distill, method trailing",
    )  # fmt: skip


def _pcm(kind: str, words: str, steps: int, cfg: tuple[float, float, float]) -> Method:
    recipe = Recipe("ddim", EVEN, (steps, steps, steps), cfg)
    return Method(
        f"pcm-{kind}-{steps}", f"PCM {kind} CFG, {steps} steps", f"PCM {kind} CFG", words, recipe, steps,
        _PCM_CODE,
    )  # fmt: skip


METHODS: tuple[Method, ...] = (
    LCM,
    FULL_LCM,
    TCD,
    # of the variants of a group, the first is meant by a name that says no number of steps
    *(_hyper_cfg(steps) for steps in (8, 12)),
    *(_hyper(steps) for steps in (8, 4, 2)),
    Method(
        "hyper", "Hyper-SD, any steps", "Hyper-SD", _HYPER, Recipe("tcd", gamma=1.0), 1,
        f"{_HYPER_CARD}: the file for 1 step, with TCD and eta 1",
    ),
    Method(
        "hyper-unet-1", "Hyper-SD, whole UNet, 1 step", "whole UNets", recipe=Recipe("lcm", 800, (1, 1, 1)),
        source=f"{_HYPER_CARD}: Hyper-SDXL-1step-Unet",
    ),
    *(_lightning(steps) for steps in (4, 8, 2)),
    Method(
        # not SDXL-Lightning's file for 1 step, a whole UNet that predicts the picture and not the noise
        "lightning-1", "AnimateDiff-Lightning, 1 step", "Lightning", recipe=Recipe("euler", EVEN, (1, 1, 1)),
        source=_ANIMATED_CARD,
    ),
    Method(
        "dmd2", "DMD2", "DMD2", _word("dmd2?"), Recipe("lcm", EVEN), 4,
        "https://huggingface.co/tianweiy/DMD2: 999, 749, 499, 249",
    ),
    Method(
        "dmd2-unet-1", "DMD2, whole UNet, 1 step", "whole UNets", recipe=Recipe("lcm", 399, (1, 1, 1)),
        source="https://huggingface.co/tianweiy/DMD2: dmd2_sdxl_1step_unet",
    ),
    *(_pcm("small", _SMALL, steps, (1.0, 2.0, 1.0)) for steps in (4, 2, 8, 16)),
    # the card says 2.5 to 3.5 for 4 steps, 3 to 6 for 8, and nothing of 16
    *(_pcm("normal", _NORMAL, steps, (2.0, 9.0, usual)) for steps, usual in ((4, 3.0), (8, 4.5), (16, 4.5))),
    Method("pcm-lcm", "PCM, LCM-like", "PCM LCM-like", "pcm.*lcm ?like", Recipe("lcm"), source=_PCM_CODE),
    Method(
        "flash", "Flash Diffusion", "Flash Diffusion", _word("flash") + "(?! attn)",
        Recipe("lcm", EVEN), 4,
        "https://huggingface.co/jasperai/flash-sdxl",
    ),
    Method(
        "slam", "SLAM", "SLAM", _word("slam"), Recipe("lcm", EVEN), 4,
        "https://huggingface.co/alimama-creative/slam-lora-sdxl",
    ),
    Method(
        "turbo", "Turbo", "Turbo", _word("turbo"), Recipe("lcm", cfg=(1.0, 2.5, 1.0)),
        source="https://huggingface.co/shiroppo/sd_xl_turbo_lora; no scheduler is named there",
    ),
    *(_trailing(steps) for steps in (4, 8, 2)),
    Method("tdd", "TDD", "TDD", _word("tdd")),
    Method("sdxl-flash", "SDXL-Flash", "SDXL-Flash"),
    Method("flow", "flow-matching", "flow-matching"),
)  # fmt: skip


def method_named(name: str | None) -> Method | None:
    """The method of that name, or None."""
    return next((method for method in METHODS if method.name == name), None)


def named_in(relative: str) -> Method | None:
    """The method that a file's name speaks of or, where that speaks of none, the names of its folders; None
    where none does. `relative` is its path in the LoRA folder, with forward slashes.

    "lightning" may be a style's as well.
    """
    for part in reversed(relative.rsplit(".", 1)[0].split("/")):
        text = re.sub(r"[^a-z0-9]+", " ", part.lower())
        named = [method for method in METHODS if method.words and re.search(method.words, text)]
        if named:
            number = steps_in(part)
            return next((method for method in named if method.number == number is not None), named[0])
    return None


def steps_in(name: str) -> int | None:
    """The number of steps that a name speaks of, as "Hyper-SD15-8steps-lora" does; None where it does not."""
    found = re.search(r"(?<!\d)(\d{1,2})[ _-]?steps?(?![a-z])", name.lower())
    return None if found is None else int(found[1])
