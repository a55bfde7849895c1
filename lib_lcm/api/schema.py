"""The JSON schema of the script's arguments, from the table of options and the current limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lib_lcm.options import (
    AUTO,
    MAX_GAMMA,
    MAX_WEIGHT,
    MIN_GAMMA,
    MIN_WEIGHT,
    NONE,
    OPTIONS,
    SAMPLER_LABELS,
    SCHEDULE_LABELS,
    Defaults,
    LcmOptions,
    Limits,
)

DRAFT = "https://json-schema.org/draft/2020-12/schema"

# What JSON Schema says of each option's values. null is what the WebUI passes for an argument that it does
# not know.
_VALUES: dict[str, Callable[[Limits], dict]] = {
    "enabled": lambda limits: {"type": ["boolean", "null"]},
    "weight": lambda limits: {"type": ["number", "null"], "minimum": MIN_WEIGHT, "maximum": MAX_WEIGHT},
    "steps": lambda limits: {
        "type": ["integer", "null"],
        "minimum": limits.min_steps,
        "maximum": limits.max_steps,
    },
    "cfg": lambda limits: {"type": ["number", "null"], "minimum": limits.min_cfg, "maximum": limits.max_cfg},
    "lora": lambda limits: {"type": ["string", "null"], "pattern": r"\S"},
    "schedule": lambda limits: {"enum": [*SCHEDULE_LABELS, *SCHEDULE_LABELS.values(), None]},
    "sampler": lambda limits: {"enum": [*SAMPLER_LABELS, *SAMPLER_LABELS.values(), None]},
    "gamma": lambda limits: {"type": ["number", "null"], "minimum": MIN_GAMMA, "maximum": MAX_GAMMA},
}
assert list(_VALUES) == [option.name for option in OPTIONS]


def args_schema(limits: Limits, lora_names: Iterable[str] = (), defaults: Defaults = Defaults()) -> dict:
    """JSON schema (draft 2020-12) of `alwayson_scripts.LCM.args`: all values in order, or one object.

    It holds while LCM is on; with `enabled` false nothing else is looked at. `lora_names` are given as
    examples; `defaults` are those of the loaded checkpoint's family.
    """
    default = defaults.fill(LcmOptions())
    properties = {
        option.name: {
            "title": option.label,
            "description": option.help,
            **_VALUES[option.name](limits),
            "default": getattr(default, option.name),
        }
        for option in OPTIONS
    }
    properties["lora"]["examples"] = [AUTO, NONE, *lora_names]
    names = list(properties)
    return {
        "$schema": DRAFT,
        "title": "LCM",
        "description": (
            f'The "args" of the always-on script "LCM": the values of {", ".join(names)} in this order, where'
            " missing trailing ones "
            f"have the page's values; or one object with these keys. [] means off. While enabled is false,"
            f" nothing else is looked at."
        ),
        "type": "array",
        "anyOf": [
            {"prefixItems": [{"$ref": f"#/$defs/options/properties/{name}"} for name in names]},
            {"prefixItems": [{"$ref": "#/$defs/options"}], "minItems": 1},
        ],
        "$defs": {"options": {"type": "object", "properties": properties, "additionalProperties": False}},
    }
