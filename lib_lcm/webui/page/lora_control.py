"""The row of the accordion that is about the LCM-LoRA: which one, looking for files again, remembering,
downloading.

The drop-down's entries say what the options mean at the moment (`lib_lcm.lora.entries`); what it sends is one
of them, and whoever reads it takes the option from it. So an entry that has become outdated is an ugly text,
never a wrong choice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import gradio as gr

from lib_lcm.families import Family
from lib_lcm.lora.background import downloads
from lib_lcm.lora.catalog import PublishedLora, published_lcm
from lib_lcm.lora.download import DownloadError
from lib_lcm.lora.entries import entries, entry_for
from lib_lcm.lora.file import BY_YOU
from lib_lcm.lora.hashes import sha256_of_file
from lib_lcm.lora.remembered import NotRemembered
from lib_lcm.lora.use import DISTILLED, FROM_TAG, REMEMBERED, option_name
from lib_lcm.methods import METHODS
from lib_lcm.options import (
    AUTO,
    AUTO_LABEL,
    BEST,
    BEST_LABEL,
    NO_LORA,
    NONE,
    OPTION,
    OWN_LABEL,
    lora_option,
)
from lib_lcm.plan.plan import Plan
from lib_lcm.text import Text, sentence_of, translated
from lib_lcm.webui import facts, language, loras, remembered, settings
from lib_lcm.webui.host import models, networks, page

REFRESH_SYMBOL = "\U0001f504"
NO_FOLDER = Text("This WebUI has no LoRA folder: create {folder}, then try again.", folder="models/Lora")


class LoraControl:
    """`dropdown` is the script's argument; the rest of the row serves it."""

    def __init__(self, elem_id: Callable[[str], str]):
        """`elem_id` makes an element id from a short name. `draw` and the other two draw the parts."""
        self._elem_id = elem_id

    def draw(self) -> gr.Dropdown:
        """Draws the row; returns the script's argument."""
        elem_id = self._elem_id
        with page.components.FormRow():
            # As long as the page has not asked what they mean, the entries say what is always so: saved
            # defaults are compared with them.
            self.dropdown = gr.Dropdown(
                entries(loras.listed_loras(), words=language.translations()),
                value=AUTO_LABEL,
                allow_custom_value=True,
                label=OPTION["lora"].label,
                elem_id=elem_id("lora"),
            )
            self.refresh = page.components.ToolButton(value=REFRESH_SYMBOL, elem_id=elem_id("refresh"))
        self.remember = gr.Button("Remember", visible=False, elem_id=elem_id("remember"))
        page.set_tooltip(self.refresh, Text("Look for LoRA files again, and update the status line."))
        page.set_tooltip(
            self.remember,
            Text(
                "For this checkpoint, Auto then means this LCM-LoRA: on the page, in prompts and over the"
                " API, until you press it again."
            ),
        )
        for component in (self.refresh, self.remember):
            component.do_not_save_to_config = True
        return self.dropdown

    def draw_download(self) -> None:
        """Draws the button that downloads what is missing, and its progress."""
        self.download = gr.Button("Download", visible=False, elem_id=self._elem_id("download"))
        self.progress = gr.HTML("", elem_id=self._elem_id("progress"))  # gradio shows none on a button
        self.download.do_not_save_to_config = True
        page.set_tooltip(
            self.download,
            Text(
                "Downloads the official LCM-LoRA for this checkpoint into the LoRA folder and verifies it; a"
                " download that broke off goes on from there."
            ),
        )

    def draw_correction(self) -> None:
        """Draws the button that corrects what a file's method is taken for."""
        self.correct = gr.Button("Correct", visible=False, elem_id=self._elem_id("correct"))
        self.correct.do_not_save_to_config = True
        page.set_tooltip(
            self.correct,
            Text("This very file then counts as one of that method, wherever it is and whatever its name."),
        )

    def connect(self, done, exchange, method) -> None:
        """Makes the buttons work. What one has done, or why not, goes into the box `done`, and the page asks
        anew what is to be shown. `exchange` has the last answer; `method` is the control of that option.
        """

        def corrected(answer: str, label: str):
            try:
                correct_method(json.loads(answer).get("lora"), label)
            except NotRemembered as error:
                return word(error), gr.update()
            return word(), OWN_LABEL

        def remembered_or_forgotten(entry: str):
            try:
                toggle_remembered(entry)
            except NotRemembered as error:
                return word(error), gr.update()
            return word(), AUTO_LABEL  # what that means now comes with the answer

        def downloaded(progress):
            lora = missing_lora()
            return word() if lora is None else fetch(lora, progress), ""

        # not through gradio's queue, as the page's questions
        self.remember.click(
            remembered_or_forgotten,
            inputs=[self.dropdown],
            outputs=[done, self.dropdown],
            show_progress=False,
            queue=False,
        )
        self.correct.click(
            corrected,
            inputs=[exchange, method],
            outputs=[done, method],
            show_progress=False,
            queue=False,
        )
        self.download.click(with_progress(downloaded), inputs=[], outputs=[done, self.progress])


def word(error: Exception | None = None) -> str:
    """What the page is told when a button has done its work, or failed with this error. Another text each
    time.
    """
    problem = None if error is None else translated(sentence_of(error), language.translations())
    return json.dumps({"at": time.time_ns(), "problem": problem})


def with_progress(function: Callable):
    """`function(progress, *inputs)` as gradio calls it, which shows the progress. Without its queue gradio
    can not, and refuses to start.
    """
    if not page.queues_page():
        return lambda *inputs: function(lambda *args, **kwargs: None, *inputs)

    def shown(progress=gr.Progress(), *inputs):  # noqa: B008 (gradio recognises the default)
        return function(progress, *inputs)

    return shown


def fetch(lora: PublishedLora, progress) -> str:
    """Downloads `lora` into the WebUI's LoRA folder; returns the word for the page."""
    folders = networks.lora_dirs()
    try:
        if not folders:
            raise DownloadError(NO_FOLDER)
        downloads.start(lora, folders[0], settings.download_mirror())
        downloads.follow(lora, lambda done, total: progress(done / total, desc=lora.name))
    except DownloadError as error:
        return word(error)
    return word()


def row_for(shown: str, listed_before: list[str] | None):
    """The drop-down's entries, and updates of drop-down and download button.

    `shown` is what the drop-down shows, perhaps an outdated entry, `listed_before` what it lists. What is
    still right is not sent again: meanwhile another entry may be chosen, and of a list that is open gradio 4
    leaves only what fits the field.
    """
    listed = entries_now()
    entry = entry_for(shown, listed)
    changes = ({} if listed == listed_before else {"choices": listed}) | (
        {} if entry == shown else {"value": entry}
    )
    return listed, gr.update(**changes), download_button()


def entry_now(option: str) -> str:
    """The entry that shows an option at the moment."""
    return entry_for(option, entries_now())


def entries_now() -> list[str]:
    """The drop-down's entries for the selected checkpoint; without what they mean for it while it is not
    loaded.
    """
    model = models.selected()
    if model is None:
        return entries(loras.listed_loras(), words=language.translations())
    family = models.family_of(model)
    return entries(loras.listed_loras(), family, meaning_of_auto(model, family), language.translations())


def meaning_of_auto(model, family: Family) -> str:
    """What Auto means for a loaded model, in a few words, a `Text` where they are not a name alone."""
    use = facts.lora_of(model)
    if use.problem is not None:
        return Text("none found for {family}", family=family.label)
    name = use.name or NO_LORA
    if use.reason == DISTILLED:
        return Text("{lora}, distilled from it", lora=name)
    return Text("{lora}, remembered", lora=name) if use.reason == REMEMBERED else name


# --- remembering --------------------------------------------------------------------------------------------


def toggle_remembered(entry: str) -> None:
    """What the remember button does. Raises NotRemembered, also for a LoRA that cannot be used with the
    selected checkpoint.
    """
    model = models.selected()
    option = lora_option(entry)
    if option in (AUTO, remembered.lora_of(model)):
        remembered.forget(model)
        return
    problem = None if model is None else _problem_of(option, model)
    if problem is not None:
        raise NotRemembered(problem)
    remembered.remember(model, option)


def _problem_of(option: str, model) -> str | None:
    """Why the option cannot be used with a loaded model."""
    return facts.lora_of(model, option).problem


def remember_button(entry: str | None):
    """Says what the button would do: remember what is chosen, forget what is remembered; hidden where it
    could do neither.
    """
    model = models.selected()
    option, before = lora_option(entry or AUTO_LABEL), remembered.lora_of(model)
    if model is None or (option == AUTO and before is None):
        return gr.update(visible=False)
    if option in (AUTO, before):
        return gr.update(visible=True, value=_named("Forget {lora} for this checkpoint", lora=_shown(before)))
    if _problem_of(option, model) is not None:
        return gr.update(visible=False)
    return gr.update(visible=True, value=_named("Remember {lora} for this checkpoint", lora=_shown(option)))


def lora_in_use(plan: Plan | None) -> str | None:
    """The LoRA that the button corrects the method of, as the option `lora` has it."""
    file = None if plan is None or plan.first.lora is None else plan.first.lora.file
    return None if file is None else option_name(file, loras.library())


def correct_method(name: str | None, label: str) -> None:
    """What the button does that corrects a file's method: the LoRA of this name counts as one of the method
    with this label; with that of "auto", as what it is taken for again. Raises NotRemembered.
    """
    file = None if name is None else loras.library().find(name)
    sha256 = None if file is None else networks.file_sha256(file.path) or sha256_of_file(file.path)
    if file is None or sha256 is None:
        raise NotRemembered(Text("No LoRA is chosen whose method could be corrected."))
    method = next((one for one in METHODS if one.label == label and one.recipe is not None), None)
    if method is None:
        remembered.methods().forget(sha256)
    else:
        remembered.methods().remember(sha256, method, size=file.size, name=file.name)
    loras.library().scan()  # else the file counts as before until somebody looks


def correct_button(plan: Plan | None):
    """Says what the button would do; hidden where the method is not picked by hand, or the file's own."""
    lora = None if plan is None else plan.first.lora
    if plan is None or lora is None or lora.file is None or lora.reason == FROM_TAG:
        return gr.update(visible=False)
    if plan.options.method == AUTO:
        forgets = lora.known_by == BY_YOU
        text = (
            _named("Forget that {lora} is {method}", lora=lora.name, method=plan.method.label)
            if forgets
            else ""
        )
        return gr.update(visible=forgets, **({"value": text} if forgets else {}))
    if plan.method is lora.method:
        return gr.update(visible=False)
    text = _named("Always treat {lora} as {method}", lora=lora.name, method=plan.method.label)
    return gr.update(visible=True, value=text)


def _named(template: str, **values) -> str:
    """A button's text, in the page's language."""
    return Text(template, **values).translated(language.translations())


def _shown(option: str) -> str:
    return {NONE: NO_LORA, BEST: BEST_LABEL}.get(option, option)


# --- downloading --------------------------------------------------------------------------------------------


def missing_lora() -> PublishedLora | None:
    """The official LCM-LoRA for the selected checkpoint's family, once it is loaded, where the LoRA folder
    has none that serves it.
    """
    model = models.selected()
    is_needed = model is not None and models.guidance_projection(model) is None
    lora = published_lcm(models.family_of(model)) if is_needed else None
    return (
        lora
        if lora is not None and loras.library().choose(lora.family).file is None and networks.lora_dirs()
        else None
    )


def download_button():
    """Names the file, its size and its licence; hidden where nothing is missing."""
    lora = missing_lora()
    if lora is None:
        return gr.update(visible=False)
    return gr.update(
        visible=True,
        value=_named(
            "Download {lora} ({megabytes:.0f} MB, licence {licence})",
            lora=lora.name,
            megabytes=lora.megabytes,
            licence=lora.licence,
        ),
    )
