"""Tells scripts about every component that is made, and the page about tooltips. (The module name's spelling
is the WebUI's.)
"""

from __future__ import annotations

from functools import wraps

import gradio as gr

from modules import script_callbacks, scripts


def _announce(method_name: str, component, kwargs) -> None:
    getattr(script_callbacks, f"{method_name}_callback")(component, **kwargs)
    if scripts.scripts_current is not None:
        getattr(scripts.scripts_current, method_name)(component, **kwargs)


def _announcing(original):
    @wraps(original)
    def init(self, *args, **kwargs):
        self.webui_tooltip = kwargs.pop("tooltip", None)
        _announce("before_component", self, kwargs)
        original(self, *args, **kwargs)
        _announce("after_component", self, kwargs)

    return init


def _with_tooltip(original):
    @wraps(original)
    def get_config(self, *args, **kwargs):
        config = original(self, *args, **kwargs)
        tooltip = getattr(self, "webui_tooltip", None)
        return {**config, "webui_tooltip": tooltip} if tooltip else config

    return get_config


def install() -> None:
    """Wrap the constructors that all of gradio's components go through, and what the page is told of each."""
    gr.blocks.Block.get_config = _with_tooltip(gr.blocks.Block.get_config)
    for base in (gr.components.IOComponent, gr.blocks.BlockContext):
        base.__init__ = _announcing(base.__init__)
