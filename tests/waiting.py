"""Waiting for a server to come to a state."""

import time


def wait_for(holds, seconds: float = 60):
    """The first true answer of `holds()`; AssertionError, with the last answer, where there is none within
    that time.
    """
    deadline = time.monotonic() + seconds
    while not (answer := holds()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain; the last answer: {answer!r}"
        time.sleep(0.02)
    return answer
