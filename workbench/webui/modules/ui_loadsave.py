"""Saved defaults of the page: ui-config.json, which is read when the page is built and holds every control's
first value.

What is not in the file yet is written into it, so after the first start the file decides, as in the WebUI.
Keys are "TAB/LABEL/FIELD", with "customscript/FILE/" in front for the controls of scripts.
"""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr

from modules import errors
from modules.ui_components import InputAccordionImpl, ToolButton
from workbench.webui import profiles

_FIELDS = {
    gr.Slider: ("value", "minimum", "maximum", "step"),
    gr.Radio: ("value",),
    gr.Checkbox: ("value",),
    gr.Textbox: ("value",),
    gr.Number: ("value",),
    gr.Dropdown: ("value",),
    gr.Button: (),
    ToolButton: (),
}


def _can_have(component, value) -> bool:
    """Whether a saved value is one of the choices, for a component that has any."""
    choices = [
        choice[0] if isinstance(choice, tuple) else choice
        for choice in getattr(component, "choices", None) or []
    ]
    if not isinstance(component, (gr.Radio, gr.Dropdown)):
        return True
    return (
        all(one in choices for one in value) if getattr(component, "multiselect", False) else value in choices
    )


class UiLoadsave:
    """The defaults in a file, and the components that they belong to."""

    def __init__(self, filename):
        self.path = Path(filename)
        self.values = {}
        try:
            self.values = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            pass
        except (OSError, ValueError):
            errors.report(f"The page's defaults in {filename} cannot be read and are ignored.", exc_info=True)
            self.path = None
        self.components = {}

    def add_block(self, block, tab):
        """Give the components of a tab what is saved for them, and save what they have where nothing is."""
        if hasattr(block, "children"):
            for child in block.children:
                self.add_block(child, tab)
        elif block.label is not None:
            self._add(f"{tab}/{block.label}", block)
        elif isinstance(block, gr.Button) and block.value is not None:
            self._add(f"{tab}/{block.value}", block)

    def _add(self, key, component):
        if getattr(component, "do_not_save_to_config", False):
            return
        plain = key
        source = getattr(component, "custom_script_source", None)
        if source is not None:
            key = f"customscript/{source}/{key}"
        if isinstance(component, InputAccordionImpl):
            if profiles.active.saves_input_accordions:
                self._exchange(f"{key}/visible", component.accordion, "visible")
                self._exchange(f"{key}/value", component, "value")
                if not profiles.active.accordion_saved_as_its_tick:
                    source = getattr(component.accordion, "custom_script_source", None)
                    key = f"customscript/{source}/{plain}" if source is not None else plain
                self._exchange(f"{key}/value", component.accordion, "open")
            return
        fields = _FIELDS.get(type(component))
        if fields is None:
            return
        for field in (("visible",) if component.visible else ()) + fields:
            self._exchange(f"{key}/{field}", component, field)

    def _exchange(self, key, component, field):
        saved = self.values.get(key)
        if saved is None:
            self.values[key] = getattr(component, field)
        elif field != "value" or _can_have(component, saved):
            setattr(component, field, saved)
        if field == "value":
            self.components.setdefault(key, component)

    def save(self):
        """Write the file, unless it could not be read."""
        if self.path is not None:
            plain = {key: value for key, value in self.values.items() if not callable(value)}
            self.path.write_text(json.dumps(plain, indent=4, ensure_ascii=False), encoding="utf-8")

    def create_ui(self):
        """The button that saves what the page shows; call it when all tabs have been added."""
        save = gr.Button("Save as defaults", elem_id="ui_defaults_apply")
        result = gr.HTML("")

        def apply(*values):
            shown = {
                key: _shown(component, value)
                for (key, component), value in zip(self.components.items(), values, strict=True)
            }
            changed = [key for key, value in shown.items() if value != self.values.get(key)]
            self.values.update({key: shown[key] for key in changed})
            self.save()
            return f"Wrote {len(changed)} changes."

        save.click(fn=apply, inputs=list(self.components.values()), outputs=[result])


def _shown(component, value):
    """The value of a component as its label is, where it sends an index."""
    choices = [
        choice[0] if isinstance(choice, tuple) else choice
        for choice in getattr(component, "choices", None) or []
    ]
    return (
        choices[value]
        if choices and isinstance(value, int) and getattr(component, "type", None) == "index"
        else value
    )
