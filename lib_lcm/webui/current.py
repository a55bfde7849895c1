"""The generations that are running now: which of them is LCM's, and what it does.

The WebUI makes a sampler from a name and a model alone, so the sampler has to find its plan. Nothing is kept
on the processing object: other extensions copy its attributes as JSON to other machines.

Generations nest: a detailer makes one of its own while the outer one is not over. So they are a stack; one
that does not run our script does what the one around it does.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

from lib_lcm.plan.plan import Plan
from lib_lcm.webui.host import generations


@dataclass(frozen=True)
class _Entry:
    processing: weakref.ref
    job: object
    plan: Plan | None  # None: a generation with LCM off


_stack: list[_Entry] = []


def begin(p, plan: Plan | None) -> None:
    """`plan` is what the generation of `p` does until `end`; None if LCM is off in it, whatever is going on
    around it.
    """
    end(p)
    _drop_dead()
    _stack.append(_Entry(weakref.ref(p), generations.job_mark(), plan))


def end(p) -> None:
    """The generation of `p` is over, and with it any begun inside it that broke off."""
    position = _position(p)
    if position is not None:
        del _stack[position:]


def plan_of(p) -> Plan | None:
    """The plan of exactly this processing object, or None. Generations that were begun inside it are over
    when it asks.
    """
    position = _position(p)
    if position is None:
        return None
    del _stack[position + 1 :]
    return _stack[position].plan


def plan() -> Plan | None:
    """The plan of the generation that is going on, also for processing objects that another extension makes
    inside it (a detailer's inner pass).
    """
    _drop_dead()
    return _stack[-1].plan if _stack else None


def plan_around(p) -> Plan | None:
    """The plan that the sampling of `p` belongs to: its own, or that of the generation around it."""
    return plan() if _position(p) is None else plan_of(p)


def processing():
    """The processing object of the innermost generation that runs our script, or None."""
    _drop_dead()
    return _stack[-1].processing() if _stack else None


def is_inner(p) -> bool:
    """Whether our script does not run in the generation of `p`, so that what it does is decided by the one
    around it.
    """
    return _position(p) is None


def _position(p) -> int | None:
    return next((i for i, entry in enumerate(_stack) if entry.processing() is p), None)


def _drop_dead() -> None:
    """One that broke off does not reach `end`: it is over when its processing object is gone or the WebUI has
    begun another job.
    """
    job = generations.job_mark()
    _stack[:] = [entry for entry in _stack if entry.processing() is not None and entry.job == job]
