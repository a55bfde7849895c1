"""Loading a Python file by its path."""

from __future__ import annotations

import importlib.util
import os


def load_module(path):
    """Run the file as a module named after it and return the module, which is not put into `sys.modules`."""
    spec = importlib.util.spec_from_file_location(os.path.basename(path), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
