"""A WebUI extension for tests: the workbench's own LCM-LoRAs in the place of the published ones, and a few
others, so that a download can succeed here.
"""

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[4]))

from lib_lcm.lora import catalog
from tests.hub import small_lora


def of_workbench(lora):
    content = small_lora(lora.name)
    if content is None:
        return lora
    sha256 = (hashlib.sha256(content).hexdigest(),)
    return replace(lora, size=len(content), sha256=sha256, short=())


of_workbenchs_own = tuple(of_workbench(lora) for lora in catalog.PUBLISHED)
for module in [
    module
    for name, module in sys.modules.items()
    if name.startswith("lib_lcm") and hasattr(module, "PUBLISHED")
]:
    module.PUBLISHED = of_workbenchs_own
