"""A WebUI extension for tests, loaded before ours: one more row in each of our tables, and nothing else."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

from lib_lcm import families, methods

families.FAMILIES = (
    *families.FAMILIES,
    families.Family(
        "spark",
        "Spark",
        640,
        families.SD15.unet,
        configs=("SparkUnet",),
        words=("spark",),
        defaults={"steps": 3},
    ),
)
methods.METHODS = (
    methods.LCM,
    methods.Method(
        "glow", "Glow", "Glow", "glow", methods.Recipe("tcd", steps=(2, 3, 3), cfg=(1.0, 1.0, 1.0), gamma=0.3)
    ),
    *methods.METHODS[1:],
)

# what makes use of these two tables when it is imported
from lib_lcm import options  # noqa: E402
from lib_lcm.lora import catalog  # noqa: E402

catalog.PUBLISHED = (
    *catalog.PUBLISHED,
    replace(
        catalog.PUBLISHED[0],
        family=families.FAMILIES[-1],
        name="lcm_lora_spark",
        sha256=("00" * 32,),
        short=(),
    ),
)
catalog.OFFERED_FAMILIES = (*catalog.OFFERED_FAMILIES, families.FAMILIES[-1])


@dataclass(frozen=True)
class MoreOptions(options.LcmOptions):
    sparkle: float | None = options.row(
        "Sparkle",
        "How much it sparkles.",
        options.Number(0.0, 2.0, 0.5),
        first=0.5,
        infotext="LCM sparkle",
        setting=("Sparkle of {family}", "what the accordion starts with"),
    )
    mood: str = options.row(
        "Mood", "Its mood.", options.Choice({"calm": "Calm", "wild": "Wild"}), "calm", infotext="LCM mood"
    )


options.LcmOptions = MoreOptions
options.OPTIONS = options.rows_of(MoreOptions)
options.OPTION = {option.name: option for option in options.OPTIONS}
options.FIRST = {option.name: option.first for option in options.OPTIONS if option.setting}
