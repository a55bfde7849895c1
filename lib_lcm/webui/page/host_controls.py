"""The WebUI's own controls on a tab: where to find them, and how the page shows that LCM decides in their
place.

Their values are never touched. While LCM is on, a style sheet that comes with the status line covers the ones
that have no say, with the value that will be used. So whatever the user had is there again when it is off,
and neither "Send to", saved defaults nor a page reload can take our values for the user's. Pasting is the one
exception: the WebUI writes a picture's steps, CFG scale and sampler into its controls, and where they are
those of LCM, javascript/lcm.js puts back what was there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# role, which is the name of the field in the WebUI's API where there is one -> element id, the same on all
# hosts; a host that lacks a control lacks the role
_ELEMENT_IDS = {
    "prompt": "{tab}_prompt",
    "negative_prompt": "{tab}_neg_prompt",
    "styles": "{tab}_styles",
    "steps": "{tab}_steps",
    "cfg_scale": "{tab}_cfg_scale",
    "image_cfg_scale": "{tab}_image_cfg_scale",
    "sampler_name": "{tab}_sampling",
    "scheduler": "{tab}_scheduler",
    "width": "{tab}_width",
    "height": "{tab}_height",
    "scaled_size": "{tab}_scale_resolution_preview",
    "denoising_strength": "{tab}_denoising_strength",
    "enable_hr": "{tab}_hr-checkbox",
    "hr_second_pass_steps": "{tab}_hires_steps",
    "hr_scale": "{tab}_hr_scale",
    "hr_resize_x": "{tab}_hr_resize_x",
    "hr_resize_y": "{tab}_hr_resize_y",
    "hr_cfg": "{tab}_hr_cfg",
    "override_settings": "{tab}_override_settings",
    "refiner": "{tab}_enable-checkbox",
    "refiner_checkpoint": "{tab}_checkpoint",
}
# txt2img alone has these, without its name in them
_HIRES_IDS = {
    "hr_sampler_name": "hr_sampler",
    "hr_scheduler": "hr_scheduler",
    "hr_checkpoint_name": "hr_checkpoint",
    "hr_prompt": "hires_prompt",
    "hr_negative_prompt": "hires_neg_prompt",
}

MOVING = ("negative_prompt", "hr_negative_prompt")
"""The roles whose notes come and go with the CFG scale."""

OVERRULED = ("steps", "cfg_scale", "sampler_name", "hr_sampler_name", "hr_scheduler", "hr_cfg")
"""The roles in which LCM decides alone, and which a pasted picture of LCM must not change."""


class HostControls:
    """The WebUI's controls of one tab, by role, as far as they have been made yet."""

    def __init__(self, tab: str):
        self.tab = tab
        ids = {role: pattern.format(tab=tab) for role, pattern in _ELEMENT_IDS.items()}
        self.element_ids = ids if tab == "img2img" else {**ids, **_HIRES_IDS}
        self._roles = {element_id: role for role, element_id in self.element_ids.items()}
        self.components: dict[str, Any] = {}

    def note(self, component, element_id: str | None) -> None:
        """A component of the page was made."""
        role = self._roles.get(element_id)
        if role is not None:
            self.components[role] = component


# --- the style sheet ----------------------------------------------------------------------------------------


def style_sheet(
    controls: HostControls, covered: Mapping[str, str], noted: Mapping[str, str], state: str | None = None
) -> str:
    """CSS that covers controls with the value that will be used, and puts a note at others; both are role ->
    text. `state` is what the title of the accordion says.
    """
    rules = []
    if state is not None:
        title = f"#script_{controls.tab}_lcm_enabled>.label-wrap>span:not(.icon)"
        rules.append(f"{title}::after{{content:{css_string(' · ' + state)} var(--lcm-live, '')}}")
    for role, text in covered.items():
        control = f"#{controls.element_ids[role]}"
        rules.append(f"{control}{{--lcm-value:{css_string(text)}}}")
    for role, text in noted.items():
        control = f"#{controls.element_ids[role]}"
        rules.append(f"{control}::after{{content:{css_string(text)}}}")
    if covered:
        rules += [rule.replace("CONTROL", _any_of(controls, covered)) for rule in _COVER]
    if noted:
        rules += [rule.replace("CONTROL", _any_of(controls, noted)) for rule in _NOTE]
    rules += [
        rule.replace("CONTROL", _any_of(controls, [role]))
        for role in noted
        if role in MOVING
        for rule in _CORNER
    ]
    return "\n".join(rules)


def _any_of(controls: HostControls, roles) -> str:
    return ":is(" + ",".join(f"#{controls.element_ids[role]}" for role in roles) + ")"


# The control keeps its place and its label; what can be worked with makes room for the value, in the look of
# a disabled input.
_COVER = (
    "CONTROL *{visibility:hidden}",  # out of reach of the keyboard too
    "CONTROL [data-testid=block-info]{visibility:visible}",
    "CONTROL{cursor:not-allowed}",
    (
        "CONTROL::after{content:var(--lcm-value);position:absolute;left:0;right:0;bottom:.3em;padding:.1em"
        " .6em;overflow:hidden;"
        "white-space:nowrap;text-overflow:ellipsis;line-height:1.5;border:1px dashed"
        " var(--border-color-primary);"
        "border-radius:var(--radius-sm);color:var(--body-text-color);background:var(--background-fill-secondary)}"
    ),
)
_NOTE = (
    (
        "CONTROL::after{display:block;padding:.15em"
        " .6em;line-height:1.4;font-size:var(--text-sm);color:var(--body-text-color);border-left:3px solid"
        " var(--color-accent);background:var(--background-fill-secondary)}"
    ),
)


# A note that comes and goes while a slider is dragged must not move what stands below.
_CORNER = (
    "CONTROL{position:relative}",
    "CONTROL::after{position:absolute;right:1.8em;bottom:.5em;z-index:1;background:var(--body-background-fill,canvas)}",
)


def css_string(text: str) -> str:
    """`text` as a string in CSS inside HTML."""
    return '"' + re.sub(r"[^\w .,:→·–-]", lambda match: f"\\{ord(match[0]):x} ", text) + '"'
