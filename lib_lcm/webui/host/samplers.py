"""The WebUI's samplers: their registry, noise levels, schedules and noise."""

from __future__ import annotations

import sys
from contextlib import contextmanager

import torch

from lib_lcm.options import SAMPLER_LABELS
from lib_lcm.plan.make import AUTOMATIC_SCHEDULER
from lib_lcm.plan.request import unless_same
from lib_lcm.webui.host import generations, server
from modules import sd_samplers, shared
from modules.sd_samplers_common import SamplerData as SamplerData
from modules.sd_samplers_kdiffusion import CFGDenoiserKDiffusion as CFGDenoiserKDiffusion
from modules.sd_samplers_kdiffusion import KDiffusionSampler as KDiffusionSampler


def sigma_table(denoiser) -> torch.Tensor:
    """The model's noise levels, ascending, one per training timestep. `denoiser` is the host's k-diffusion
    wrapper.
    """
    return denoiser.sigmas


def noise_sampler(p):
    """A k-diffusion noise sampler that draws from the generation's own per-image generators, so that batches
    equal single images.
    """
    return lambda sigma, sigma_next: p.rng.next()


def asked_schedule(sampler: str | None, schedule: str | None) -> str | None:
    """The schedule of a generation as the WebUI's drop-down has it; None where there is none and where it is
    the sampler's own affair.

    The API takes a schedule's internal name as well ("karras").
    """
    schedulers = server.module_of_webui("sd_schedulers")
    if schedulers is None:
        return None  # there is no such drop-down, and the API ignores it [a1111-1.6 a1111-1.7 a1111-1.8]
    known = getattr(schedulers, "schedulers_map", {})
    label = getattr(known.get(schedule), "label", schedule)
    if label == "Normal":  # for some samplers of its own it makes that of "Automatic" beforehand [reforge]
        alter = getattr(sys.modules.get("modules_forge.forge_alter_samplers"), "samplers_data_alter", ())
        if any(one.name.lower() == (sampler or "").lower() for one in alter):
            return None
    return None if label in ("", AUTOMATIC_SCHEDULER) else label


def schedule_of_pass(p) -> str | None:
    """The schedule of the pass that `p` is in, which the hires pass may have of its own; see
    `asked_schedule`.
    """
    own = unless_same(getattr(p, "hr_scheduler", None)) if getattr(p, "is_hr_pass", False) else None
    return asked_schedule(p.sampler_name, own or getattr(p, "scheduler", None))


def requested_schedule(sampler: str | None, schedule: str | None) -> str | None:
    """The same for a request over the API, where the name of a sampler may end in that of a schedule ("DPM++
    2M Karras").
    """
    split = getattr(server.module_of_webui("sd_samplers"), "get_sampler_and_scheduler", None)
    if sampler and split is not None:
        sampler, schedule = split(sampler, schedule)
    return asked_schedule(sampler, schedule)


def effective_cfg(denoiser, cond_scale: float) -> float:
    """The CFG scale of a step as the host will use it: extensions may set a factor on its denoiser."""
    return cond_scale * getattr(denoiser, "cond_scale_miltiplier", 1.0)  # (sic)


@contextmanager
def guided_from_the_first_step():
    """Inside, the setting that leaves guidance out of the first steps leaves it out of none where it is 0:
    else it leaves it out of the first one, with every sampler [classic].
    """
    settings, name = shared.opts.data, "skip_early_cond"
    if server.setting(name, None) != 0:
        yield
        return
    before = {name: settings[name]} if name in settings else {}
    settings[name] = -1.0
    try:
        yield
    finally:
        del settings[name]
        settings.update(before)


def at_cfg_one(denoiser, p):
    """The host's denoiser, as its samplers call it in a generation, at CFG scale 1."""

    def denoise(x, sigma, **extra_args):
        # in a hires pass it takes the generation's own scale [forge reforge]
        hires_cfg = getattr(p, "hr_cfg", None)
        generations.set_known(p, hr_cfg=1.0)
        try:
            return denoiser(x, sigma, **{**extra_args, "cond_scale": 1.0})
        finally:
            generations.set_known(p, hr_cfg=hires_cfg)

    return denoise


def registered() -> list:
    """The WebUI's list of samplers itself."""
    return sd_samplers.all_samplers


def by_name() -> dict:
    """The WebUI's samplers that are in effect, by name: the map itself."""
    return sd_samplers.all_samplers_map


CONSTRUCTOR = "LcmSamplerConstructor"
"""The class by which our entries are known: after "Reload UI" with changed files it may be another object of
the same name.
"""


def is_ours(entry) -> bool:
    """Whether an entry of the registry is one of ours."""
    return entry is not None and type(entry.constructor).__name__ == CONSTRUCTOR


def entries(name: str) -> list:
    """All entries of this name in the registry, in its order."""
    return [data for data in registered() if data.name == name]


def our_entry(name: str):
    """Our entry of this name, or None."""
    return next(filter(is_ours, entries(name)), None)


def own_samplers() -> frozenset[str]:
    """The names of ours that the host has a sampler of its own for."""
    # none [a1111-1.6 a1111-1.7]
    return frozenset(name for name in SAMPLER_LABELS.values() if _own_entry(name) is not None)


def own_lcm_spans_all() -> bool:
    """Whether the host's own LCM sampler goes down to t = 0, as its other samplers do, and not to the lowest
    point of the distillation grid.
    """
    own = _own_entry(SAMPLER_LABELS["lcm"])
    return own is not None and server.module_of_webui("sd_samplers_lcm") is None  # [neo]


class _AboveTimestep:
    """The host's denoiser for schedules, without its levels below a timestep."""

    def __init__(self, denoiser, lowest: int):
        self._denoiser = denoiser
        self._lowest = lowest
        self.sigmas = denoiser.sigmas[lowest:]

    def __getattr__(self, name: str):
        return getattr(self._denoiser, name)

    def get_sigmas(self, n: int) -> torch.Tensor:
        """The levels of so many timesteps, evenly down to the lowest, and 0."""
        timesteps = torch.linspace(len(self._denoiser.sigmas) - 1, self._lowest, n)
        levels = [float(self._denoiser.t_to_sigma(timestep)) for timestep in timesteps]
        return torch.tensor([*levels, 0.0])


@contextmanager
def above_timestep(sampler, lowest: int):
    """While inside, the schedules of the host's drop-down end at this timestep for a sampler of the host's
    kind.
    """
    denoiser = sampler.model_wrap
    sampler.model_wrap = _AboveTimestep(denoiser, lowest)
    try:
        yield
    finally:
        sampler.model_wrap = denoiser


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


def look_again() -> None:
    """Makes the WebUI take notice of changes in its registry of samplers."""
    sd_samplers.set_samplers()
    # it remembers names that it did not find [a1111-1.9 a1111-1.10 forge reforge]
    cached = getattr(sd_samplers, "get_sampler_and_scheduler", None)
    if hasattr(cached, "cache_clear"):
        cached.cache_clear()


def after_sampling(sampler, check) -> None:
    """`check()` is called when this sampler of the host has sampled, in every pass; what it raises ends the
    generation.
    """
    launch = getattr(sampler, "launch_sampling", None)
    if launch is None:  # another extension's sampler, which need not be the host's kind
        return

    def launch_and_check(*args, **kwargs):
        samples = launch(*args, **kwargs)
        check()
        return samples

    sampler.launch_sampling = launch_and_check
