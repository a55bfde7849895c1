"""What one generation will do, as plain data: the status line, the dry run, the infotext and the log print
the same Plan.
"""

from __future__ import annotations

from dataclasses import dataclass

from lib_lcm.families import Family
from lib_lcm.lora.choice import Wish
from lib_lcm.lora.use import LoraUse
from lib_lcm.methods import LCM, Method
from lib_lcm.options import SAMPLER_LABELS, LcmOptions
from lib_lcm.sampling.guidance import Guided


@dataclass(frozen=True)
class PlannedPass:
    """One sampling pass.

    `timesteps`, as the UNet is told them, is empty where the host decides them (a schedule picked by hand,
    its own img2img rule). `lora` is None for a pass on a checkpoint of its own, whose family is not known
    before it is loaded. `method` is what decides how it is sampled; `sampler` is that sampler's name in the
    WebUI; `gamma` is TCD's, None for the others, and where the WebUI's own TCD is used, which has its own.
    """

    steps: int
    method: Method = LCM
    sampler: str = SAMPLER_LABELS["lcm"]
    gamma: float | None = None
    timesteps: tuple[float, ...] = ()
    strength: float = 1.0
    lora: LoraUse | None = None
    guided: Guided = Guided()

    @property
    def unet_rows(self) -> int | None:
        """How many rows the UNet computes for a picture; None where the host decides that."""
        return None if self.steps and not self.timesteps else sum(self.guided.rows)


@dataclass(frozen=True)
class Plan:
    """What one generation will do.

    `options` are those that are used, defaults filled in. `schedule` is "trailing", "webui" or, where
    `host_scheduler` is set, that scheduler of the host's own drop-down. `wish` is what its LoRAs were chosen
    for. `is_full_lcm`: the UNet takes the CFG scale as an input, and the host's guidance has none to do.
    `messages` go with every picture made so; `hints` may be worth a thought on the page before.
    `problem` is a sentence where the generation must fail, and then nothing else of the plan is to be used.
    """

    family: Family
    options: LcmOptions
    first: PlannedPass
    hires: PlannedPass | None
    cfg: float
    schedule: str
    host_scheduler: str | None = None
    wish: Wish = Wish()
    skips_refiner: bool = False
    is_full_lcm: bool = False
    messages: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def method(self) -> Method:
        """What decides how the first pass is sampled."""
        return self.first.method

    @property
    def sampler(self) -> str:
        """The sampler of the first pass, by its name in the WebUI."""
        return self.first.sampler

    @property
    def gamma(self) -> float | None:
        """That of the first pass."""
        return self.first.gamma

    @property
    def passes(self) -> list[PlannedPass]:
        """The first and, where there is one, the hires pass."""
        return [self.first] if self.hires is None else [self.first, self.hires]

    @property
    def unet_rows(self) -> int | None:
        """How many rows the UNet computes for a picture; None where the host decides that."""
        rows = [one.unet_rows for one in self.passes]
        return None if None in rows else sum(count for count in rows if count is not None)
