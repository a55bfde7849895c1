"""The host's own samplers of the names "LCM" and "TCD", which ours stand in front of."""

from __future__ import annotations

from lib_lcm.options import SAMPLER_LABELS
from lib_lcm.webui.host import samplers

CONSTRUCTOR = "LcmSamplerConstructor"
"""The class by which our entries are known: after "Reload UI" with changed files it may be another object of
the same name.
"""


def is_ours(entry) -> bool:
    """Whether an entry of the registry is one of ours."""
    return entry is not None and type(entry.constructor).__name__ == CONSTRUCTOR


def entries(name: str) -> list:
    """All entries of this name in the registry, in its order."""
    return [data for data in samplers.registered() if data.name == name]


def our_entry(name: str):
    """Our entry of this name, or None."""
    return next(filter(is_ours, entries(name)), None)


def own_samplers() -> frozenset[str]:
    """The names of ours that the host has a sampler of its own for: "LCM" on A1111 1.8 and later and the
    forks.
    """
    return frozenset(name for name in SAMPLER_LABELS.values() if _own_entry(name) is not None)


def own_sampler(name: str, sd_model):
    """A new object of the host's own sampler of that name, or None where it has none."""
    own = _own_entry(name)
    if own is None:
        return None
    sampler = own.constructor(sd_model)
    sampler.config = own
    return sampler


def _own_entry(name: str):
    ours = our_entry(name)
    return ours.constructor.own if ours is not None else next(iter(entries(name)), None)
