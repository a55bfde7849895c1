"""Live mode: while "Live" is ticked, a new picture follows what is typed, dragged or drawn.

javascript/lcm_live.js watches the page and presses the WebUI's own Generate when its user pauses, so queue,
gallery and errors are the WebUI's. A live run is known by the name of its task,
"task(lcm-live-SESSION-NUMBER)", which the WebUI carries from the page to `modules.progress`: not an argument,
and nothing that an ordinary press of Generate could have. Such a run draws one picture and saves none; where
the WebUI has the weights of its tiny decoder, a draft, of which Generate makes the VAE's picture.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr
from fastapi import FastAPI, Request
from PIL import Image, PngImagePlugin

from lib_lcm.api.messages import RequestError, read_object
from lib_lcm.text import Text
from lib_lcm.webui.api.http import read_body, reply
from lib_lcm.webui.host import decoding, generations, page, scripts, server

STOP_ROUTE = "/internal/lcm/live-stop"
FILES_KEPT = 3
"""Of one session: the one that the page shows, and those that it may still be asking for. Fewer when Live is
switched off.
"""
SESSIONS_KEPT = 16

_TASK = re.compile(r"task\(lcm-live-([0-9a-z]{8,32})-([0-9]{1,9})\)")


def create_controls(elem_id) -> None:
    """The tick and the line beside it, which javascript/lcm_live.js fills in. Neither is an argument of the
    script.
    """
    with gr.Row(elem_id=elem_id("live_row")):
        tick = gr.Checkbox(False, label=Text("Live"), elem_id=elem_id("live"), container=False)
        mark = " data-lcm-holds-back" if page.gradio_holds_back_presses() else ""
        gr.HTML(f'<div class="lcm-live-status"{mark}></div>', elem_id=elem_id("live_status"))
    tick.do_not_save_to_config = True  # a page must not begin to draw when it is opened
    page.set_tooltip(
        tick,
        Text(
            "A new picture follows whatever you change, with a fixed seed and without saving. Press Generate"
            " to keep one."
        ),
    )


@dataclass(frozen=True)
class LiveTask:
    """What the name of a live run's task says: the tab of a page that it is of, and its place among that
    tab's live runs.
    """

    session: str
    number: int

    def filename(self, is_draft: bool) -> str:
        """The name of the picture's file, by which the page knows it."""
        return f"lcm-live-{self.session}-{self.number}{'.draft' if is_draft else ''}.png"


def live_task(name: object) -> LiveTask | None:
    """The live run that a task's name stands for, None for any other task."""
    match = _TASK.fullmatch(name) if isinstance(name, str) else None
    return None if match is None else LiveTask(match[1], int(match[2]))


@dataclass(frozen=True)
class _Shown:
    """What a finished run gave to the page."""

    image: Image.Image
    infotext: str


@dataclass
class _Session:
    """One tab of a page with Live ticked. Runs up to `withdrawn` are not drawn any more."""

    withdrawn: int = 0
    files_kept: int = FILES_KEPT
    last: _Shown | None = None
    files: deque[Path] = field(default_factory=deque)


class LiveRuns:
    """The live runs of all pages. The WebUI makes one picture at a time, so at most one of them is
    running.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._unwanted: list[Path] = []
        """Files that are to be removed as soon as they can be."""
        self._task: LiveTask | None = None
        """The last that has begun."""
        self._outermost: Callable[[], object] = lambda: None
        """A weak reference to the processing object of that task's outermost generation, at its end to its
        result.
        """
        self._is_draft = False
        """Whether its picture is one."""

    def begin(self, p) -> None:
        """Before anything of a generation is prepared: nothing of a live run is saved, and its outermost
        generation makes one picture.
        """
        task = live_task(generations.current_task())
        if task is None:
            return
        p.do_not_save_samples = True
        p.do_not_save_grid = True
        generations.leave_init_image_unsaved(p)
        if not scripts.runs_whole_tab(p):
            return
        with self._lock:
            outermost = self._outermost() if self._task == task else None
            if outermost is not None and outermost is not p:  # ADetailer calls this with a copy of `p` too
                return
            self._task, self._outermost, self._is_draft = task, weakref.ref(p), False
            session = self._session(task)
            withdrawn = session.withdrawn >= task.number
            if not withdrawn:
                session.files_kept = FILES_KEPT
        p.n_iter = 1
        p.batch_size = 1
        if withdrawn:
            generations.stop_before_first_step(p)

    def decode(self, p, sampled) -> None:
        """The latents are there: makes a draft of them, where that can be done."""
        with self._lock:
            if self._outermost() is not p:
                return
        pictures = decoding.draft(sampled.samples)
        if pictures is None:
            return
        sampled.samples = pictures
        # the WebUI's own "VAE Decoder" would come back where the picture is pasted
        p.extra_generation_params["LCM draft"] = "TAESD"
        self._is_draft = True

    def end(self, p, processed) -> None:
        """The generation is over: puts its picture where only the page finds it. For an unfinished one the
        last one is shown.
        """
        with self._lock:
            if self._outermost() is not p:
                return
            self._outermost = weakref.ref(processed)  # alive while scripts after ours go on, and may generate
            task = self._task
            session = self._session(task)
        if processed.images and not generations.is_interrupted():
            shown = _Shown(processed.images[0], processed.infotexts[0])
            path = _save(shown.image, task.filename(self._is_draft))
            with self._lock:
                session.last = shown
                if path not in session.files:
                    session.files.append(path)
                self._remove_files(session, session.files_kept)
            if session.last is shown:
                # what other extensions have added (ControlNet its map) would get files of gradio's, see below
                processed.images, processed.infotexts = [shown.image], [shown.infotext]
                return
        # not a picture that has no file of ours: it would get one of gradio's, which nobody removes
        last = session.last
        processed.images, processed.infotexts = ([], []) if last is None else ([last.image], [last.infotext])
        processed.info = "" if last is None else last.infotext

    def stop(self, task: LiveTask, also_running: bool, files_kept: int | None = None) -> str:
        """Withdraws a run that has not begun; `also_running`: ends it if it is running. Returns
        "withdrawn", "interrupted" or, where it goes on, "running".

        `files_kept` is how many pictures the page, which begins no further run, still needs: one when Live is
        off, none when it goes away.
        """
        with self._lock:
            if files_kept is not None:
                session = self._session(task)
                session.files_kept = files_kept
                self._remove_files(session, files_kept)
            # both: the last run may be over. Then it is this run, and no other job, that an interrupt
            # reaches.
            if self._task == task == live_task(generations.current_task()):
                if also_running:
                    generations.interrupt()
                return "interrupted" if also_running else "running"
            session = self._session(task)
            session.withdrawn = max(session.withdrawn, task.number)
            return "withdrawn"

    def _session(self, task: LiveTask) -> _Session:
        session = self._sessions.setdefault(task.session, _Session())
        self._sessions.move_to_end(task.session)
        while len(self._sessions) > SESSIONS_KEPT:
            self._remove_files(self._sessions.popitem(last=False)[1], 0)
        return session

    def _remove_files(self, session: _Session, kept: int) -> None:
        while len(session.files) > kept:
            self._unwanted.append(session.files.popleft())
        if not session.files:
            session.last = None
        self._unwanted = [path for path in self._unwanted if not _is_removed(path)]


def _is_removed(path: Path) -> bool:
    """Whether the file is gone. On Windows one that is being sent stays for now."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        return True
    return False


def _save(image: Image.Image, filename: str) -> Path:
    """Writes the picture among gradio's temporary files, where the WebUI would put it too, but under a name
    and fast.
    """
    folder = Path(
        server.setting("temp_dir", "")
        or os.environ.get("GRADIO_TEMP_DIR")
        or Path(tempfile.gettempdir()) / "gradio"
    )
    folder.mkdir(parents=True, exist_ok=True)
    information = PngImagePlugin.PngInfo()
    for key, value in image.info.items():
        if isinstance(key, str) and isinstance(value, str):
            information.add_text(key, value)
    path = folder / filename
    image.save(path, pnginfo=information, compress_level=1)
    image.already_saved_as = str(path)  # every host shows a picture from there, and makes no file of its own
    return path


runs = LiveRuns()


def add_routes(demo, app: FastAPI) -> None:
    """Adds what the page calls to take a run back. It is there without --api, as the WebUI's own route for
    progress is.
    """

    async def stop(request: Request):
        try:
            body = read_object(await read_body(request))
            task = live_task(body.get("task"))
            if task is None:
                raise RequestError(422, "'task' must be the name of a live run.")
            files_kept = body.get("files_kept")
            if files_kept not in (None, 0, 1):
                raise RequestError(422, "'files_kept' must be 0 or 1.")
            return reply({"state": runs.stop(task, body.get("also_running") is True, files_kept)})
        except RequestError as error:
            return reply({"detail": error.sentence}, error.status)

    app.add_api_route(STOP_ROUTE, stop, methods=["POST"], include_in_schema=False)
