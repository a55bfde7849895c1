"""What plans are made from in this WebUI: its settings, its LoRA folders and its loaded model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lib_lcm.families import SD15, Family
from lib_lcm.lora.choice import Wish
from lib_lcm.lora.use import LoraUse, lora_for
from lib_lcm.methods import FULL_LCM, LCM
from lib_lcm.options import AUTO, BEST, NONE, LcmOptions, options_from_args
from lib_lcm.plan.make import HostFacts
from lib_lcm.plan.typed_tag import switched_on
from lib_lcm.webui import loras, remembered, settings
from lib_lcm.webui.host import models, samplers


def asked_options(args: Sequence[Any], prompt: str) -> LcmOptions:
    """The options of a generation, from the script's arguments or, where LCM is off, from a tag that switches
    it on.

    Raises OptionsError.
    """
    is_full_lcm = models.guidance_projection(models.loaded()) is not None
    options = options_from_args(args, settings.limits, FULL_LCM if is_full_lcm else LCM)
    return switched_on(options, prompt, loras.library(), settings.typed_tag())


def host_facts(model) -> HostFacts:
    """What plans for a loaded model are made from, besides options and request."""
    family = models.family_of(model)
    return HostFacts(
        family,
        loras.library(),
        samplers.own_samplers(),
        meaning_of_auto(model),
        settings.defaults(family),
        settings.limits,
        is_image_editing=models.is_image_editing(model),
        leaves_out_uncond=models.computes_cond_only_at_cfg_one(model),
        is_on_grid=models.own_lcm_is_on_grid(model),
        spans_all=samplers.own_lcm_spans_all(),
        checkpoint=models.checkpoint_name(model),
        checkpoint_sha256=models.checkpoint_sha256(model),
        is_full_lcm=models.guidance_projection(model) is not None,
    )


def meaning_of_auto(model) -> str | None:
    """What Auto means for a loaded model, as the option `lora` has it; None for the LCM-LoRA that fits."""
    return remembered.lora_of(model) or (BEST if settings.auto_is_best() else None)


def lora_of(
    model, option: str = AUTO, *, tags=(), options: LcmOptions | None = None, wish: Wish | None = None
) -> LoraUse:
    """What a prompt with these tags is drawn with on a loaded model; the option `lora` alone where nothing
    else is given.
    """
    options = LcmOptions(enabled=True, lora=option) if options is None else options
    if models.guidance_projection(model) is not None:  # a full LCM needs none
        options = replace(options, lora=NONE)
    family = models.family_of(model)
    wish = Wish(checkpoint=models.checkpoint_sha256(model)) if wish is None else wish
    return lora_for(tags, options, family, loras.library(), meaning_of_auto(model), wish)


def loaded_family() -> Family:
    """The loaded checkpoint's family; SD 1.5 while none is loaded."""
    model = models.loaded()
    return SD15 if model is None else models.family_of(model)
