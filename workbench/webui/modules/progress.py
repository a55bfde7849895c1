"""Task names, which the page and the API pass along."""

from __future__ import annotations

import random
import string

current_task = None


def create_task_id(task_type):
    """A new name such as `task(txt2img-a1b2c3d)`."""
    suffix = "".join(random.choices(string.ascii_lowercase + string.digits, k=7))
    return f"task({task_type}-{suffix})"


def start_task(id_task):
    global current_task
    current_task = id_task


def finish_task(id_task):
    global current_task
    if current_task == id_task:
        current_task = None


def add_task_to_queue(id_job):
    """Nothing waits: a lock decides who is next."""
