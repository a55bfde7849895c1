"""Settings: what exists (`OptionInfo`), and their values (`Options`)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import gradio as gr

from modules import errors
from modules.shared_cmd_options import cmd_opts


class OptionInfo:
    """One setting: default, label, the gradio component that edits it, and texts around it. The text methods
    return self.
    """

    def __init__(
        self,
        default=None,
        label="",
        component=None,
        component_args=None,
        onchange=None,
        section=None,
        refresh=None,
        comment_before="",
        comment_after="",
        infotext=None,
        restrict_api=False,
        category_id=None,
    ):
        self.default = default
        self.label = label
        self.component = component
        self.component_args = component_args
        self.onchange = onchange
        self.section = section
        self.category_id = category_id
        self.refresh = refresh
        self.comment_before = comment_before
        self.comment_after = comment_after
        self.infotext = infotext
        self.restrict_api = restrict_api
        self.do_not_save = False

    def link(self, label, url):
        self.comment_before += f'[<a href="{url}" target="_blank">{label}</a>]'
        return self

    def js(self, label, js_func):
        self.comment_before += f'[<a onclick="{js_func}(); return false">{label}</a>]'
        return self

    def info(self, info):
        return self.html(f'<span class="info">({info})</span>')

    def html(self, html):
        self.comment_after += html
        return self

    def needs_restart(self):
        return self.html(' <span class="info">(requires restart)</span>')

    def needs_reload_ui(self):
        return self.html(' <span class="info">(requires Reload UI)</span>')


class OptionHTML(OptionInfo):
    """A text among the settings."""

    def __init__(self, text):
        super().__init__(
            str(text).strip(), component=lambda **kwargs: gr.HTML(elem_classes="settings-info", **kwargs)
        )
        self.do_not_save = True


def options_section(section_identifier, options_dict):
    """Put all options of the dictionary in a section `(id, title)` or `(id, title, category)`; returns the
    dictionary.
    """
    for option in options_dict.values():
        option.section = tuple(section_identifier[:2])
        if len(section_identifier) > 2:
            option.category_id = section_identifier[2]
    return options_dict


class Options:
    """Setting values as attributes. A key that `data` lacks (a config.json from before it existed) reads as
    its default.
    """

    _own = frozenset({"data", "data_labels", "restricted_opts"})

    def __init__(self, data_labels, restricted_opts=()):
        self.data_labels = data_labels
        self.restricted_opts = set(restricted_opts)
        self.data = {key: option.default for key, option in data_labels.items() if not option.do_not_save}

    def __setattr__(self, key, value):
        if key not in self._own and (key in self.data or key in self.data_labels):
            option = self.data_labels.get(key)
            if option is not None and option.do_not_save:
                return
            self.data[key] = value
        else:
            super().__setattr__(key, value)

    def __getattr__(self, key):
        if key in Options._own:
            raise AttributeError(key)
        if key in self.data:
            return self.data[key]
        if key in self.data_labels:
            return self.data_labels[key].default
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{key}'")

    def set(self, key, value, is_api=False, run_callbacks=True) -> bool:
        """Set an option and call its `onchange`; returns whether it changed. Raises KeyError for an unknown
        key.
        """
        old = self.data.get(key)
        if old == value:
            return False
        option = self.data_labels[key]
        if option.do_not_save or (is_api and option.restrict_api):
            return False
        setattr(self, key, value)
        if run_callbacks and option.onchange is not None:
            try:
                option.onchange()
            except Exception as e:
                errors.display(e, f"changing setting {key} to {value}")
                setattr(self, key, old)
                return False
        return True

    def get_default(self, key):
        option = self.data_labels.get(key)
        return None if option is None else option.default

    def add_option(self, key, info):
        self.data_labels[key] = info
        if key not in self.data and not info.do_not_save:
            self.data[key] = info.default

    def onchange(self, key, func, call=True):
        self.data_labels[key].onchange = func
        if call:
            func()

    def cast_value(self, key, value):
        """The value as the type of this setting's default ("12" becomes 12 for a whole-number setting)."""
        default = self.get_default(key)
        if default is None:
            default = getattr(self, key, None)
        if value is None or default is None:
            return None
        if isinstance(default, bool) and value == "False":
            return False
        return type(default)(value)

    def same_type(self, x, y) -> bool:
        def kind(value):
            return float if type(value) is int else type(value)

        return x is None or y is None or kind(x) == kind(y)

    def save(self, filename):
        target = Path(filename)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".part")
        partial.write_text(json.dumps(self.data, indent=4, ensure_ascii=False), encoding="utf-8")
        os.replace(partial, target)

    def load(self, filename):
        """Take all values from a file. A missing file leaves the defaults; a key missing from the file is not
        in `data` afterwards.
        """
        source = Path(filename)
        if not source.exists():
            return
        try:
            self.data = json.loads(source.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            errors.report(f"The settings in {source} cannot be read and are ignored.", exc_info=True)

    def dumpjson(self) -> str:
        """All settings as JSON, for the page."""
        values = {key: self.data.get(key, option.default) for key, option in self.data_labels.items()}
        values["_comments_before"] = {key: option.comment_before for key, option in self.data_labels.items()}
        values["_comments_after"] = {key: option.comment_after for key, option in self.data_labels.items()}
        return json.dumps(values, default=lambda _: None)

    def reorder(self):
        """Keep the settings of one section together."""
        sections = {
            option.section: position
            for position, option in reversed(list(enumerate(self.data_labels.values())))
        }
        self.data_labels = dict(sorted(self.data_labels.items(), key=lambda item: sections[item[1].section]))


__all__ = ["OptionHTML", "OptionInfo", "Options", "cmd_opts", "options_section"]
