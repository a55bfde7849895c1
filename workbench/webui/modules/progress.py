"""Tasks by name: which one runs, which wait, which are over. The page asks for its own, under the route of
the WebUI.
"""

from __future__ import annotations

import random
import string
import time
from collections import deque

from pydantic import BaseModel

from modules import shared

REMEMBERED = 16
"""How many tasks that are over are known by name."""

current_task = None
pending_tasks: dict[str, float] = {}
finished_tasks: deque[str] = deque(maxlen=REMEMBERED)


class ProgressRequest(BaseModel):
    id_task: str = ""
    id_live_preview: int = -1
    live_preview: bool = True


class ProgressResponse(BaseModel):
    active: bool
    queued: bool
    completed: bool
    progress: float | None = None
    eta: float | None = None
    live_preview: str | None = None
    id_live_preview: int | None = None
    textinfo: str | None = None


def create_task_id(task_type):
    """A new name such as `task(txt2img-a1b2c3d)`."""
    suffix = "".join(random.choices(string.ascii_lowercase + string.digits, k=7))
    return f"task({task_type}-{suffix})"


def add_task_to_queue(id_job):
    pending_tasks[id_job] = time.time()


def start_task(id_task):
    global current_task
    current_task = id_task
    pending_tasks.pop(id_task, None)


def finish_task(id_task):
    global current_task
    if current_task == id_task:
        current_task = None
    finished_tasks.append(id_task)


def progressapi(request: ProgressRequest):
    """How far the task is. There are no previews of unfinished pictures."""
    task, state = request.id_task, shared.state
    active = task == current_task
    done = None
    if active:
        done = 0.0
        if state.job_count > 0:
            done = state.job_no / state.job_count
            if state.sampling_steps > 0:
                done += state.sampling_step / state.sampling_steps / state.job_count
    return ProgressResponse(
        active=active,
        queued=task in pending_tasks,
        completed=task in finished_tasks,
        progress=None if done is None else min(done, 1.0),
        id_live_preview=-1,
        textinfo=state.textinfo if active else "Waiting...",
    )


def setup_progress_api(app):
    app.add_api_route("/internal/progress", progressapi, methods=["POST"], response_model=ProgressResponse)
