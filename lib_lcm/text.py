"""Sentences that can be shown in another language: English templates, filled in where they are raised.

Labels, tooltips and choices are replaced in the page by the WebUI's own localisation. What holds values
cannot be replaced there, so it is a `Text`, translated before it is sent. Both are looked up in the WebUI's
`localizations/*.json`, by the English. The log and the API stay in English: to them, a `Text` is its English
sentence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Translations = Mapping[str, str]


class Text(str):
    """An English sentence that remembers its template, for translation; everywhere else it is a string like
    any other.
    """

    template: str
    values: dict[str, Any]

    def __new__(cls, template: str, /, **values: Any) -> Text:
        text = super().__new__(cls, template.format(**values))
        text.template = template
        text.values = values
        return text

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)  # a copy needs no template

    def translated(self, translations: Translations) -> str:
        """The sentence in another language; in English where that has no translation of it, or one with other
        placeholders.
        """
        # a plain string is a name or a path, whatever it may mean elsewhere: a LoRA may be called "nothing"
        values = {
            name: value.translated(translations) if isinstance(value, Text) else value
            for name, value in self.values.items()
        }
        try:
            return translations.get(self.template, self.template).format(**values)
        except (KeyError, IndexError, ValueError, AttributeError):
            return str(self)


def translated(value: Any, translations: Translations) -> Any:
    """`value` in another language, if it is a text that has a translation."""
    if isinstance(value, Text):
        return value.translated(translations)
    return translations.get(value, value) if isinstance(value, str) else value


def term(name: str) -> Text:
    """A name that the WebUI may show in its own language, such as a schedule's, as a value of a sentence."""
    return Text(name.replace("{", "{{").replace("}", "}}"))


def joined(items: Sequence[str]) -> str:
    """At least one text, with commas between them; all of it still translatable."""
    *before, text = items
    for item in reversed(before):
        text = Text("{first}, {rest}", first=item, rest=text)
    return text


def listed(items: Sequence[str]) -> str:
    """The same with semicolons, for texts that may hold commas."""
    *before, text = items
    for item in reversed(before):
        text = Text("{first}; {rest}", first=item, rest=text)
    return text


TRADITIONAL = {"hant", "tw", "hk", "mo"}
"""How names of localisations say that their Chinese is traditional: "zh_TW", "zh-Hant (Stable)"."""


def is_same_language(ours: str, localization: str) -> bool:
    """Whether our file of the name `ours` ("zh_CN") is in the language with which the name of a localisation
    begins ("zh-Hans (Stable)").

    Simplified Chinese is not for those who read the traditional one.
    """
    words = re.findall(r"[a-z]+", localization.lower())
    return bool(words) and ours.lower().startswith(words[0] + "_") and not TRADITIONAL.intersection(words)


def sentence_of(error: Exception) -> str:
    """The sentence that an exception was made with; `str(error)` has it in English alone."""
    sentence: str = error.args[0]
    return sentence
