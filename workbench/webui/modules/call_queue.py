"""One generation at a time, and errors that reach the page as text."""

from __future__ import annotations

import html
import threading
import time
from functools import wraps

from modules import errors, progress, shared

queue_lock = threading.Lock()


def wrap_queued_call(func):
    """func, run while no generation is running."""

    @wraps(func)
    def queued(*args, **kwargs):
        with queue_lock:
            return func(*args, **kwargs)

    return queued


def wrap_gradio_gpu_call(func, extra_outputs=None):
    """func as a job of its own, under the name of its task where that is the first argument; see
    wrap_gradio_call.
    """

    @wraps(func)
    def job(*args, **kwargs):
        task = (
            args[0]
            if args and isinstance(args[0], str) and args[0].startswith("task(") and args[0].endswith(")")
            else None
        )
        if task is not None:
            progress.add_task_to_queue(task)
        with queue_lock:
            shared.state.begin(job=task)
            progress.start_task(task)
            try:
                result = func(*args, **kwargs)
            finally:
                progress.finish_task(task)
            shared.state.end()
        return result

    return wrap_gradio_call(job, extra_outputs=extra_outputs, add_stats=True)


def wrap_gradio_call(func, extra_outputs=None, add_stats=False):
    """func whose last output is HTML: an exception becomes a message there, beside `extra_outputs`."""

    @wraps(func)
    def safe(*args, **kwargs):
        start = time.perf_counter()
        try:
            result = list(func(*args, **kwargs))
        except Exception as e:
            errors.report("Error completing request", exc_info=True)
            detail = getattr(e, "detail", None) or str(e)
            message = f"<div class='error'>{html.escape(f'{type(e).__name__}: {detail}')}</div>"
            result = [*([None, ""] if extra_outputs is None else extra_outputs), message]
        finally:
            state = shared.state
            state.skipped = state.interrupted = state.stopping_generation = False
            state.job_count = 0
            state.job = ""
        if add_stats:
            seconds = time.perf_counter() - start
            result[-1] += (
                "<div class='performance'><p class='time'>Time taken: <span"
                f" class='measurement'>{seconds:.1f} sec.</span></p></div>"
            )
        return tuple(result)

    return safe
