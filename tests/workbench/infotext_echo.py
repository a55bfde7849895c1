"""Run as a program with the workbench's modules: reads generation parameters (a JSON object per line), writes what the host makes of
them on the way through an infotext. A process of its own, since `modules` is the host's and not for the tests to import.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    sys.path[:0] = [str(ROOT / "workbench" / "webui"), str(ROOT)]
    from modules import infotext_utils, shared  # noqa: F401

    print("ready", flush=True)
    for line in sys.stdin:
        parameters = {"Steps": 4, "Sampler": "LCM", "Seed": 1, **json.loads(line), "Lora hashes": "a: 1234, b: 5678", "Version": "v1"}
        entries = [key if key == value else f"{key}: {infotext_utils.quote(value)}" for key, value in parameters.items()]
        text = "a prompt\nNegative prompt: x\n" + ", ".join(entries)
        print(json.dumps(infotext_utils.parse_generation_parameters(text)), flush=True)


main()
