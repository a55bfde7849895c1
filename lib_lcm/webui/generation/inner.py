"""Generations that another extension makes inside one with LCM without running our script in them: a
detailer's pass over a face.
"""

from __future__ import annotations

from lib_lcm.plan.plan import Plan
from lib_lcm.text import Text
from lib_lcm.webui import current, messages, settings


def belongs_to(plan: Plan, p) -> bool:
    """Whether the inner generation of `p` is LCM's as the one around it is; its steps and CFG scale are
    clamped then, and it is said.

    A detailer copies sampler, steps and CFG scale from the generation around it unless its user chose others
    for it. Another sampler at a CFG scale that burns with an LCM-LoRA means a picture without LCM, so it gets
    none.
    """
    limits = settings.limits(plan.method)
    shown = current.processing() or p  # what an inner generation has to say is shown nowhere
    if p.sampler_name != plan.sampler:
        if p.cfg_scale <= limits.max_cfg:
            return True
        messages.tell(
            shown,
            Text(
                "The inner generation with {sampler} at CFG scale {cfg:g} is made without LCM and its LoRA.",
                sampler=p.sampler_name,
                cfg=p.cfg_scale,
            ),
        )
        return False
    steps = min(max(p.steps, limits.min_steps), limits.max_steps)
    cfg = min(p.cfg_scale, limits.max_cfg)
    if (steps, cfg) != (p.steps, p.cfg_scale):
        before = {"steps_before": p.steps, "cfg_before": p.cfg_scale}
        allowed = {"low": limits.min_steps, "high": limits.max_steps, "most": limits.max_cfg}
        messages.tell(
            shown,
            Text(
                "Inner generation: steps {steps_before} → {steps}, CFG scale {cfg_before:g} → {cfg:g}; LCM"
                " works with {low} to {high} steps and CFG {most:g} at most.",
                steps=steps,
                cfg=cfg,
                **before,
                **allowed,
            ),
        )
        p.steps, p.cfg_scale = steps, cfg
    return True
