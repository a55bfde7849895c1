"""How long generations with LCM took, told to the page that made them and to no other.

One server serves many pages, and the API beside them. What tells them apart is the WebUI's text of the last generation, which each page
has of its own: it says when its job began and with which seed.
"""

from __future__ import annotations

import json

MOST = 100
"""How many generations are remembered, the newest."""


class RunTimes:
    """Seconds from the decision about a generation to its last picture, of those that came to their end.

    A generation is known by its job's timestamp and its seed. What a script such as X/Y/Z plot makes in one job with one seed counts as
    one, and the last of it stays.
    """

    def __init__(self):
        self._seconds: dict[tuple[str, int], float] = {}

    def note(self, job_timestamp: str, seed: int, seconds: float) -> None:
        """A generation with LCM came to its end."""
        self.forget(job_timestamp, seed)  # the newest stand last
        self._seconds[job_timestamp, seed] = seconds
        if len(self._seconds) > MOST:
            del self._seconds[next(iter(self._seconds))]

    def forget(self, job_timestamp: str, seed: int) -> None:
        """It was one without LCM, or broke off."""
        self._seconds.pop((job_timestamp, seed), None)

    def of(self, summary: str | None) -> float | None:
        """The seconds of the generation that a page tells of, as JSON: [job_timestamp, seed]. None for one that is not known, and for any
        other text."""
        try:
            job_timestamp, seed = json.loads(summary or "")
            return self._seconds.get((job_timestamp, seed))
        except (ValueError, TypeError):
            return None
