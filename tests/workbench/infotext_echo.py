"""What the host makes of generation parameters; for a process of its own, since `modules` is the host's and
not for the tests to import.
"""

from __future__ import annotations

import sys

from workbench.server import ROOT


def import_the_host() -> None:
    sys.path.insert(0, str(ROOT / "workbench" / "webui"))
    from modules import infotext_utils, shared  # noqa: F401


def through_the_host(parameters: dict) -> dict:
    """What the host reads out of the infotext that it makes of them."""
    from modules.infotext_utils import parse_generation_parameters, quote

    parameters = {
        "Steps": 4,
        "Sampler": "LCM",
        "Seed": 1,
        **parameters,
        "Lora hashes": "a: 1234, b: 5678",
        "Version": "v1",
    }
    entries = [key if key == value else f"{key}: {quote(value)}" for key, value in parameters.items()]
    return parse_generation_parameters("a prompt\nNegative prompt: x\n" + ", ".join(entries))
