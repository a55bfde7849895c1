"""The list of samplers, and finding one by name."""

from __future__ import annotations

import functools
import logging

from modules import sd_samplers_common, sd_samplers_kdiffusion, shared
from workbench.webui import profiles

samples_to_image_grid = sd_samplers_common.samples_to_image_grid
sample_to_image = sd_samplers_common.sample_to_image

all_samplers = [*sd_samplers_kdiffusion.samplers_data_k_diffusion]
if profiles.active.native_lcm:
    from modules import sd_samplers_lcm

    own_lcm = sd_samplers_lcm.samplers_data_lcm
    if profiles.active.own_lcm_spans_all:
        own_lcm = sd_samplers_kdiffusion.sampler_entries(sd_samplers_lcm.samplers_lcm)
    all_samplers += own_lcm
all_samplers_map = {sampler.name: sampler for sampler in all_samplers}

samplers: list[sd_samplers_common.SamplerData] = []
samplers_for_img2img: list[sd_samplers_common.SamplerData] = []
samplers_map: dict[str, str] = {}
samplers_hidden: set[str] = set()


def find_sampler_config(name):
    """The SamplerData of that name, the first one for None; None if there is no such sampler."""
    return all_samplers[0] if name is None else all_samplers_map.get(name)


def create_sampler(name, model):
    """A new Sampler. Raises AssertionError for an unknown name."""
    config = find_sampler_config(name)
    assert config is not None, f"bad sampler name: {name}"
    if model.is_sdxl and config.options.get("no_sdxl", False):
        raise Exception(f"Sampler {config.name} is not supported for SDXL")
    sampler = config.constructor(model)
    sampler.config = config
    return sampler


def set_samplers():
    """Bring the lists derived from `all_samplers` up to date; `samplers_map` is lower-case names and
    aliases.
    """
    global samplers, samplers_for_img2img, samplers_hidden
    samplers_hidden = set(shared.opts.hide_samplers)
    samplers = samplers_for_img2img = all_samplers
    samplers_map.clear()
    for sampler in all_samplers:
        samplers_map.update({name.lower(): sampler.name for name in (sampler.name, *sampler.aliases)})


def visible_samplers():
    return [sampler for sampler in samplers if sampler.name not in samplers_hidden]


def visible_sampler_names():
    return [sampler.name for sampler in visible_samplers()]


if profiles.active.schedulers:
    from modules import sd_schedulers

    @functools.cache
    def get_sampler_and_scheduler(sampler_name, scheduler_name, *, convert_automatic=True):
        """(sampler, scheduler) names that exist: "DPM++ 2M Karras" is split, an unknown sampler becomes the
        first one.

        convert_automatic: the sampler's own default schedule is called Automatic.
        """
        name = sampler_name or samplers[0].name
        scheduler = sd_schedulers.schedulers_map.get(scheduler_name, sd_schedulers.schedulers[0])
        for candidate in sd_schedulers.schedulers:
            for label in (candidate.label, candidate.name, *(candidate.aliases or [])):
                if name.endswith(f" {label}"):
                    name, scheduler = name.removesuffix(f" {label}"), candidate
                    break
        sampler = all_samplers_map.get(name, samplers[0])
        if convert_automatic and sampler.options.get("scheduler") == scheduler.name:
            scheduler = sd_schedulers.schedulers[0]
        return sampler.name, scheduler.label

    def fix_p_invalid_sampler_and_scheduler(p):
        """Replace names that do not exist, with a warning in the log."""
        before = p.sampler_name, p.scheduler
        p.sampler_name, p.scheduler = get_sampler_and_scheduler(*before, convert_automatic=False)
        after = p.sampler_name, p.scheduler
        if before not in (after, (p.sampler_name, None)):
            logging.warning("Sampler Scheduler autocorrection: %s -> %s", before, after)

    def get_sampler_from_infotext(d: dict):
        return get_sampler_and_scheduler(d.get("Sampler"), d.get("Schedule type"))[0]

    def get_scheduler_from_infotext(d: dict):
        return get_sampler_and_scheduler(d.get("Sampler"), d.get("Schedule type"))[1]

    def get_hr_sampler_and_scheduler(d: dict):
        """The hires pass's (sampler, scheduler) of an infotext, "Use same ..." where they are the first
        pass's.
        """
        first_pass = d.get("Sampler"), d.get("Schedule type")
        own = d.get("Hires sampler", "Use same sampler"), d.get("Hires schedule type", "Use same scheduler")
        names = [
            first if name.startswith("Use same ") else name
            for name, first in zip(own, first_pass, strict=True)
        ]
        sampler, scheduler = get_sampler_and_scheduler(*names)
        return (
            "Use same sampler" if sampler == first_pass[0] else sampler,
            "Use same scheduler" if scheduler == first_pass[1] else scheduler,
        )

    def get_hr_sampler_from_infotext(d: dict):
        return get_hr_sampler_and_scheduler(d)[0]

    def get_hr_scheduler_from_infotext(d: dict):
        return get_hr_sampler_and_scheduler(d)[1]


set_samplers()
