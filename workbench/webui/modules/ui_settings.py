"""The Settings tab: every registered option, by section."""

from __future__ import annotations

import gradio as gr

from modules import errors, sd_models, shared
from modules.call_queue import queue_lock
from modules.shared import opts

_COMPONENT_OF = {bool: gr.Checkbox, int: gr.Number, float: gr.Number}


def create_setting_component(key):
    """The component that edits a setting, as it says itself or by the type of its default."""
    option = opts.data_labels[key]
    value = getattr(opts, key)
    args = option.component_args() if callable(option.component_args) else option.component_args
    component = option.component or _COMPONENT_OF.get(type(option.default), gr.Textbox)
    if isinstance(value, list | dict) and component is gr.Textbox:
        return None
    made = component(label=option.label, value=value, elem_id=f"setting_{key}", **(args or {}))
    if option.comment_before or option.comment_after:
        gr.HTML(f"{option.comment_before}{option.comment_after}", elem_classes="setting-comment")
    return made


def _change(key, value):
    """Set an option and save all; loads the checkpoint if it is that one."""
    with queue_lock:
        if opts.set(key, value):
            opts.save(shared.config_filename)
        if key == "sd_model_checkpoint":
            sd_models.reload_model_weights()


def change_checkpoint(title):
    """For the drop-down at the top. Returns the title as it is now, with the hash, and all settings for the
    page.
    """
    _change("sd_model_checkpoint", title)
    return current_checkpoint(), opts.dumpjson()


def current_checkpoint():
    """An update of the drop-down at the top: the chosen checkpoint under its present title."""
    titles = sd_models.checkpoint_tiles()
    chosen = sd_models.get_closet_checkpoint_match(opts.sd_model_checkpoint)
    return gr.update(value=chosen.title if chosen else next(iter(titles), None), choices=titles)


def create_settings_tab():
    """A column of settings, and the buttons that apply them and rebuild the page. Returns the text that tells
    the page all settings.
    """
    with gr.Row():
        apply = gr.Button("Apply settings", variant="primary", elem_id="settings_submit")
        reload_ui = gr.Button("Reload UI", elem_id="settings_restart_gradio")
    result = gr.HTML(elem_id="settings_result")
    components = {}
    section = None
    for key, option in opts.data_labels.items():
        if option.section is None or option.section[0] is None or key == "sd_model_checkpoint":
            continue
        if option.section != section:
            section = option.section
            gr.HTML(f"<h3>{section[1]}</h3>", elem_id=f"settings_{section[0]}")
        try:
            made = create_setting_component(key)
        except Exception:
            errors.report(f"Error creating the setting {key}", exc_info=True)
            continue
        if made is not None and not option.do_not_save:
            components[key] = made
    shared.settings_components = components

    def apply_settings(*values):
        changed = [key for key, value in zip(components, values, strict=True) if opts.set(key, value)]
        opts.save(shared.config_filename)
        return (
            f"{len(changed)} settings changed{': ' if changed else ''}{', '.join(changed)}.",
            opts.dumpjson(),
        )

    settings_json = gr.Textbox(elem_id="settings_json", value=opts.dumpjson, visible=False)
    apply.click(fn=apply_settings, inputs=list(components.values()), outputs=[result, settings_json])
    reload_ui.click(fn=shared.state.request_restart, _js="restart_reload", inputs=[], outputs=[])
    return settings_json
