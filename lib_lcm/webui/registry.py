"""The sampler "LCM" in the WebUI's registry: exactly one entry, and the host's own comes back when ours goes."""

from __future__ import annotations

from lib_lcm.options import WEBUI
from lib_lcm.plan import SAMPLER_NAME
from lib_lcm.webui import current, settings
from modules import sd_samplers, sd_samplers_common

ALIASES = ["k_lcm"]


class LcmSamplerConstructor:
    """What the registry calls to make a sampler: ours in an LCM generation, else the host's own where it has one."""

    def __init__(self, own):
        self.own = own
        """The host's own registry entry "LCM", or None."""

    def __call__(self, sd_model):
        run = current.run()
        if self.own is not None:
            by_hand = run is None and not settings.trailing_by_hand()
            handed_over = run is not None and run.plan.schedule == WEBUI
            if by_hand or handed_over:
                return self.own.constructor(sd_model)
        from lib_lcm.webui.kdiffusion_sampler import LcmSampler

        return LcmSampler(sd_model)


def _position() -> int | None:
    return next((i for i, data in enumerate(sd_samplers.all_samplers) if data.name == SAMPLER_NAME), None)


def _registered():
    """Our registry entry, or None."""
    position = _position()
    entry = sd_samplers.all_samplers[position] if position is not None else None
    # by name: after "Reload UI" with changed files the class may be another object of the same name
    return entry if entry is not None and type(entry.constructor).__name__ == LcmSamplerConstructor.__name__ else None


def has_own_lcm() -> bool:
    """Whether the host has an LCM sampler of its own (A1111 1.8 and later, Forge, reForge)."""
    entry = _registered()
    return entry.constructor.own is not None if entry is not None else _position() is not None


def own_sampler(sd_model):
    """A new object of the host's own LCM sampler, or None where it has none."""
    entry = _registered()
    own = entry.constructor.own if entry is not None else None
    if own is None:
        return None
    sampler = own.constructor(sd_model)
    sampler.config = own
    return sampler


def register() -> None:
    """Puts our sampler in the registry, in the place of the host's own where there is one. Doing it again changes nothing."""
    entry = _registered()
    if entry is not None:
        own = entry.constructor.own
    else:
        position = _position()
        own = sd_samplers.all_samplers[position] if position is not None else None
    options = dict(own.options) if own is not None else {}
    aliases = list(own.aliases) if own is not None else list(ALIASES)
    _put(sd_samplers_common.SamplerData(SAMPLER_NAME, LcmSamplerConstructor(own), aliases, options))


def unregister() -> None:
    """Takes our sampler out again and gives the host its own back."""
    entry = _registered()
    if entry is not None:
        _put(entry.constructor.own)


def _put(entry) -> None:
    position = _position()
    if entry is None:
        del sd_samplers.all_samplers[position]
        sd_samplers.all_samplers_map.pop(SAMPLER_NAME, None)
    else:
        if position is None:
            sd_samplers.all_samplers.append(entry)
        else:
            sd_samplers.all_samplers[position] = entry
        sd_samplers.all_samplers_map[SAMPLER_NAME] = entry
    sd_samplers.set_samplers()
    cached = getattr(sd_samplers, "get_sampler_and_scheduler", None)  # 1.9 and later remember names that they did not find
    if hasattr(cached, "cache_clear"):
        cached.cache_clear()
