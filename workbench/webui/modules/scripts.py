"""Scripts: finding and loading the files, and one runner for each tab."""

from __future__ import annotations

import inspect
import os
import sys
from collections import namedtuple

from modules import errors, extensions, paths, script_callbacks, script_loading
from modules.extensions import ScriptFile
from modules.scripts_base import (  # noqa: F401
    AlwaysVisible,
    MaskBlendArgs,
    OnComponent,
    PostprocessBatchListArgs,
    PostprocessImageArgs,
    PostProcessMaskOverlayArgs,
    PostSampleArgs,
    Script,
    ScriptBuiltinUI,
)
from modules.scripts_runner import ScriptRunner, wrap_call  # noqa: F401
from workbench.webui import profiles

ScriptClassData = namedtuple("ScriptClassData", ["script_class", "path", "basedir", "module"])

scripts_data: list[ScriptClassData] = []
current_basedir = paths.script_path

scripts_txt2img: ScriptRunner = None
scripts_img2img: ScriptRunner = None
scripts_current: ScriptRunner = None


def basedir():
    """While a script file is loaded: the folder of its extension."""
    return current_basedir


def list_scripts(scriptdirname, extension, *, include_extensions=True):
    """The workbench's own files of a folder, then those of the extensions in their order."""
    own_folder = os.path.join(paths.script_path, scriptdirname)
    own = sorted(os.listdir(own_folder)) if os.path.isdir(own_folder) else []
    found = [
        ScriptFile(paths.script_path, name, os.path.join(own_folder, name))
        for name in own
        if name.endswith(extension)
    ]
    if include_extensions:
        found += [
            file for active in extensions.active() for file in active.list_files(scriptdirname, extension)
        ]
    return found


def list_files_with_name(filename):
    """Every file of that name in the root of the WebUI or of an extension."""
    folders = [paths.script_path, *(extension.path for extension in extensions.active())]
    return [path for path in (os.path.join(folder, filename) for folder in folders) if os.path.isfile(path)]


def load_scripts():
    """Load all script files anew; what they registered before is forgotten. An error in one file leaves the
    others alone.
    """
    global current_basedir, scripts_txt2img, scripts_img2img
    scripts_data.clear()
    script_callbacks.clear_callbacks()
    original_path = sys.path
    own = (
        list_scripts("modules/processing_scripts", ".py", include_extensions=False)
        if profiles.active.comments
        else []
    )
    for file in [*list_scripts("scripts", ".py"), *own]:
        try:
            if file.basedir != paths.script_path:
                sys.path = [file.basedir, *original_path]
            current_basedir = file.basedir
            module = script_loading.load_module(file.path)
            for member in module.__dict__.values():
                if inspect.isclass(member) and issubclass(member, Script):
                    scripts_data.append(ScriptClassData(member, file.path, file.basedir, module))
        except Exception:
            errors.report(f"Error loading script: {file.filename}", exc_info=True)
        finally:
            sys.path = original_path
            current_basedir = paths.script_path
    scripts_txt2img = ScriptRunner()
    scripts_img2img = ScriptRunner()


reload_scripts = load_scripts
