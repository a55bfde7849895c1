"""Which of the workbench's profiles a live test runs on. A real WebUI runs them all.

Without a mark it is the newest A1111 and Forge. The others run what is about a difference of theirs, and
test_every_webui.py.
"""

import pytest

DEFAULT = ("a1111-1.10", "forge")
EVERY = ("a1111-1.10", "a1111-1.8", "a1111-1.7", "a1111-1.6", "forge", "neo")

every_profile = pytest.mark.profiles(*EVERY)
one_profile = pytest.mark.profiles("a1111-1.10")
newest_profiles = pytest.mark.profiles(*DEFAULT, "neo")
both_profiles = pytest.mark.profiles(*DEFAULT)  # in a file that is marked otherwise
oldest_and_newest = pytest.mark.profiles("a1111-1.10", "a1111-1.6", "forge")
installed_alone = pytest.mark.profiles()
"""Not on the workbench."""
