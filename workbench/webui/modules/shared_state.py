"""What the WebUI is doing right now."""

from __future__ import annotations

import datetime
import logging
import threading
import time

from modules import errors

log = logging.getLogger(__name__)


class State:
    """Progress and stop flags of the running job, read by the page and the API, and the restart signal."""

    def __init__(self):
        self.server_start = time.time()
        self._command: str | None = None
        self._command_set = threading.Event()
        self.time_start = None
        self.textinfo = None
        self.job = ""
        self._reset_progress()
        self.job_count = 0

    def _reset_progress(self):
        self.skipped = False
        self.interrupted = False
        self.stopping_generation = False
        self.job_no = 0
        self.job_count = -1
        self.job_timestamp = datetime.datetime.now().strftime("%Y%m%d%H%M%S")
        self.processing_has_refined_job_count = False
        self.sampling_step = 0
        self.sampling_steps = 0
        self.current_latent = None
        self.current_image = None
        self.current_image_sampling_step = 0
        self.id_live_preview = 0
        self.textinfo = None

    def begin(self, job: str = "(unknown)") -> None:
        self._reset_progress()
        self.time_start = time.time()
        self.job = job
        log.info("Starting job %s", job)

    def end(self) -> None:
        log.info("Ending job %s (%.2f seconds)", self.job, time.time() - (self.time_start or time.time()))
        self.job = ""
        self.job_count = 0

    def nextjob(self) -> None:
        self.job_no += 1
        self.sampling_step = 0
        self.current_image_sampling_step = 0

    def skip(self) -> None:
        self.skipped = True

    def interrupt(self) -> None:
        self.interrupted = True

    def stop_generating(self) -> None:
        self.stopping_generation = True

    def dict(self) -> dict:
        names = (
            "skipped",
            "interrupted",
            "stopping_generation",
            "job",
            "job_count",
            "job_timestamp",
            "job_no",
            "sampling_step",
            "sampling_steps",
        )
        return {name: getattr(self, name) for name in names}

    def set_current_image(self) -> None:
        """Make a preview of the current latent, if enough steps have passed since the last one."""
        from modules.shared import opts

        period = opts.show_progress_every_n_steps
        if (
            opts.live_previews_enable
            and period > 0
            and self.sampling_step - self.current_image_sampling_step >= period
        ):
            self.do_set_current_image()

    def do_set_current_image(self) -> None:
        from modules import sd_samplers_common

        if self.current_latent is None:
            return
        try:
            self.assign_current_image(sd_samplers_common.samples_to_image_grid(self.current_latent))
            self.current_image_sampling_step = self.sampling_step
        except Exception as e:
            errors.display_once(e, "making a live preview")

    def assign_current_image(self, image) -> None:
        self.current_image = image
        self.id_live_preview += 1

    @property
    def server_command(self) -> str | None:
        return self._command

    @server_command.setter
    def server_command(self, value: str | None) -> None:
        self._command = value
        self._command_set.set()

    @property
    def need_restart(self) -> bool:
        return self._command == "restart"

    @need_restart.setter
    def need_restart(self, value: bool) -> None:
        if value:
            self.server_command = "restart"

    def request_restart(self) -> None:
        self.interrupt()
        self.server_command = "restart"

    def wait_for_server_command(self, timeout: float | None = None) -> str | None:
        """Block until a command ("restart", "stop") is set; returns and clears it, or None after `timeout`
        seconds.
        """
        if not self._command_set.wait(timeout):
            return None
        self._command_set.clear()
        command, self._command = self._command, None
        return command
