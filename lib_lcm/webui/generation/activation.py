"""The LCM-LoRA through the WebUI's own LoRA machinery: wherever the WebUI activates a prompt's networks,
exactly one is among them.

Every way to a picture goes through `modules.extra_networks.activate` with the tags that were parsed from its
prompt: the first pass of each batch, the hires pass after its own checkpoint was loaded, a refiner's switch,
and the generation that a detailer makes inside ours, whose script runner knows nothing of us. So that is the
one place where tags are completed. What stands in the prompt, in a saved style or in the setting "Add network
to prompt" is known there; the loaded model is the one that will draw; and the conditioning, which the WebUI
caches by these tags, is not made yet. Prompts are never touched. It is also where an exception stops the
generation instead of being swallowed, and after which it can be seen whether the LoRA took hold. What cannot
be seen then, because the host changes a layer's weights when that is first computed, is looked at after
sampling (`check_applied`).
"""

from __future__ import annotations

import os
from pathlib import Path

from lib_lcm.lora.file import LoraFile, shown_name
from lib_lcm.lora.tags import LORA_KINDS, LoraTag, tag_of_items
from lib_lcm.lora.use import LoraUse, few_step_tags, why_not_held, why_partly_held
from lib_lcm.plan import infotext
from lib_lcm.plan.plan import Plan, PlannedPass
from lib_lcm.text import Text
from lib_lcm.webui import current, facts, messages
from lib_lcm.webui.generation import inner
from lib_lcm.webui.host import models, networks
from lib_lcm.webui.loras import library

_read: dict[Path, tuple[int, int]] = {}
"""Size and time of change that LoRA files had when the WebUI was last given them."""

_applied: tuple[Plan, LoraFile] | None = None
"""The LCM-LoRA that was activated last, and for which plan."""


def install() -> None:
    """From now on the tags of LCM generations are completed. Doing it again changes nothing."""
    networks.wrap_activate(activate)


def uninstall() -> None:
    """The WebUI activates networks as it did before."""
    networks.unwrap_activate()


def activate(host_activate, p, tags) -> None:
    """In place of the host's `activate(p, tags)`; `tags` maps a kind of network to its parameters, one for
    each tag of the prompt.

    `tags` is changed, since it is what the WebUI caches conditionings by. Doing it again, as some hosts do
    for a hires pass, starts from what was typed. Raises LcmRefusal where LCM is on and the picture would not
    be LCM's.
    """
    global _applied
    _applied = None
    plan = current.plan_around(p)
    if (
        plan is None
        or not networks.are_own_tags(p, tags)
        or (current.is_inner(p) and not inner.belongs_to(plan, p))
    ):
        host_activate(p, tags)
        return
    with library().seen_once():
        _activate(host_activate, p, tags, plan)


def _activate(host_activate, p, tags, plan: Plan) -> None:
    global _applied
    typed = _typed(tags)
    use = facts.lora_of(p.sd_model, tags=[tag for tag, _ in typed], options=plan.options, wish=plan.wish)
    if use.problem is not None:
        raise messages.refusal(p, use.problem)
    for message in use.messages:
        messages.tell(p, message)
    planned = plan.hires if tags is not p.extra_network_data and plan.hires is not None else plan.first
    if use.file is not None and planned.lora is not None and use.method is not planned.lora.method:
        messages.tell(p, _other_method(use, planned))
    if tags is p.extra_network_data and current.plan_of(p) is not None:
        write_infotext(p, plan, use)
    if use.file is None:
        host_activate(p, tags)
        return
    others = use.left_beside(tag for tag, _ in typed)
    _notice_replaced(p, use.file)
    networks.forget_deleted(p.sd_model, [tag.name for tag in others])
    with networks.reachable(use.file.path, use.name) as network_name:
        if network_name is None:
            raise messages.refusal(
                p,
                Text(
                    "The WebUI applies no LoRAs, so LCM cannot work: switch the built-in extension Lora on,"
                    " or LCM off."
                ),
            )
        _complete(tags, typed, use, network_name)
        host_activate(p, tags)
    problem = _why_not_applied(p, use, others)
    if problem is not None:
        networks.forget(p.sd_model)
        raise messages.refusal(p, problem)
    if use.weight:
        _applied = (plan, use.file)


def _other_method(use: LoraUse, planned: PlannedPass) -> Text:
    """What a LoRA of a later prompt means that was made by another method than the first one's."""
    return Text(
        "{lora} in a later prompt was made by another method ({method}) than the first prompt's, whose"
        " sampler and steps all pictures of this generation have: make its pictures in a generation of their"
        " own.",
        lora=use.name,
        method="LCM" if use.method is None else use.method.group,
    )


def write_infotext(p, plan: Plan, use: LoraUse) -> None:
    """Puts what the pictures of this batch are drawn with into their generation parameters."""
    # a dictionary of its own: X/Y/Z plot's pictures share one, and those made without LCM must not carry ours
    p.extra_generation_params = {**p.extra_generation_params, **infotext.parameters(plan, use, library())}


def check_applied() -> None:
    """To be called when sampling is over. Raises LcmRefusal where the LoRA did not get into the layers that
    were computed.
    """
    if _applied is None or _applied[0] is not current.plan():
        return
    file = _applied[1]
    failed = networks.layers_failed(file.path)
    if failed:
        # else the host takes those layers for done, and says nothing of them from now on
        networks.forget(models.in_use())
        problem = why_partly_held(file, failed)
        if problem is not None:
            raise messages.refusal(current.processing(), problem)


def _typed(tags) -> list[tuple[LoraTag, object]]:
    """The LoRA tags as they were typed, each with the host's parameters of it."""
    found = []
    for kind in LORA_KINDS:
        for params in tags.get(kind, ()):
            found.extend(networks.replaced_by(params) or [(tag_of_items(kind, params.items), params)])
    return found


def _complete(tags, typed, use: LoraUse, network_name: str) -> None:
    """Puts the LCM-LoRA in the place of all tags that mean one."""
    replaced = [(tag, params) for tag, params in typed if any(tag is other for other in use.replaces)]
    for kind in LORA_KINDS:
        if kind in tags:
            tags[kind] = [
                params
                for tag, params in typed
                if tag.kind == kind and not any(tag is other for other, _ in replaced)
            ]
    tags.setdefault("lora", []).append(
        networks.tag_params(network_name, use.weight, replaced, _few_step_lora_of_setting())
    )


def _few_step_lora_of_setting() -> str | None:
    """The LoRA of the WebUI's setting "Add network to prompt" where that is one for few steps."""
    name = networks.added_network()
    return name if name is not None and few_step_tags([tag_of_items("lora", [name])], library()) else None


def _notice_replaced(p, file: LoraFile) -> None:
    """A file that was replaced since the WebUI read it is read again; by itself it would go on with the old
    one.
    """
    try:
        status = os.stat(file.path)
    except OSError:
        return  # it vanished just now; the WebUI will not find it either
    state = (status.st_size, status.st_mtime_ns)
    if _read.setdefault(file.path, state) != state:
        _read[file.path] = state
        networks.forget(p.sd_model)


def _why_not_applied(p, use: LoraUse, others: list[LoraTag]) -> str | None:
    """The sentence for a LoRA that the host did not apply, None if it did."""
    missing = [tag.name for tag in others if tag.kind == "lora" and not networks.is_there(tag.name)]
    if networks.is_loaded(use.file.path):
        matched = networks.layers_matched(p.sd_model, use.file.path)
        problem = why_not_held(use.file, matched) if use.weight else None
        if problem is None or not missing:
            return problem
    if missing:
        return Text(
            "The WebUI applied no LoRA at all, since {name!r} in the prompt is not in the LoRA folder:"
            " correct or remove its tag.",
            name=missing[0],
        )
    return Text(
        "The WebUI did not apply {file} (its log says why), so the picture would not be LCM's: check that the"
        " file is still there and whole.",
        file=shown_name(use.file.path),
    )
