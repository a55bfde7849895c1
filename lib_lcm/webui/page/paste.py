"""What a pasted picture's generation parameters set in the accordion of this WebUI."""

from __future__ import annotations

from lib_lcm.options import SAMPLER_LABELS
from lib_lcm.plan import infotext
from lib_lcm.plan.make import AUTOMATIC_SCHEDULER
from lib_lcm.text import Text, term
from lib_lcm.webui import facts, language, loras, remembered, settings
from lib_lcm.webui.host import samplers, server
from lib_lcm.webui.page.lora_control import entry_now

SCHEDULE_TYPE = "Schedule type"
"""The WebUI's own key."""


class RestoredField(str):
    """The name of a control in the WebUI's paste fields, and what reads it from pasted generation parameters.

    A string, so that "Send to img2img" finds the control of the same name on the other tab; callable, so that
    pasting asks `read`. None leaves the control as it is, on the page and over the API.
    """

    def __new__(cls, name: str, read):
        field = super().__new__(cls, name)
        field.read = read
        return field

    def __call__(self, pasted):
        return self.read(pasted)


def restored(name: str) -> RestoredField:
    """The field of an option."""
    return RestoredField(f"LCM {name}", lambda pasted: read(name, pasted))


def read_infotext(host_read, x: str, *args, **kwargs) -> dict:
    """What the WebUI reads in the generation parameters `x`. It takes a picture of LCM's that names no
    schedule for one of "Automatic", as the WebUI that made it drew it.
    """
    pasted = host_read(x, *args, **kwargs)
    # it guesses "Simple" [neo]
    if infotext.is_lcm(pasted) and f"{SCHEDULE_TYPE}: " not in x and SCHEDULE_TYPE in pasted:
        pasted[SCHEDULE_TYPE] = AUTOMATIC_SCHEDULER
    return pasted


def told(pasted) -> dict:
    """What the page is told of a pasted picture: whether it is LCM's, and the schedule that is chosen for one
    of the WebUI's own LCM, with a sentence that says so.
    """
    is_lcm = bool(read("enabled", pasted))
    chosen = None if is_lcm else read("schedule", pasted)
    note = None
    if chosen is not None:
        note = Text(
            'The pasted picture is of the WebUI\'s own LCM: schedule "{schedule}" is chosen until another is'
            " pasted.",
            schedule=term(chosen),
        ).translated(language.translations())
    return {"is_lcm": is_lcm, "schedule": chosen, "note": note}


def read(name: str, pasted):
    """An option from pasted generation parameters, as its control shows it; None leaves it as it is."""
    if SAMPLER_LABELS["lcm"] not in samplers.own_samplers():
        pasted = infotext.completed(pasted, loras.library(), server.version())
    if name != "lora":
        return infotext.RESTORE[name](pasted, loras.library())
    is_auto_the_best = remembered.is_empty() and not settings.auto_is_best()
    lora = infotext.RESTORE[name](pasted, loras.library(), facts.loaded_family(), is_auto_the_best)
    return None if lora is None else entry_now(lora)
