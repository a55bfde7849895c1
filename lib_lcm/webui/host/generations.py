"""One generation of the WebUI: its processing object, its job, how it is refused or stopped."""

from __future__ import annotations

from lib_lcm.webui.host import server
from modules import progress, shared


def set_known(p, **fields) -> None:
    """Sets those fields of a generation that this WebUI has."""
    # no `scheduler` [a1111-1.6 a1111-1.7 a1111-1.8], `hr_cfg` alone on [forge reforge]
    for name, value in fields.items():
        if hasattr(p, name):
            setattr(p, name, value)


def chosen_hires_steps(steps):
    """The steps of the page's hires pass; 0, which stands for those of the first pass, where they are what
    the chosen preset has put there.
    """
    preset = server.setting("forge_preset", None)  # [neo]; Forge's own sets no steps
    return 0 if steps and steps == server.setting(f"{preset}_t2i_hr_step", None) else steps


def queue():
    """The WebUI's queue, as a lock: whoever has it draws, and nobody else."""
    from modules import call_queue

    return call_queue.queue_lock


def is_for_api(p) -> bool:
    """Whether a generation was asked for over the API, not on the page."""
    return bool(getattr(p, "is_api", False))


def job_mark() -> object:
    """Another one for each job of the WebUI: the task where it has a name, else when it began, which an
    interrogation changes too.
    """
    if progress.current_task is not None:
        return progress.current_task
    return getattr(shared.state, "job_timestamp", None), getattr(shared.state, "time_start", None)


def current_task() -> str | None:
    """The name of the job that is going on, where the page gave it one."""
    return progress.current_task


def interrupt() -> None:
    """Ends the job that is going on, as the page's own Interrupt does."""
    shared.state.interrupt()


def is_interrupted() -> bool:
    """Whether the user has stopped the job that is going on."""
    return bool(shared.state.interrupted)


def comment(p, sentence: str) -> bool:
    """Shows a sentence under the picture, once. Returns whether it was not there yet, as far as is known."""
    comments = getattr(p, "comments", None)
    is_new = not isinstance(comments, dict) or sentence not in comments
    if hasattr(p, "comment"):
        p.comment(sentence)
    return is_new


def refuse(p, refusal: Exception) -> None:
    """Makes the generation fail with this exception.

    The WebUI swallows an exception raised in a script's callback, so it is raised from the next thing that
    the WebUI itself calls on the processing object: `init`, after process().
    """

    def fail(*args, **kwargs):
        p.__dict__.pop("init", None)
        raise refusal

    p.init = fail


def stop_before_first_step(p) -> None:
    """Ends a generation that is about to begin, without an error and without a call of the UNet."""
    from modules import scripts

    if hasattr(scripts.Script, "on_mask_blend"):
        shared.state.interrupt()
        return

    # stopped before its first picture, it ends with "list index out of range" [a1111-1.6 a1111-1.7]
    def sample(*args, **kwargs):
        p.__dict__.pop("sample", None)
        shared.state.interrupt()
        return p.sample(*args, **kwargs)

    p.sample = sample


def leave_init_image_unsaved(p) -> None:
    """Makes the generation pass over the setting "Save init images when using img2img", which no field of a
    request can switch off.

    It is read in `init`, and not put into the request's `override_settings`: those of a setting that
    config.json lacks stay.
    """
    name = "save_init_img"
    if not server.setting(name, False):
        return

    def init(*args, **kwargs):
        p.__dict__.pop("init", None)
        values = shared.opts.data
        before = values.get(name)
        values[name] = False
        try:
            return p.init(*args, **kwargs)
        finally:
            values[name] = before

    p.init = init
