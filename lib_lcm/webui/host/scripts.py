"""The WebUI's scripts: ours, those of others, and the moments at which it calls them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

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


AXES = {"Steps": "steps", "CFG Scale": "cfg_scale", "Sampler": "sampler_name"}
"""Axes of X/Y/Z plot -> the fields of a request that they set."""
AXIS_ARGS = (0, 3, 6)
"""Where the plot's arguments name its axes, as positions in the list that is offered."""


def fields_set_by_script(p) -> tuple[str, set[str]]:
    """The title of the selected script, and which of the fields in AXES it sets for its pictures; "" and none
    where it sets none of them, as far as we know.
    """
    script, args = _selected(p)
    axes = getattr(script, "current_axis_options", None)
    if axes is not None:
        chosen = [axes[args[i]].label for i in AXIS_ARGS if i < len(args) and isinstance(args[i], int)]
        fields = {AXES[label] for label in chosen if label in AXES}
    else:
        read = getattr(module_of("prompts_from_file.py", "cmdargs"), "cmdargs", None)
        is_file = script is not None and script.title().lower() == "prompts from file or textbox"
        texts = [arg for arg in args if isinstance(arg, str)] if is_file and read is not None else []
        lines = [line for text in texts for line in text.splitlines() if "--" in line]
        fields = {field for line in lines for field in _options(read, line)} & set(AXES.values())
    return (script.title(), fields) if fields else ("", set())


def _selected(p) -> tuple[Any, list]:
    """The script that was selected beside the always-on ones, with its arguments; None where none was."""
    args, runner = list(p.script_args or ()), p.scripts
    position = args[0] if args else 0
    if runner is None or not isinstance(position, int) or not 0 < position <= len(runner.selectable_scripts):
        return None, []
    script = runner.selectable_scripts[position - 1]
    return script, args[script.args_from : script.args_to]


def _options(read: Callable, line: str) -> Iterable[str]:
    """The options of a line of prompts, by the script's own reading; a line that it cannot read is a
    prompt.
    """
    try:
        return read(line)
    except Exception:
        return ()


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
