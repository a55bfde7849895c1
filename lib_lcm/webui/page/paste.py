"""Generation parameters with the LoRA folders of this WebUI; what they say and how they are read is in
`lib_lcm.plan.infotext`.
"""

from __future__ import annotations

from lib_lcm.options import LCM, SAMPLER_LABELS
from lib_lcm.plan import infotext
from lib_lcm.plan.make import Plan
from lib_lcm.webui import loras, remembered
from lib_lcm.webui.host import server
from lib_lcm.webui.sampling.own import own_samplers

KEYS = infotext.KEYS
was_made_with_lcm = infotext.was_made_with_lcm


def parameters(plan: Plan) -> dict[str, str]:
    """What is added to the picture's generation parameters."""
    return infotext.parameters(plan, loras.library())


def _reader(name: str):
    def read(pasted):
        context = {"is_auto_the_best": remembered.is_empty()} if name == "lora" else {}
        if SAMPLER_LABELS[LCM] not in own_samplers():
            pasted = infotext.completed(pasted, loras.library(), server.version())
        return infotext.RESTORE[name](pasted, loras.library(), **context)

    return read


RESTORE = {name: _reader(name) for name in infotext.RESTORE}
"""Option name -> what reads it from pasted generation parameters; None leaves the control as it is."""
