"""A WebUI extension for tests: the workbench's own LCM-LoRAs in the place of the published ones, so that a
download can succeed here.
"""

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

from lib_lcm.lora import catalog
from workbench.small_models import LORAS


def of_workbench(lora):
    path = Path(LORAS) / f"{lora.name}.safetensors"
    if not path.exists():
        return lora
    content = path.read_bytes()
    return replace(lora, size=len(content), sha256=(hashlib.sha256(content).hexdigest(),))


of_workbenchs_own = tuple(of_workbench(lora) for lora in catalog.PUBLISHED)
for module in [
    module
    for name, module in sys.modules.items()
    if name.startswith("lib_lcm") and hasattr(module, "PUBLISHED")
]:
    module.PUBLISHED = of_workbenchs_own
