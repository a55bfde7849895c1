"""The accordion's sliders start with the defaults of the loaded checkpoint's family, and follow it until they
are moved.
"""

from __future__ import annotations

from lib_lcm.families import ModelFamily
from lib_lcm.webui import settings
from lib_lcm.webui.host import models

FOLLOWING = ("steps", "cfg", "weight")
"""The options whose sliders follow the family."""


def loaded_family() -> ModelFamily:
    """The loaded checkpoint's family; SD 1.5 while none is loaded."""
    model = models.loaded()
    return ModelFamily.sd15 if model is None else models.family_of(model)


def followed(options: dict, before: str, now: str) -> dict:
    """The options whose sliders move when the family `before` has become `now`, with their new values: those
    of FOLLOWING that still have the default of the family before."""
    if before == now:
        return {}
    old, new = (settings.defaults(family) for family in (before, now))
    unmoved = {name: getattr(new, name) for name in FOLLOWING if options[name] == getattr(old, name)}
    return {name: value for name, value in unmoved.items() if value != options[name]}
