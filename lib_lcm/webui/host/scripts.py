"""The WebUI's scripts: ours, those of others, and the moments at which it calls them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from modules import script_callbacks, scripts

Script = scripts.Script
ALWAYS_VISIBLE = scripts.AlwaysVisible


def script_of(title: str, is_img2img: bool):
    """The always-on script of that title, or None."""
    runner = scripts.scripts_img2img if is_img2img else scripts.scripts_txt2img
    return next((script for script in runner.alwayson_scripts if script.title() == title), None)


def runs_whole_tab(p) -> bool:
    """Whether all scripts of a tab run in a generation, as in those that page and API ask for. One that an
    extension makes inside another has a runner of its own, else the extension would run in it again.
    """
    return p.scripts is scripts.scripts_txt2img or p.scripts is scripts.scripts_img2img


def module_of(file_name: str, attribute: str):
    """The loaded module of a script of the WebUI's, or None where there is none; scripts are loaded outside
    `sys.modules`.
    """
    for data in scripts.scripts_data:
        if Path(data.path).name == file_name and hasattr(data.module, attribute):
            return data.module
    return None


def xyz_grid():
    """The loaded module of the built-in script "X/Y/Z plot", or None where there is none."""
    return module_of("xyz_grid.py", "axis_options")


def call(**moments: Callable) -> None:
    """From now on the WebUI calls each function at the moment that its name says: `app_started`,
    `ui_settings`, ...

    One for a moment: each registration takes a quarter of a second of looking through the stack [forge].
    """
    for moment, function in moments.items():
        getattr(script_callbacks, f"on_{moment}")(function)


def call_no_more() -> None:
    """The WebUI calls nothing of the script file that is being loaded."""
    script_callbacks.remove_current_script_callbacks()
