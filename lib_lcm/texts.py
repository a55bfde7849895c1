"""The sentences of the page, in one place: English templates, filled in here, and shown in the WebUI's language by whoever shows them.

Labels, tooltips and choices are plain texts, which the WebUI's own localisation replaces in the page. What holds values cannot be
replaced there, so it is a `Text`, translated before it is sent. Both are looked up in the WebUI's `localizations/*.json`, by the English.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Translations = Mapping[str, str]


class Text(str):
    """An English sentence that remembers its template, for translation; everywhere else it is a string like any other."""

    template: str
    values: dict[str, Any]

    def __new__(cls, template: str, /, **values: Any) -> Text:
        text = super().__new__(cls, template.format(**values))
        text.template = template
        text.values = values
        return text

    def __reduce__(self):
        return str, (str(self),)  # a copy needs no template

    def translated(self, translations: Translations) -> str:
        """The sentence in another language; in English where that has no translation of it, or one with other placeholders."""
        values = {name: translated(value, translations) for name, value in self.values.items()}
        try:
            return translations.get(self.template, self.template).format(**values)
        except (KeyError, IndexError, ValueError, AttributeError):
            return str(self)


def translated(value: Any, translations: Translations) -> Any:
    """`value` in another language, if it is a text that has a translation."""
    if isinstance(value, Text):
        return value.translated(translations)
    return translations.get(value, value) if isinstance(value, str) else value


def joined(items: Sequence[Text]) -> Text:
    """The texts with commas between them, each still translatable."""
    names = [f"item{index}" for index in range(len(items))]
    return Text(", ".join(f"{{{name}}}" for name in names), **dict(zip(names, items, strict=True)))


# --- the status line ------------------------------------------------------------------------------------------------------

NO_LORA_USED = "no LoRA"
LORA_AT = "{lora} at {weight:g}"
REMEMBERED_LORA = "{lora} (remembered for this checkpoint)"
ONE_STEP = "1 step"
STEPS = "{steps} steps"
AT_STRENGTH = "{steps} at strength {strength:g}"
VISITING = "{steps}: {timesteps}"
HIRES = "hires {steps}"
SCHEDULE = "schedule {schedule}"
GAMMA = "{sampler} gamma {gamma:g}"
CFG = "CFG {cfg:g}"
CFG_IGNORES = "CFG {cfg:g}: negative prompt ignored"
CFG_USES = "CFG {cfg:g}: negative prompt used"
ONE_UNET_CALL = "1 UNet call"
UNET_CALLS = "{calls} UNet calls"
DOUBLE_UNET_CALLS = "2 × {calls} UNet calls"
TOOK = "last run {seconds:.2f} s"

LCM_IS_OFF = "LCM is off. With it: {status}"
NO_CHECKPOINT_YET = "The checkpoint is not loaded yet; the LCM-LoRA is chosen when the generation starts."

# --- what a picture is told with -------------------------------------------------------------------------------------------

CHANGED = "{changes}: LCM works with {steps} steps and a CFG scale of {cfg}."
CHANGE = "{name} {before:g} → {after:g}"
RANGE = "{low:g} to {high:g}"
STEPS_NAME = "Steps"
HIRES_STEPS_NAME = "Hires steps"
CFG_NAME = "CFG"
OF_THE_PASS, OF_THE_HIRES_PASS = "steps", "hires steps"
STRENGTH_LEAVES_FEWER = "Denoising strength {strength:g} leaves only {points} of the schedule's timesteps: {name} {before} → {after}."
STRENGTH_OUTSIDE = "The denoising strength is {strength:g}; it must be from 0 to 1."
SCHEDULE_BY_HAND = (
    'Schedule type "{schedule}" was picked by hand and is respected; choose "{automatic}" for the timesteps that the LCM-LoRA was made for.'
)
NO_TCD_OF_ITS_OWN = 'The WebUI has no TCD sampler of its own to hand over to: schedule "Trailing" was used.'
REFINER_SKIPPED = "The refiner {refiner} was skipped: there is no LCM-LoRA for it."

# --- warnings ---------------------------------------------------------------------------------------------------------------

NEGATIVE_PROMPT_IGNORED = "The negative prompt is ignored at CFG scale 1; raise CFG to {cfg:g} at most to use it."
MORE_STEPS_AGAINST_GRID = "SDXL at {side} pixels in {steps} steps: raise steps to 6–8 if you see a grid."
LCM_LORA_WITHOUT_LCM = (
    "The prompt holds the LCM-LoRA {lora}, which does not work with {unfit}: "
    "tick LCM, or use the sampler LCM with {steps} steps and CFG {cfg:g} at most."
)
UNFIT_SAMPLER = "sampler {sampler}"
UNFIT_CFG = "CFG scale {cfg:g}"
SWITCHED_ON_BY_TAG = "The LCM-LoRA {lora} in the prompt switches LCM on (Settings → LCM), with the WebUI's own steps and CFG scale."

# --- at the WebUI's own controls ----------------------------------------------------------------------------------------------

IGNORED_AT_CFG_ONE = "LCM: ignored at CFG 1"

# --- presets ------------------------------------------------------------------------------------------------------------------

QUALITY = "Quality"
QUALITY_HELP = "Sets steps and CFG scale. Moving a slider makes it Custom."
CUSTOM = "Custom"

# --- the LCM-LoRA's row -------------------------------------------------------------------------------------------------------

REFRESH_HELP = "Look for LoRA files again, and ask anew what a generation will do."
REMEMBER_HELP = "For this checkpoint, Auto then means this LCM-LoRA: on the page, in prompts and over the API, until you press it again."
REMEMBER = "Remember {lora} for this checkpoint"
FORGET = "Forget {lora} for this checkpoint"
DOWNLOAD = "Download {lora} ({megabytes:.0f} MB, licence {licence})"
