"""Generation parameters (infotext): what a picture made with LCM carries, and the way back to its options.

`pasted` is what the WebUI reads from an infotext: a mapping of keys to texts. Steps, CFG scale and Sampler
are the WebUI's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from lib_lcm.families import Family
from lib_lcm.lora.file import LoraFile
from lib_lcm.lora.use import FewStepTag, Loras, LoraUse, lcm_tags, option_name
from lib_lcm.methods import FULL_LCM, LCM, Method, method_named
from lib_lcm.options import (
    ALL,
    AUTO_LABEL,
    DEFAULT_LIMITS,
    METHOD_LABELS,
    MIDDLE,
    NO_LORA,
    NONE,
    OPTION,
    OPTIONS,
    OWN_LABEL,
    SAMPLER_LABELS,
    SCHEDULE_LABELS,
    TRAILING,
    WEBUI,
    Option,
    number_in,
    shown_number,
)
from lib_lcm.plan.plan import Plan

KEYS = {option.name: option.infotext for option in OPTIONS if option.infotext}

_OF_LCM = re.compile(rf"(?:^|, )(?:{KEYS['lora']}|{KEYS['schedule']}): ")
_SIZE = re.compile(r"^\d+x\d+$")
"""A value that the WebUI takes apart into two keys, "LCM LoRA-1" and "LCM LoRA-2"."""


def parameters(plan: Plan, lora: LoraUse, loras: Loras) -> dict[str, str]:
    """What is added to the generation parameters of a picture that was made so with this LoRA."""
    name = NO_LORA if lora.file is None else _quoted(_unmistakable(lora.file, loras))
    values = {
        **vars(plan.options),
        "weight": lora.weight,
        "schedule": plan.schedule,
        "gamma": plan.gamma,
        "method": None if plan.method is LCM else plan.method.name,
        "guided_steps": MIDDLE if any(one.guided.steps is not None for one in plan.passes) else None,
    }
    rest = {
        option.infotext: option.kind.written(values[option.name])
        for option in OPTIONS
        if option.name != "lora" and option.infotext and values[option.name] is not None
    }
    return {KEYS["lora"]: name, **{key: _text(value) for key, value in rest.items()}}


def _text(value: Any) -> str:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return shown_number(value) if is_number else str(value)


def _unmistakable(file: LoraFile, loras: Loras) -> str:
    """The file's name; with its ending where the bare name would be read as something else."""
    name = option_name(file, loras)
    is_special = name == KEYS["lora"] or _SIZE.match(name)
    return name + file.path.suffix if is_special else name


def _quoted(name: str) -> str:
    """`name` in quotes where the WebUI, which quotes texts with a comma, a colon or a line break, would not
    and should.
    """
    if any(char in name for char in ",:\n") or ('"' not in name and name == name.strip()):
        return name
    return json.dumps(name, ensure_ascii=False)


def is_lcm(pasted: Mapping[str, str]) -> bool:
    """Whether generation parameters are those of a picture made with this extension."""
    return KEYS["lora"] in pasted or KEYS["schedule"] in pasted


def was_made_with_lcm(infotext: str) -> bool:
    """Whether the generation parameters as they stand in a picture are those of one made with this
    extension.
    """
    return _OF_LCM.search(infotext.rstrip().rpartition("\n")[2]) is not None


def _is_of_tag_found_elsewhere(pasted: Mapping[str, str], loras: Loras) -> bool:
    """Whether it is a picture of the sampler LCM, made elsewhere, whose prompt names the LCM-LoRA as no file
    is called here.

    The WebUI would draw it without the LoRA; LCM finds the file that is meant, and hands over to the WebUI's
    own sampler.
    """
    tags = _tags_of_lcm_sampler(pasted, loras)
    return bool(tags) and all(tag.file is None and _is_installed(tag, loras) for tag in tags)


def _is_installed(tag: FewStepTag, loras: Loras) -> bool:
    return tag.family is not None and loras.choose(tag.family).file is not None


def _tags_of_lcm_sampler(pasted: Mapping[str, str], loras: Loras) -> list[FewStepTag]:
    """The LCM-LoRAs in the prompt of a picture that was made with the sampler LCM as LCM would; else none."""
    steps, cfg = number_in(pasted.get("Steps")), number_in(pasted.get("CFG scale"))
    if pasted.get("Sampler") != SAMPLER_LABELS["lcm"] or steps is None or cfg is None:
        return []
    limits = DEFAULT_LIMITS
    if not (limits.min_steps <= steps <= limits.max_steps and limits.min_cfg <= cfg <= limits.max_cfg):
        return []
    return lcm_tags(pasted.get("Prompt") or "", loras)


def completed(pasted: Mapping[str, str], loras: Loras, version: str | None) -> Mapping[str, str]:
    """`pasted` as LCM would have written it, where it is of another WebUI's own LCM sampler and an LCM-LoRA's
    tag.

    For a WebUI without an LCM sampler of its own, whose version, as infotexts have it, is `version`: picked
    by hand, ours would draw that picture at other timesteps. One of this very version, or of none, may have
    been drawn so, and is left alone.
    """
    if is_lcm(pasted) or pasted.get("Version") in (None, version):
        return pasted
    tags = _tags_of_lcm_sampler(pasted, loras)
    if not tags:
        return pasted
    return {**pasted, KEYS["lora"]: tags[-1].tag.name, KEYS["schedule"]: SCHEDULE_LABELS[WEBUI]}


def _enabled(pasted: Mapping[str, str], loras: Loras) -> bool:
    return is_lcm(pasted) or _is_of_tag_found_elsewhere(pasted, loras)


def _steps(pasted: Mapping[str, str], loras: Loras) -> int | None:
    value = number_in(pasted.get("Steps")) if _enabled(pasted, loras) else None
    return None if value is None or value != value // 1 else int(value)


def _cfg(pasted: Mapping[str, str], loras: Loras) -> float | None:
    return number_in(pasted.get("CFG scale")) if _enabled(pasted, loras) else None


def _lora(
    pasted: Mapping[str, str], loras: Loras, family: Family | None = None, is_auto_the_best: bool = True
) -> str | None:
    """The choice that draws the picture again here, where the file may have another name: Auto, unless it was
    none, a special one or of another method than LCM's.

    `family` is that of the loaded checkpoint. `is_auto_the_best` is false where Auto may mean another file
    than the best of its family, as the user had it remembered.
    """
    name = pasted.get(KEYS["lora"])
    if name is None:
        return AUTO_LABEL if _is_of_tag_found_elsewhere(pasted, loras) else None
    if name.lower() == NONE:
        # on a full LCM there never is one, whatever was chosen
        return AUTO_LABEL if _method_in(pasted) is FULL_LCM else NO_LORA
    file, method = loras.find(name), _method_in(pasted)
    if file is None or file.problem is not None:
        other = None if method is LCM or family is None else loras.of_method(family, method)
        return AUTO_LABEL if other is None else option_name(other, loras)
    auto = None if file.family is None else loras.choose(file.family).file
    return AUTO_LABEL if is_auto_the_best and auto is not None and auto.path == file.path else name


def _schedule(pasted: Mapping[str, str], loras: Loras) -> str | None:
    """The schedule; a picture of the sampler LCM without one was made by the WebUI's own sampler."""
    value = pasted.get(KEYS["schedule"])
    if value is None:
        return SCHEDULE_LABELS[WEBUI] if pasted.get("Sampler") == SAMPLER_LABELS["lcm"] else None
    return SCHEDULE_LABELS.get(value.lower(), SCHEDULE_LABELS[TRAILING])


def _sampler(pasted: Mapping[str, str], loras: Loras) -> str | None:
    value, recipe = pasted.get("Sampler"), _method_in(pasted).recipe
    if is_lcm(pasted) and recipe is not None and value == SAMPLER_LABELS[recipe.sampler]:
        return OWN_LABEL
    return value if value in SAMPLER_LABELS.values() else None


def _gamma(pasted: Mapping[str, str], loras: Loras) -> str | None:
    """The gamma; the method's own where a picture has none or just that."""
    if not is_lcm(pasted):
        return None
    text, recipe = pasted.get(str(KEYS["gamma"])), _method_in(pasted).recipe
    gamma = number_in(text)
    if text is None or (gamma is not None and recipe is not None and recipe.gamma == gamma):
        return OWN_LABEL
    return None if gamma is None else shown_number(gamma)


def _method(pasted: Mapping[str, str], loras: Loras) -> str | None:
    """The method as the page has it; the LoRA's own where the file is here and known to be of it."""
    if not is_lcm(pasted):
        return None
    method, name = _method_in(pasted), pasted.get(KEYS["lora"], NO_LORA)
    file = None if name.lower() == NONE else loras.find(name)
    known = loras.method_of(file)[0] if file is not None else None if name.lower() == NONE else method
    return OWN_LABEL if method is (known or LCM) else METHOD_LABELS.get(method.name, OWN_LABEL)


def _guided_steps(pasted: Mapping[str, str], loras: Loras) -> Any:
    """Which steps were guided; all of them where a picture does not say."""
    if not is_lcm(pasted):
        return None
    return OPTION["guided_steps"].kind.pasted(pasted.get(str(KEYS["guided_steps"]), ALL))


def _method_in(pasted: Mapping[str, str]) -> Method:
    """The method of a picture; LCM for one that names none."""
    return method_named(pasted.get(str(KEYS["method"]))) or LCM


def _by_key(option: Option) -> Callable[..., Any]:
    """What reads an option from its own key alone."""

    def read(pasted: Mapping[str, str], loras: Loras) -> Any:
        text = None if option.infotext is None else pasted.get(option.infotext)
        return None if text is None else option.kind.pasted(text)

    return read


_READ: dict[str, Callable[..., Any]] = {
    "enabled": _enabled,
    "steps": _steps,
    "cfg": _cfg,
    "lora": _lora,
    "schedule": _schedule,
    "sampler": _sampler,
    "gamma": _gamma,
    "method": _method,
    "guided_steps": _guided_steps,
}
RESTORE: dict[str, Callable[..., Any]] = {
    option.name: _READ.get(option.name, _by_key(option)) for option in OPTIONS
}
"""Option name -> what reads it from pasted generation parameters, as the page shows it; None leaves the
control as it is.
"""
