"""The page's gradio, and what the WebUI puts around it."""

from __future__ import annotations

import inspect
import os

import gradio as gr

from modules import shared
from modules import ui_components as components  # noqa: F401, for the page


def gradio_holds_back_presses() -> bool:
    """Whether the page's gradio calls a button's function only when it has answered earlier presses."""
    # gradio 4, one at a time [forge]
    return "default_concurrency_limit" in inspect.signature(gr.Blocks.queue).parameters


def several_at_once() -> dict:
    """Arguments for an event of which several presses may be answered at once."""
    return {"concurrency_limit": None} if gradio_holds_back_presses() else {}


def change_page_config(component, attributes) -> None:
    """What the page gets for the component has `attributes()` in it, asked for as late as the page is put
    together.

    By then the WebUI has put saved defaults into the component; before, and while a page is built in parts,
    it has not.
    """
    get_config = component.get_config

    def changed(*args, **kwargs):
        return {**get_config(*args, **kwargs), **attributes()}

    component.get_config = changed


def set_tooltip(component, text: str) -> None:
    """Shows `text` while the mouse is over the component; the hosts' own JavaScript reads this attribute."""
    # what one sees of an InputAccordion is its accordion; the component itself is a hidden checkbox
    getattr(component, "accordion", component).webui_tooltip = text


def save_as_its_tick(component, script_file: str) -> None:
    """Makes a saved tick of the InputAccordion open it on a fresh page, where its tick is not shown
    otherwise.
    """
    # the state of the accordion is looked up under the name that the tick is saved under, as later versions
    # do themselves [a1111-1.7 a1111-1.8]
    accordion = getattr(component, "accordion", None)
    if accordion is not None:
        accordion.custom_script_source = os.path.basename(script_file)


def queues_page() -> bool:
    """Whether what the page asks goes through gradio's queue, without which there is no progress to be
    shown.
    """
    return not getattr(shared.cmd_opts, "no_gradio_queue", False)
