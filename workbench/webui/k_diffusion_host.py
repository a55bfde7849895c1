"""The k-diffusion that the host samples with.

Only the three modules that sampling needs are imported: the package's own `__init__` pulls in evaluation and
training code that takes seconds to load and is used by no WebUI.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path

from workbench.webui import profiles


def _import_package_parts(name: str):
    """Import k-diffusion's `sampling` and `external` as parts of a package called `name`; returns the
    package.
    """
    if name not in sys.modules:
        spec = importlib.util.find_spec("k_diffusion")
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError("The workbench needs the package k-diffusion.")
        package = types.ModuleType(name)
        package.__path__ = [str(Path(spec.origin).parent)]
        package.__file__ = spec.origin
        package.__spec__ = spec
        sys.modules[name] = package
    for part in ("utils", "sampling", "external"):
        importlib.import_module(f"{name}.{part}")
    return sys.modules[name]


k_diffusion = _import_package_parts("k_diffusion")
if profiles.active.own_k_diffusion:
    k_diffusion = _import_package_parts("host_k_diffusion")
