"""The translations of the page: complete, with the placeholders of the English, and found under the names that people's packs have."""

import json
import re
from pathlib import Path

import pytest

from lib_lcm import texts
from lib_lcm.options import OPTIONS, SAMPLER_LABELS, SCHEDULE_LABELS, Limits
from lib_lcm.presets import preset_labels

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "localizations").glob("*.json"))
PLACEHOLDER = re.compile(r"\{[^}]*\}")


def page_texts() -> set[str]:
    """Every text of ours that stands on the page."""
    sentences = {value for name, value in vars(texts).items() if name.isupper() and isinstance(value, str)}
    options = {text for option in OPTIONS for text in (option.label, option.help)}
    choices = {*SCHEDULE_LABELS.values(), *SAMPLER_LABELS.values(), *preset_labels(Limits())}
    live = (ROOT / "lib_lcm" / "webui" / "live.py").read_text(encoding="utf-8")
    live_texts = set(re.findall(r'^(?:LABEL|HELP) = "(.*)"$', live, re.MULTILINE))
    script = (ROOT / "javascript" / "lcm_live.js").read_text(encoding="utf-8")
    table = script.split("const TEXT = {")[1].split("};")[0]
    live_texts |= set(re.findall(r'\w+: "(.*)",', table))
    assert len(live_texts) >= 12
    return sentences | options | choices | live_texts


def test_german_japanese_and_simplified_chinese_are_there():
    assert [file.stem for file in FILES] == ["de_DE", "ja_JP", "zh_CN"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_text_of_the_page_is_translated_and_nothing_else(file):
    translations = json.loads(file.read_text(encoding="utf-8"))
    assert sorted(page_texts() - translations.keys()) == []
    assert sorted(translations.keys() - page_texts()) == []
    assert [key for key, value in translations.items() if not value.strip()] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_translations_have_the_placeholders_of_the_english(file):
    translations = json.loads(file.read_text(encoding="utf-8"))
    wrong = [key for key, value in translations.items() if sorted(PLACEHOLDER.findall(key)) != sorted(PLACEHOLDER.findall(value))]
    assert wrong == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_most_texts_differ_from_the_english(file):
    translations = json.loads(file.read_text(encoding="utf-8"))
    assert sum(key == value for key, value in translations.items()) < len(translations) / 4
