"""How the WebUI reads generation parameters, for its page, its png-info and the API's field `infotext`."""

from __future__ import annotations

from lib_lcm.webui.host import server
from lib_lcm.webui.host.replaced import Replaced

# none, and no such field either [a1111-1.6 a1111-1.7]
_module = server.module_of_webui("infotext_utils")
_reading = None if _module is None else Replaced(_module, "parse_generation_parameters")


def wrap_reading(replacement) -> None:
    """Reading becomes `replacement(host's own, text, ...)`, which gives a dictionary. Doing it again changes
    nothing.
    """
    if _reading is not None:
        _reading.replace(replacement)


def unwrap_reading() -> None:
    """The host's own reading again."""
    if _reading is not None:
        _reading.restore()
