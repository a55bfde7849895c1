"""Starts the embedded WebUI, and builds it again on "Reload UI"."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import modules.initialize
from modules import call_queue, errors, extensions, script_callbacks, sd_models, shared, timer, ui
from modules.api.api import Api
from workbench.webui import page, profiles, unet_log

INSTALL_TIMEOUT = 120
"""Seconds that an extension's install.py may take."""


def run_installers() -> None:
    """Run each extension's install.py in a process of its own; a failure is printed and changes nothing."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([shared.script_path, *filter(None, [os.environ.get("PYTHONPATH")])])}
    for extension in extensions.active():
        script = Path(extension.path) / "install.py"
        if not script.is_file():
            continue
        try:
            done = subprocess.run(
                [sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=INSTALL_TIMEOUT, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            print(f"*** Error running install.py for extension {extension.path}: no end after {INSTALL_TIMEOUT} s", file=sys.stderr)
            continue
        if done.stdout.strip():
            print(done.stdout.strip())
        if done.returncode:
            print(f"*** Error running install.py for extension {extension.path}:\n{done.stderr}", file=sys.stderr)


def _add_own_routes(app) -> None:
    page.add_routes(app)

    @app.get("/workbench/v1/unet-calls")
    def unet_calls():
        return unet_log.calls()

    @app.delete("/workbench/v1/unet-calls")
    def clear_unet_calls():
        unet_log.clear()
        return {}


def _launch():
    """Build the page and serve it; returns the gradio Blocks."""
    script_callbacks.before_ui_callback()
    demo = shared.demo = ui.create_ui()
    demo.queue(concurrency_count=8)
    app, _, _ = demo.launch(
        server_name="127.0.0.1",
        server_port=shared.cmd_opts.port,
        prevent_thread_lock=True,
        quiet=True,
        show_api=False,
        allowed_paths=[shared.data_path],
    )
    app.middleware_stack = None  # gradio has built it already; the API adds to it
    _add_own_routes(app)
    Api(app, call_queue.queue_lock)
    script_callbacks.app_started_callback(demo, app)
    app.middleware_stack = app.build_middleware_stack()
    timer.startup_timer.record("serve the page")
    print(f"Startup time: {timer.startup_timer.summary()}.", flush=True)
    return demo


def _load_checkpoint() -> None:
    """As a WebUI does at start-up, so that the page knows the model before the first picture."""
    if profiles.active.fake_initial_model:
        return
    try:
        shared.sd_model  # noqa: B018 (loads on access)
    except Exception:
        errors.report("No checkpoint could be loaded", exc_info=True)
    timer.startup_timer.record("load checkpoint")


def run() -> None:
    """Serve until stopped."""
    modules.initialize.once()
    page.install()
    extensions.list_extensions()
    run_installers()
    timer.startup_timer.record("prepare extensions")
    while True:
        modules.initialize.load_extensions()
        timer.startup_timer.record("load scripts")
        _load_checkpoint()
        demo = _launch()
        try:
            command = None
            while command is None:
                command = shared.state.wait_for_server_command(timeout=5)
        except KeyboardInterrupt:
            command = "stop"
        if command != "restart":
            demo.close()
            return
        script_callbacks.app_reload_callback()
        script_callbacks.script_unloaded_callback()
        demo.close()
        timer.startup_timer.reset()
        extensions.list_extensions()
        sd_models.list_models()
