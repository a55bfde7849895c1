"""Starts the embedded WebUI, and builds it again on "Reload UI"."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import gradio as gr

import modules.initialize
from modules import call_queue, errors, extensions, progress, script_callbacks, sd_models, shared, timer, ui
from modules.api.api import Api
from workbench.webui import page, profiles, unet_log

INSTALL_TIMEOUT = 120
"""Seconds that an extension's install.py may take."""
KEEP_ALIVE = 30
"""Seconds without a request after which the server closes a connection.

gradio 3's queue asks its own server through httpx, which uses an idle connection again for up to 5 seconds,
and uvicorn closes it after 5. Now and then one was closed just as it was used again, and whatever had been
clicked ended in an empty error. (As on WebUIs with gradio 3.)
"""
LAST_ANSWERS_TIMEOUT = 5
"""Seconds that requests may take to end when the server goes down."""


def run_installers() -> None:
    """Run each extension's install.py in a process of its own; a failure is printed and changes nothing."""
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([shared.script_path, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    for extension in extensions.active():
        script = Path(extension.path) / "install.py"
        if not script.is_file():
            continue
        try:
            done = subprocess.run(
                [sys.executable, str(script)],
                env=env,
                capture_output=True,
                text=True,
                timeout=INSTALL_TIMEOUT,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            print(
                f"*** Error running install.py for extension {extension.path}: no end after"
                f" {INSTALL_TIMEOUT} s",
                file=sys.stderr,
            )
            continue
        if done.stdout.strip():
            print(done.stdout.strip())
        if done.returncode:
            print(
                f"*** Error running install.py for extension {extension.path}:\n{done.stderr}",
                file=sys.stderr,
            )


class PageApp(gr.routes.App):
    """gradio's app, in which a request waits until all routes are there.

    gradio serves the page before the API can be added to it. A page or a client that asks again and again
    while the page is rebuilt would get "not found" for routes that are about to come, and would make the app
    refuse the API's middleware.
    """

    LAUNCH_REQUEST = "/startup-events"
    """What gradio asks of its own server before `launch` returns."""

    is_complete = False

    async def __call__(self, scope, receive, send):
        if scope["type"] != "lifespan" and scope["path"] != self.LAUNCH_REQUEST:
            while not self.is_complete:
                await asyncio.sleep(0.02)
        await super().__call__(scope, receive, send)


def _add_own_routes(app) -> None:
    page.add_routes(app)
    started = time.time()

    @app.get("/workbench/v1/started")
    def when_started():
        return started

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
    page.read_localization()
    demo = shared.demo = ui.create_ui()
    if not shared.cmd_opts.no_gradio_queue:
        demo.queue(concurrency_count=8)
    gr.routes.App = PageApp
    app, _, _ = demo.launch(
        server_name="127.0.0.1",
        server_port=shared.cmd_opts.port,
        prevent_thread_lock=True,
        quiet=True,
        show_api=False,
        allowed_paths=[shared.data_path],
        _frontend=False,  # else it asks for the page, and gives up if that takes three seconds
    )
    demo.server.config.timeout_keep_alive = KEEP_ALIVE
    app.middleware_stack = None  # gradio has built it already; the API adds to it
    _add_own_routes(app)
    progress.setup_progress_api(app)
    Api(app, call_queue.queue_lock)
    script_callbacks.app_started_callback(demo, app)
    app.middleware_stack = app.build_middleware_stack()
    app.is_complete = True
    timer.startup_timer.record("serve the page")
    print(f"Startup time: {timer.startup_timer.summary()}.", flush=True)
    return demo


def _close(demo) -> None:
    """Stop serving; the port is free when this returns."""
    # A page's event that still waits in gradio's queue is never run, and its websocket would be waited for
    # without end.
    demo.server.config.timeout_graceful_shutdown = LAST_ANSWERS_TIMEOUT
    demo.close()


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
        _close(demo)
        if command != "restart":
            return
        timer.startup_timer.reset()
        script_callbacks.app_reload_callback()
        script_callbacks.script_unloaded_callback()
        extensions.list_extensions()
        sd_models.list_models()
