"""How long a tab's generations with LCM took, told to the page that made them and to no other.

One server serves many pages, and the API beside them. What tells them apart is the WebUI's text of the last generation, which each page
has of its own: it says when its job began and with which seed.
"""

from __future__ import annotations

import json
from collections import OrderedDict

MOST = 100
"""How many generations are remembered, the newest."""


class RunTimes:
    """Seconds from the decision about a generation to its last picture, of those that came to their end."""

    def __init__(self):
        self._seconds: OrderedDict[tuple[str, int], float] = OrderedDict()

    def note(self, processed, seconds: float) -> None:
        """`processed` is what the WebUI made of a generation with LCM. A script's pictures count as one: the last of them stays."""
        key = (str(processed.job_timestamp), int(processed.seed))
        self._seconds[key] = seconds
        self._seconds.move_to_end(key)
        while len(self._seconds) > MOST:
            self._seconds.popitem(last=False)

    def forget(self, processed) -> None:
        """The generation of the same job and seed was one without LCM, or broke off."""
        self._seconds.pop((str(processed.job_timestamp), int(processed.seed)), None)

    def of(self, generation_info: str | None) -> float | None:
        """The seconds of the generation that a page tells of, in the JSON that the WebUI gave it; None for any other text."""
        try:
            told = json.loads(generation_info or "")
            return self._seconds.get((str(told["job_timestamp"]), int(told["seed"])))
        except (ValueError, TypeError, KeyError):
            return None
