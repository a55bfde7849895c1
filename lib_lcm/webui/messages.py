"""What a generation tells its user: in the page's language under the picture, in English over the API and in
the log.
"""

from __future__ import annotations

from lib_lcm.api.messages import without_folders
from lib_lcm.text import translated
from lib_lcm.webui import host, language
from lib_lcm.webui.generation import current


def tell(p, sentence: str) -> None:
    """Shows a sentence under the picture and in the log, once."""
    if host.comment(p, _worded(p, sentence)):
        host.log(sentence)


def refuse(p, sentence: str) -> None:
    """Makes the generation, which has not begun yet, fail with one sentence."""
    host.refuse(p, refusal(p, sentence))


def refusal(p, sentence: str) -> host.LcmRefusal:
    """The exception that makes a generation fail with one sentence, wherever the WebUI does not swallow
    it.
    """
    worded = _worded(p, sentence)
    if worded != sentence:  # the WebUI logs the exception as it is
        host.log(sentence)
    return host.LcmRefusal(worded)


def _worded(p, sentence: str) -> str:
    """The sentence for whoever has asked for the picture; an inner generation is asked for by the one around
    it.
    """
    is_for_api = any(host.is_for_api(one) for one in (p, current.processing()) if one is not None)
    if is_for_api:
        return without_folders(str(sentence), host.lora_dirs(), host.private_folders())
    return translated(sentence, language.translations())
