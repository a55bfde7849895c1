"""The folded part of the accordion that makes the selected checkpoint's own LCM-LoRA, shows how far it is and
what it draws.

A press of Make begins it, or follows what is being made already, from any tab.
"""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gradio as gr
from PIL import Image

from lib_lcm.lora.file import shown_name
from lib_lcm.lora.names import own_name
from lib_lcm.text import Text, sentence_of, translated
from lib_lcm.webui import language
from lib_lcm.webui.distilling import RUNNING, STOPPED, WAITING, Run, runs
from lib_lcm.webui.host import models, networks, page
from lib_lcm.webui.page.lora_control import NO_FOLDER, word
from lib_lcm.webui.page.status_panel import with_links

STEPS, PICTURES = 1000, 640
LOOK_EVERY = 1.0
"""Seconds between two looks of who follows a run."""
WIDEST = 1600
"""Pixels of a report on the page."""


class CannotMake(Exception):
    """Why no LoRA is made, as one sentence that says what to do."""


class OwnLora:
    """`about` says what is made of which checkpoint, `name` is what it will be called: both follow the
    checkpoint.
    """

    def __init__(self, elem_id: Callable[[str], str]):
        """Draws it. `elem_id` makes an element id from a short name."""
        with gr.Accordion(Text("Make this checkpoint's own LCM-LoRA"), open=False, elem_id=elem_id("own")):
            self.about = gr.HTML("", elem_id=elem_id("own_about"))
            self.prompts = gr.Textbox(
                "",
                lines=3,
                label=Text("Prompts to learn from, one a line (none: a built-in list)"),
                elem_id=elem_id("own_prompts"),
            )
            with page.components.FormRow():
                self.name = gr.Textbox("", label=Text("Name of the LoRA"), elem_id=elem_id("own_name"))
                self.steps = gr.Number(
                    STEPS, precision=0, label=Text("Training steps"), elem_id=elem_id("own_steps")
                )
                self.pictures = gr.Number(
                    PICTURES,
                    precision=0,
                    label=Text("Pictures to learn from"),
                    elem_id=elem_id("own_pictures"),
                )
            with page.components.FormRow():
                self.make = gr.Button(Text("Make"), elem_id=elem_id("own_make"))
                self.stop = gr.Button(Text("Stop"), elem_id=elem_id("own_stop"))
            self.said = gr.HTML("", elem_id=elem_id("own_said"))
            self.picture = gr.HTML("", elem_id=elem_id("own_picture"))
        for component in (self.prompts, self.name, self.steps, self.pictures, self.make, self.stop):
            component.do_not_save_to_config = True

    def connect(self, done) -> None:
        """Makes it work; `done` is told what the buttons of the accordion tell it."""

        def made(*values) -> Iterator[tuple]:
            try:
                start(*values)
            except CannotMake as error:
                yield gr.update(), _paragraphs([_worded(sentence_of(error))]), ""
                return
            yield from follow(runs.last)

        def stopped() -> str:
            runs.stop()
            return word()  # who follows it shows it

        self.make.click(
            # without its queue gradio can follow nothing, and refuses to start
            made if page.queues_page() else lambda *values: next(made(*values)),
            inputs=[self.prompts, self.name, self.steps, self.pictures],
            outputs=[done, self.said, self.picture],
            show_progress=False,
            **page.several_at_once(),
        )
        self.stop.click(stopped, inputs=[], outputs=[done], show_progress=False, queue=False)


def start(prompts: str, name: str, steps: float | None, pictures: float | None) -> None:
    """What the button Make does: unless a LoRA is being made, begins to make that of the selected checkpoint.
    Raises CannotMake.
    """
    if runs.current is not None:
        return
    checkpoint, folders = models.selected_file(), networks.lora_dirs()
    if checkpoint is None:
        raise CannotMake(Text("No checkpoint is selected: choose one, then press Make again."))
    if checkpoint.suffix.lower() != ".safetensors":
        raise CannotMake(
            Text(
                "{checkpoint} is no .safetensors file: save it as one in the WebUI's Checkpoint Merger, or"
                " choose another checkpoint.",
                checkpoint=shown_name(checkpoint),
            )
        )
    if not folders:
        raise CannotMake(NO_FOLDER)
    name = re.sub(r"\.safetensors$", "", name.strip()) or own_name(checkpoint)
    if re.search(r'[\\/:*?"<>|]', name):
        raise CannotMake(
            Text("{name} cannot be the name of a file: leave out {characters}.", name=name,
                 characters='\\ / : * ? " < > |')
        )  # fmt: skip
    numbers = {"--steps": steps, "--pictures": pictures}
    options = [word for flag, number in numbers.items() if number for word in (flag, str(int(number)))]
    runs.start(checkpoint, folders[0] / f"{name}.safetensors", prompts, options)


def follow(run: Run) -> Iterator[tuple]:
    """What the page shows of a run until it is over, each time that it changes: the word for the page at the
    end, the lines, and the picture where it is another one.
    """
    said = before = None
    while True:
        is_over = run.is_over  # asked first: then what is shown is the last
        path, changed_at = run.picture, _changed_at(run.picture)
        is_new = changed_at is not None and (path, changed_at) != before
        lines = shown(run)
        if is_over or is_new or lines != said:  # each costs the browser a tenth of a second and more
            said, before = lines, (path, changed_at)
            yield word() if is_over else gr.update(), lines, _picture(path) if is_new else gr.update()
        if is_over:
            return
        time.sleep(LOOK_EVERY)


def shown(run: Run) -> str:
    """What is known of a run, as HTML."""
    last = {
        WAITING: Text("Waits until the WebUI has drawn what it was asked for before."),
        RUNNING: None if run.said else Text("Starts, which takes some seconds."),
        STOPPED: Text(
            "Stopped. Make goes on where it was, or up to a minute before, with the same prompts, name and"
            " numbers."
        ),
    }.get(run.state, run.problem)
    bar = ""
    if run.progress is not None and not run.is_over:
        what, done, total = run.progress
        last = f"{what}: {done} / {total}"
        bar = f'<progress value="{done}" max="{total}" style="width: 100%"></progress>'
    return _paragraphs([f"{run.output.stem}:", *run.said, *([_worded(last)] if last else [])]) + bar


def update(before: list | None):
    """What the page knows of checkpoint and run, and updates of what it says of them and of the LoRA's name:
    nothing where that is as before.
    """
    checkpoint, current = models.selected_file(), runs.current
    now = [None if checkpoint is None else str(checkpoint), None if current is None else current.output.stem]
    if now == before:
        return now, gr.update(), gr.update()
    if current is not None:
        about = Text("{lora} is being made: press Make to follow it.", lora=current.output.stem)
    elif checkpoint is not None:
        about = Text(
            "Makes an LCM-LoRA for {checkpoint} alone, from pictures that this checkpoint draws. How long"
            " that takes, often hours, is told first; meanwhile the WebUI draws nothing else.",
            checkpoint=shown_name(checkpoint),
        )
    else:
        about = Text("No checkpoint is selected.")
    is_same = checkpoint is None or now[:1] == (before or [])[:1]
    name = gr.update() if is_same else gr.update(value=own_name(checkpoint))
    return now, _paragraphs([_worded(about)]), name


def _worded(sentence: str) -> str:
    return translated(sentence, language.translations())


def _paragraphs(lines: list[str]) -> str:
    return "".join(f"<p>{with_links(line)}</p>" for line in lines)


def _changed_at(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _picture(path: Path) -> str:
    """As HTML with the picture in it, whichever folders the page may load from."""
    try:
        with Image.open(path) as picture:
            small = picture.convert("RGB")
    except OSError:  # replaced at this moment
        return ""
    small.thumbnail((WIDEST, 100 * WIDEST))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=90)
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}" alt="">'
