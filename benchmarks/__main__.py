"""`python dev.py bench NAME [arguments]`: run one benchmark; without a name: list them."""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = {
    "sampler_cost": "seconds per picture against the host's own LCM sampler and the floor, and what the extension costs when it is off",
}


def main(arguments: list[str]) -> int:
    """The exit status."""
    if not arguments:
        print("Usage: python dev.py bench NAME [arguments]\n")
        for name, text in BENCHMARKS.items():
            print(f"  {name:14} {text}")
        return 0
    name, *rest = arguments
    if name not in BENCHMARKS:
        print(f"There is no benchmark {name!r}; there are: {', '.join(BENCHMARKS)}.", file=sys.stderr)
        return 2
    importlib.import_module(f"benchmarks.{name}").main(rest)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
