"""The LCM generation that is running now.

The WebUI makes a sampler from a name and a model alone, so the sampler has to find its plan. Nothing is kept on the
processing object: other extensions copy its attributes as JSON to other machines.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

from lib_lcm.options import LcmOptions
from lib_lcm.plan import Plan
from modules import shared


@dataclass(frozen=True)
class Run:
    """One generation with LCM on."""

    plan: Plan
    options: LcmOptions


_run: Run | None = None
_processing: weakref.ref | None = None
_job: object = None


def begin(p, run: Run) -> None:
    """`run` is what the generation of `p` does, until `end` or the next generation."""
    global _run, _processing, _job
    _run, _processing, _job = run, weakref.ref(p), _job_mark()


def end() -> None:
    """No LCM generation is running."""
    global _run, _processing, _job
    _run = _processing = _job = None


def run_of(p) -> Run | None:
    """The run of exactly this processing object, or None."""
    return _run if _processing is not None and _processing() is p else None


def run() -> Run | None:
    """The run that is going on, also for processing objects that another extension makes inside it (a detailer's inner pass).

    A generation that broke off does not reach `end`: its run is over when its processing object is gone or the WebUI has
    begun another job.
    """
    if _processing is None or _processing() is None or _job != _job_mark():
        return None
    return _run


def _job_mark() -> object:
    state = shared.state
    return (getattr(state, "job_timestamp", None), getattr(state, "time_start", None))
