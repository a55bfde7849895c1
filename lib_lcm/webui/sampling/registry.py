"""The samplers "LCM" and "TCD" in the WebUI's registry: exactly one entry each, and the host's own come back
when ours go.
"""

from __future__ import annotations

from lib_lcm.options import LCM, SAMPLER_LABELS, TCD, WEBUI
from lib_lcm.webui import settings
from lib_lcm.webui.generation import activation, current
from lib_lcm.webui.host import samplers
from modules import sd_samplers, sd_samplers_common

ALIASES = {SAMPLER_LABELS[LCM]: ["k_lcm"], SAMPLER_LABELS[TCD]: ["k_tcd"]}


class LcmSamplerConstructor:
    """What the registry calls to make a sampler: ours in an LCM generation, else the host's own where it has
    one.
    """

    def __init__(self, name: str, own, displaced: tuple = ()):
        self.name = name
        self.own = own
        """The registry entry that this name means without us, the host's or another extension's, or None."""
        self.displaced = displaced
        """All other entries of this name, each with its place in the list when it was taken out, in that
        order.
        """

    def __call__(self, sd_model):
        run = current.run()
        sampler = self._sampler(run, sd_model)
        if run is not None:
            samplers.after_sampling(sampler, activation.check_applied)
        return sampler

    def _sampler(self, run, sd_model):
        if self.own is not None:
            by_hand = run is None and not (self.name == SAMPLER_LABELS[LCM] and settings.trailing_by_hand())
            handed_over = run is not None and run.plan.schedule == WEBUI
            if by_hand or handed_over:
                return self.own.constructor(sd_model)
        from lib_lcm.webui.sampling.sampler import SAMPLERS

        return SAMPLERS[self.name](sd_model)


def _is_ours(entry) -> bool:
    # by name: after "Reload UI" with changed files the class may be another object of the same name
    return entry is not None and type(entry.constructor).__name__ == LcmSamplerConstructor.__name__


def _entries(name: str) -> list:
    return [data for data in sd_samplers.all_samplers if data.name == name]


def _registered(name: str):
    """Our registry entry of this name, or None."""
    return next(filter(_is_ours, _entries(name)), None)


def own_samplers() -> frozenset[str]:
    """The names of ours that the host has a sampler of its own for: "LCM" on A1111 1.8 and later, Forge and
    reForge.
    """
    own = set()
    for name in SAMPLER_LABELS.values():
        entry = _registered(name)
        if entry.constructor.own is not None if entry is not None else _entries(name):
            own.add(name)
    return frozenset(own)


def own_sampler(name: str, sd_model):
    """A new object of the host's own sampler of that name, or None where it has none."""
    entry = _registered(name)
    own = entry.constructor.own if entry is not None else None
    if own is None:
        return None
    sampler = own.constructor(sd_model)
    sampler.config = own
    return sampler


def register() -> None:
    """Makes ours the only samplers of their names, each in the place of the first that had it. Doing it again
    changes nothing.

    It is done again now and then, since another extension may add one of the same name later than we do.
    """
    changed = [name for name in SAMPLER_LABELS.values() if _register(name)]
    if changed:
        samplers.look_again()


def _register(name: str) -> bool:
    """Whether there was something to do."""
    entries, in_effect = _entries(name), sd_samplers.all_samplers_map.get(name)
    ours = _registered(name)
    if (
        ours is not None
        and entries == [ours]
        and in_effect is ours
        and type(ours.constructor) is LcmSamplerConstructor
    ):
        return False
    own, displaced = (None, []) if ours is None else (ours.constructor.own, list(ours.constructor.displaced))
    place = _place(entries[0]) if entries else len(sd_samplers.all_samplers)
    for entry in sorted(
        entries, key=lambda entry: entry is not ours
    ):  # ours first: it is not there when they are put back
        position = _place(entry)
        del sd_samplers.all_samplers[position]
        if entry is not ours:
            displaced.append((position, entry))
    if in_effect is not None and not _is_ours(in_effect):
        own = in_effect
    elif own is None and displaced:
        own = displaced[-1][1]
    options = dict(own.options) if own is not None else {}
    aliases = list(own.aliases) if own is not None else list(ALIASES[name])
    entry = sd_samplers_common.SamplerData(
        name, LcmSamplerConstructor(name, own, tuple(displaced)), aliases, options
    )
    sd_samplers.all_samplers.insert(place, entry)
    sd_samplers.all_samplers_map[name] = entry
    return True


def unregister() -> None:
    """Takes our samplers out again; what had their names before is as it was."""
    for name in SAMPLER_LABELS.values():
        ours = _registered(name)
        if ours is None:
            continue
        del sd_samplers.all_samplers[_place(ours)]
        for position, entry in reversed(ours.constructor.displaced):
            sd_samplers.all_samplers.insert(position, entry)
        if sd_samplers.all_samplers_map.get(name) is not ours:
            continue  # another extension's, which it put there later than we ours
        if ours.constructor.own is None:
            del sd_samplers.all_samplers_map[name]
        else:
            sd_samplers.all_samplers_map[name] = ours.constructor.own
    samplers.look_again()


def _place(entry) -> int:
    return next(i for i, data in enumerate(sd_samplers.all_samplers) if data is entry)
