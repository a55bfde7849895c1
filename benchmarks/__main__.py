"""`python dev.py bench [NAME] [arguments]`: run one benchmark; without a name: `quality`; `list` names
them.
"""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = {
    "full_lcm": "whether the CFG scale moves the small full LCM as it moves its teacher",
    "guidance": "what a negative prompt does when the CFG scale acts in some steps only, on the small models",
    "library_scan": "seconds to recognise a folder of 2,000 LoRA files, for the first time and again",
    "live_latency": "seconds from the last key to the live picture in the page, against the bare generation",
    "own_lora": "how often LCM-LoRAs draw what is asked for on a checkpoint, its own against others",
    "quality": (
        "agreement with the prompt, distance from real data and cost of every way of sampling, on the small"
        " models (the default)"
    ),
    "recipes": "whether a LoRA draws better by its own method's recipe than by another's, on small-sd15",
    "sampler_cost": (
        "seconds per picture against the host's own LCM sampler and the floor, and what the extension costs"
        " when it is off"
    ),
    "schedule_search": "whether other timesteps than the reference's are better at 2, 3 and 4 steps",
    "step_memory": "memory and seconds of a step of distillation at real size on a CPU, against the estimate",
}


def main(arguments: list[str]) -> int:
    """The exit status."""
    if arguments[:1] == ["list"]:
        print("Usage: python dev.py bench [NAME] [arguments]\n")
        for name, text in BENCHMARKS.items():
            print(f"  {name:16} {text}")
        return 0
    named = bool(arguments) and not arguments[0].startswith("-")
    name, rest = (arguments[0], arguments[1:]) if named else ("quality", arguments)
    if name not in BENCHMARKS:
        print(f"There is no benchmark {name!r}; there are: {', '.join(BENCHMARKS)}.", file=sys.stderr)
        return 2
    importlib.import_module(f"benchmarks.{name}").main(rest)
    return 0


if __name__ == "__main__":
    import torch

    # of the whole process, so not in main(): numbers below 1e-38 take a CPU twice as long
    torch.set_flush_denormal(True)
    sys.exit(main(sys.argv[1:]))
