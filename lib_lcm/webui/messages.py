"""What a generation tells its user: in the page's language under the picture, in English over the API and in
the log.
"""

from __future__ import annotations

from fastapi import HTTPException

from lib_lcm.api.messages import without_folders
from lib_lcm.text import translated
from lib_lcm.webui import current, language
from lib_lcm.webui.host import generations, networks, server

REFUSED = 422


class LcmRefusal(HTTPException):
    """A generation that must not run: one sentence for the user, and HTTP 422 over the API."""

    def __init__(self, sentence: str, status_code: int = REFUSED):
        super().__init__(status_code=status_code, detail=sentence)

    def __str__(self) -> str:
        return self.detail


LcmRefusal.__name__ = "LCM"  # the WebUI's page puts it before the sentence


def tell(p, sentence: str) -> None:
    """Shows a sentence under the picture and in the log, once."""
    if generations.comment(p, _worded(p, sentence)):
        server.log(sentence)


def refuse(p, sentence: str) -> None:
    """Makes the generation, which has not begun yet, fail with one sentence."""
    generations.refuse(p, refusal(p, sentence))


def refusal(p, sentence: str) -> LcmRefusal:
    """The exception that makes a generation fail with one sentence, wherever the WebUI does not swallow
    it.
    """
    worded = _worded(p, sentence)
    if worded != sentence:  # the WebUI logs the exception as it is
        server.log(sentence)
    return LcmRefusal(worded)


def _worded(p, sentence: str) -> str:
    """The sentence for whoever has asked for the picture; an inner generation is asked for by the one around
    it.
    """
    is_for_api = any(generations.is_for_api(one) for one in (p, current.processing()) if one is not None)
    if is_for_api:
        return without_folders(str(sentence), networks.lora_dirs(), server.private_folders())
    return translated(sentence, language.translations()).replace("`", '"')  # the page shows plain text
