"""Our samplers in the WebUI's registry: exactly one entry each, and the host's own come back when ours go."""

from __future__ import annotations

from lib_lcm.options import SAMPLER_LABELS, WEBUI
from lib_lcm.webui import current, settings
from lib_lcm.webui.generation import activation
from lib_lcm.webui.host import samplers
from lib_lcm.webui.sampling.sampler import SAMPLERS


class LcmSamplerConstructor:
    """What the registry calls to make a sampler: ours in an LCM generation, else the host's own where it has
    one.

    `own` is the entry that this name means without us, the host's or another extension's, or None;
    `displaced` are all other entries of this name, each with its place in the list when it was taken out, in
    that order.
    """

    def __init__(self, name: str, own, displaced: tuple = ()):
        self.name = name
        self.own = own
        self.displaced = displaced

    def __call__(self, sd_model):
        plan = current.plan()
        sampler = self.own.constructor(sd_model) if self._is_for_own(plan) else SAMPLERS[self.name](sd_model)
        if plan is not None:
            samplers.after_sampling(sampler, activation.check_applied)
        return sampler

    def _is_for_own(self, plan) -> bool:
        if self.own is None:
            return False
        if plan is not None:
            return plan.schedule == WEBUI
        return not (self.name == SAMPLER_LABELS["lcm"] and settings.trailing_by_hand())


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
    found, in_effect, ours = samplers.entries(name), samplers.by_name().get(name), samplers.our_entry(name)
    if (
        ours is not None
        and found == [ours]
        and in_effect is ours
        and type(ours.constructor) is LcmSamplerConstructor
    ):
        return False
    registered = samplers.registered()
    own, displaced = (None, []) if ours is None else (ours.constructor.own, list(ours.constructor.displaced))
    place = _place(found[0]) if found else len(registered)
    # ours first: it is not there when they are put back
    for entry in sorted(found, key=lambda entry: entry is not ours):
        position = _place(entry)
        del registered[position]
        if entry is not ours:
            displaced.append((position, entry))
    if in_effect is not None and not samplers.is_ours(in_effect):
        own = in_effect
    elif own is None and displaced:
        own = displaced[-1][1]
    options = dict(own.options) if own is not None else {}
    # of the whole name: "k_euler" is the host's own Euler
    aliases = list(own.aliases) if own is not None else ["k_" + name.lower().replace(" ", "_")]
    entry = samplers.SamplerData(name, LcmSamplerConstructor(name, own, tuple(displaced)), aliases, options)
    registered.insert(place, entry)
    samplers.by_name()[name] = entry
    return True


def unregister() -> None:
    """Takes our samplers out again; what had their names before is as it was."""
    for name in SAMPLER_LABELS.values():
        ours = samplers.our_entry(name)
        if ours is None:
            continue
        del samplers.registered()[_place(ours)]
        for position, entry in reversed(ours.constructor.displaced):
            samplers.registered().insert(position, entry)
        in_effect = samplers.by_name()
        if in_effect.get(name) is not ours:
            continue  # another extension's, which it put there later than we ours
        if ours.constructor.own is None:
            del in_effect[name]
        else:
            in_effect[name] = ours.constructor.own
    samplers.look_again()


def _place(entry) -> int:
    return next(i for i, data in enumerate(samplers.registered()) if data is entry)
