"""gradio components with the WebUI's names."""

from __future__ import annotations

import itertools

import gradio as gr

from workbench.webui import profiles


class FormComponent:
    """Belongs into a gradio form, so that neighbours share one frame."""

    def get_expected_parent(self):
        return gr.components.Form


gr.Dropdown.get_expected_parent = FormComponent.get_expected_parent


class ToolButton(FormComponent, gr.Button):
    """A small button with a symbol."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, elem_classes=["tool", *kwargs.pop("elem_classes", [])], **kwargs)

    def get_block_name(self):
        return "button"


class ResizeHandleRow(gr.Row):
    def get_block_name(self):
        return "row"


class FormRow(FormComponent, gr.Row):
    def get_block_name(self):
        return "row"


class FormColumn(FormComponent, gr.Column):
    def get_block_name(self):
        return "column"


class FormGroup(FormComponent, gr.Group):
    def get_block_name(self):
        return "group"


class FormHTML(FormComponent, gr.HTML):
    def get_block_name(self):
        return "html"


class FormColorPicker(FormComponent, gr.ColorPicker):
    def get_block_name(self):
        return "colorpicker"


class DropdownMulti(FormComponent, gr.Dropdown):
    """A drop-down in which several can be chosen."""

    def __init__(self, **kwargs):
        super().__init__(multiselect=True, **kwargs)

    def get_block_name(self):
        return "dropdown"


class DropdownEditable(FormComponent, gr.Dropdown):
    """A drop-down that takes typed values."""

    def __init__(self, **kwargs):
        super().__init__(allow_custom_value=True, **kwargs)

    def get_block_name(self):
        return "dropdown"


class InputAccordionImpl(gr.Checkbox):
    """An accordion whose value is whether it is ticked. It is a hidden checkbox; the page keeps the two in
    step.

    Element ids: `elem_id` (the accordion), `elem_id-checkbox` (the hidden one), `elem_id-visible-checkbox`
    (in the header, if it has one).
    """

    _numbers = itertools.count()

    def __init__(self, value, **kwargs):
        self.accordion_id = kwargs.pop("elem_id", None) or f"input-accordion-{next(self._numbers)}"
        super().__init__(value, **{**kwargs, "elem_id": f"{self.accordion_id}-checkbox", "visible": False})
        self.change(
            fn=None,
            _js=f"function(checked) {{ inputAccordionChecked('{self.accordion_id}', checked); }}",
            inputs=[self],
        )
        label = kwargs.pop("label", "Accordion")
        classes = (
            ["input-accordion"]
            if profiles.active.input_accordion_has_tick
            else ["input-accordion", "without-tick"]
        )
        self.accordion = gr.Accordion(
            **kwargs, elem_id=self.accordion_id, label=label, elem_classes=classes, open=bool(value)
        )

    def extra(self):
        """A place in the header: `with accordion.extra(): ...`"""
        return gr.Column(
            elem_id=f"{self.accordion_id}-extra", elem_classes="input-accordion-extra", min_width=0
        )

    def __enter__(self):
        self.accordion.__enter__()
        return self

    def __exit__(self, exc_type, exc_val, exc_tb):
        self.accordion.__exit__(exc_type, exc_val, exc_tb)

    def get_block_name(self):
        return "checkbox"


if profiles.active.input_accordion_is_class:
    InputAccordion = InputAccordionImpl
else:

    def InputAccordion(value=None, **kwargs):
        """A function here, as in Forge."""
        return InputAccordionImpl(value, **kwargs)
