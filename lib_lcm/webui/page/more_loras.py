"""The folded part of the accordion that downloads any published LoRA for few steps, not the missing LCM-LoRA
alone. What may not be used commercially needs a tick before.
"""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from lib_lcm.families import Family
from lib_lcm.lora.catalog import PublishedLora, offered
from lib_lcm.lora.download import DownloadError
from lib_lcm.methods import method_named
from lib_lcm.options import ENTRY_SEPARATOR
from lib_lcm.text import Text, Translations, translated
from lib_lcm.webui import language, loras
from lib_lcm.webui.host import page
from lib_lcm.webui.page.lora_control import fetch, with_progress, word


class MoreLoras:
    """`lora` is the drop-down of what there is."""

    def __init__(self, elem_id: Callable[[str], str]):
        """Draws it. `elem_id` makes an element id from a short name."""
        with gr.Accordion(Text("Download more LoRAs"), open=False, elem_id=elem_id("more")):
            self.lora = gr.Dropdown(
                entries(None),
                value=None,
                allow_custom_value=True,  # gradio 4 compares with the choices of a fresh page otherwise
                label=Text("LoRA to download"),
                elem_id=elem_id("more_lora"),
            )
            self.accept = gr.Checkbox(
                False, label="Licence", visible=False, elem_id=elem_id("more_accept"), interactive=True
            )
            self.download = gr.Button(Text("Download"), elem_id=elem_id("more_download"))
            self.progress = gr.HTML("", elem_id=elem_id("more_progress"))
        page.set_tooltip(
            self.lora,
            Text("The published LoRAs for few steps that fit the checkpoint, with their size and licence."),
        )
        page.set_tooltip(
            self.accept, Text("The terms of the licence are on the LoRA's page on the Hugging Face Hub.")
        )
        page.set_tooltip(
            self.download,
            Text(
                "Downloads this LoRA into the LoRA folder and verifies it; a download that broke off goes on"
                " from there."
            ),
        )
        for component in (self.lora, self.accept, self.download):
            component.do_not_save_to_config = True

    def connect(self, done) -> None:
        """Makes it work; `done` is told what the buttons of the accordion tell it."""

        def downloaded(progress, entry: str | None, accepts: bool):
            lora = lora_of(entry)
            if lora is None:
                return word(DownloadError(Text("No LoRA is chosen that could be downloaded."))), ""
            if not (lora.is_open or accepts):
                return word(DownloadError(refusal(lora))), ""
            return fetch(lora, progress), ""

        # not through gradio's queue, as the page's questions; who empties the list hides the tick with it
        self.lora.input(
            accept_box, inputs=[self.lora], outputs=[self.accept], show_progress=False, queue=False
        )
        self.download.click(
            with_progress(downloaded), inputs=[self.lora, self.accept], outputs=[done, self.progress]
        )


def rows(family: Family | None) -> list[PublishedLora]:
    """What is offered for checkpoints of a family; all that there is without a family, or without anything
    for it.
    """
    return [lora for lora in offered() if lora.family is family] or offered()


def entries(family: Family | None) -> list[str]:
    """What the drop-down lists for checkpoints of a family, with a note at what is installed."""
    there, words = loras.downloaded(), language.translations()
    installed = ENTRY_SEPARATOR + translated(Text("installed"), words)
    return [entry(lora, family, words) + (installed if lora in there else "") for lora in rows(family)]


def entry(lora: PublishedLora, family: Family | None, words: Translations) -> str:
    """A LoRA's method, size and licence, and its family where that is not the checkpoint's. No two have the
    same.
    """
    method = method_named(lora.method)
    label = translated(lora.method if method is None else method.label, words)
    parts = [label, f"{lora.megabytes} MB", lora.licence]
    return ENTRY_SEPARATOR.join(parts if lora.family is family else [lora.family.label, *parts])


def lora_of(shown: str | None) -> PublishedLora | None:
    """The LoRA that an entry means, also one of another checkpoint's list, or None."""
    words = language.translations()
    for lora in offered():
        for text in (entry(lora, lora.family, words), entry(lora, None, words)):
            if f"{shown}{ENTRY_SEPARATOR}".startswith(text + ENTRY_SEPARATOR):
                return lora
    return None


def list_for(family: Family | None, before: list[str] | None):
    """The entries, and the updates of the drop-down that lists `before` and of its tick: nothing where they
    are still right, and nothing chosen where it lists other LoRAs now.
    """
    now = entries(family)
    if [lora_of(entry) for entry in before or now] != rows(family):
        return now, gr.update(choices=now, value=None), accept_box(None)
    return now, gr.update() if now == before else gr.update(choices=now), gr.update()


def refusal(lora: PublishedLora) -> Text:
    return Text(
        "{lora} was not downloaded, as its licence {licence} does not allow commercial use ({url}): tick that"
        " you accept it, then press Download again.",
        lora=lora.name,
        licence=lora.licence,
        url=lora.url,
    )


def accept_box(shown: str | None):
    """The tick that an entry asks for; hidden where it asks for none."""
    lora = lora_of(shown)
    if lora is None or lora.is_open:
        return gr.update(visible=False, value=False)
    label = Text("I accept the licence {licence}: not for commercial use", licence=lora.licence)
    return gr.update(visible=True, value=False, label=translated(label, language.translations()))
