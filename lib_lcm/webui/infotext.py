"""Generation parameters: what a picture made with LCM carries, and the way back into the accordion."""

from __future__ import annotations

from collections.abc import Mapping

from lib_lcm.options import AUTO, NONE, OPTIONS, SCHEDULE_LABELS, TRAILING, WEBUI
from lib_lcm.plan import SAMPLER_NAME, Plan
from lib_lcm.webui import networks

KEYS = {option.name: option.infotext for option in OPTIONS if option.infotext}
NO_LORA = "None"
AUTO_LABEL = "Auto"


def parameters(plan: Plan) -> dict[str, object]:
    """What is added to the picture's generation parameters; steps, CFG scale and sampler are the WebUI's own entries."""
    return {
        KEYS["lora"]: plan.lora_name if plan.lora is not None else NO_LORA,
        KEYS["weight"]: f"{plan.weight:g}",
        KEYS["schedule"]: SCHEDULE_LABELS[plan.schedule],
    }


def is_lcm(pasted: Mapping[str, str]) -> bool:
    """Whether generation parameters are those of a picture made with this extension."""
    return KEYS["lora"] in pasted or KEYS["schedule"] in pasted


def enabled(pasted: Mapping[str, str]) -> bool:
    return is_lcm(pasted)


def weight(pasted: Mapping[str, str]) -> float | None:
    return _number(pasted.get(KEYS["weight"]))


def steps(pasted: Mapping[str, str]) -> int | None:
    value = _number(pasted.get("Steps")) if is_lcm(pasted) else None
    return None if value is None else int(value)


def cfg(pasted: Mapping[str, str]) -> float | None:
    return _number(pasted.get("CFG scale")) if is_lcm(pasted) else None


def lora(pasted: Mapping[str, str]) -> str | None:
    """The choice that draws the picture again here, where the file may have another name: Auto, unless it was none or a special one."""
    name = pasted.get(KEYS["lora"])
    if name is None:
        return None
    if name.lower() == NONE:
        return NO_LORA
    library = networks.library()
    file = library.find(name)
    if file is None or file.family is None:
        return AUTO_LABEL
    chosen = library.choose(file.family).file
    return AUTO_LABEL if chosen is not None and chosen.path == file.path else name


def schedule(pasted: Mapping[str, str]) -> str | None:
    """The schedule; a picture of the sampler LCM without one was made by the WebUI's own sampler."""
    value = pasted.get(KEYS["schedule"])
    if value is None:
        return SCHEDULE_LABELS[WEBUI] if pasted.get("Sampler") == SAMPLER_NAME else None
    return SCHEDULE_LABELS.get(value.lower(), SCHEDULE_LABELS[TRAILING])


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


RESTORE = {"enabled": enabled, "weight": weight, "steps": steps, "cfg": cfg, "lora": lora, "schedule": schedule}
"""Option name -> what reads it from pasted generation parameters; None leaves the control as it is."""

assert AUTO_LABEL.lower() == AUTO and NO_LORA.lower() == NONE
