"""The translations of the page: complete, with the placeholders of the English, and found under the names
that people's packs have.
"""

import ast
import json
import re
from pathlib import Path

import pytest

from lib_lcm import text as texts
from lib_lcm.lora.catalog import OFFICIAL_LORAS
from lib_lcm.lora.library import LoraLibrary
from lib_lcm.options import OPTIONS, SAMPLER_LABELS, SCHEDULE_LABELS, Limits, OptionsError, options_from_args
from lib_lcm.plan.presets import preset_labels
from lib_lcm.text import is_same_language, translated

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "localizations").glob("*.json"))
PLACEHOLDER = re.compile(r"\{[^}]*\}")


def page_texts() -> set[str]:
    """Every text of ours that stands on the page."""
    sentences = {value for name, value in vars(texts).items() if name.isupper() and isinstance(value, str)}
    options = {text for option in OPTIONS for text in (option.label, option.help)}
    choices = {*SCHEDULE_LABELS.values(), *SAMPLER_LABELS.values(), *preset_labels(Limits())}
    script = (ROOT / "javascript" / "lcm_live.js").read_text(encoding="utf-8")
    table = script.split("const TEXT = {")[1].split("};")[0]
    live_texts = set(re.findall(r'\w+: "(.*)",', table))
    assert len(live_texts) >= 10
    return sentences | options | choices | live_texts | settings_texts()


def settings_texts() -> set[str]:
    """What stands on Settings -> LCM, as the WebUI puts it into the page."""
    labels = {setting.label for setting in texts.SETTINGS.values()}
    of_families = {
        setting.label.format(family=lora.family.label)
        for setting in texts.FAMILY_SETTINGS.values()
        for lora in OFFICIAL_LORAS
    }
    infos = {f"({setting.info})" for setting in (*texts.SETTINGS.values(), *texts.FAMILY_SETTINGS.values())}
    return labels | of_families | infos


def test_german_japanese_and_simplified_chinese_are_there():
    assert [file.stem for file in FILES] == ["de_DE", "ja_JP", "zh_CN"]


@pytest.mark.parametrize(
    "localization,ours",
    [
        ("de_DE", "de_DE"),
        ("de-AT (somebody's)", "de_DE"),
        ("ja_JP", "ja_JP"),
        ("zh-Hans (Stable)", "zh_CN"),
        ("zh_CN", "zh_CN"),
        ("zh_TW", None),
        ("zh-Hant (Stable)", None),
        ("fr_FR", None),
        ("日本語", None),
    ],
)
def test_a_localisation_gets_our_file_of_its_language(localization, ours):
    assert [file.stem for file in FILES if is_same_language(file.stem, localization)] == (
        [ours] if ours else []
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_text_of_the_page_is_translated_and_nothing_else(file):
    translations = json.loads(file.read_text(encoding="utf-8"))
    assert sorted(page_texts() - translations.keys()) == []
    assert sorted(translations.keys() - page_texts()) == []
    assert [key for key, value in translations.items() if not value.strip()] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_translations_have_the_placeholders_of_the_english(file):
    translations = json.loads(file.read_text(encoding="utf-8"))
    wrong = [
        key
        for key, value in translations.items()
        if sorted(PLACEHOLDER.findall(key)) != sorted(PLACEHOLDER.findall(value))
    ]
    assert wrong == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_most_texts_differ_from_the_english(file):
    translations = json.loads(file.read_text(encoding="utf-8"))
    assert sum(key == value for key, value in translations.items()) < len(translations) / 4


TELLING = {
    "tell",
    "refuse",
    "refusal",
    "LcmRefusal",
    "OptionsError",
    "DownloadError",
    "DownloadCancelled",
    "NotRemembered",
    "Unusable",
}
"""What a sentence for the user is given to, and `problem=`."""


def is_bare_sentence(node: ast.expr) -> bool:
    """Whether an expression is a string that is written there and then: no `Text`, so nothing that can be
    translated.
    """
    if isinstance(node, ast.JoinedStr):
        return True
    if isinstance(node, ast.IfExp):
        return is_bare_sentence(node.body) or is_bare_sentence(node.orelse)
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(node.value)


def bare_sentences(source: str) -> list[int]:
    """Lines on which a user is told a sentence that is not from lib_lcm/text.py."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", None))
            told = [
                *(node.args if name in TELLING else []),
                *(word.value for word in node.keywords if word.arg in ("problem", "messages")),
            ]
            told += [
                item
                for argument in told
                if isinstance(argument, (ast.Tuple, ast.List))
                for item in argument.elts
            ]
            found += [argument.lineno for argument in told if is_bare_sentence(argument)]
        elif isinstance(node, ast.Assign) and any(
            getattr(target, "id", None) == "problem" for target in node.targets
        ):
            found += [node.lineno] if is_bare_sentence(node.value) else []
    return sorted(found)


def test_a_sentence_written_where_it_is_told_is_found():
    assert bare_sentences('messages.tell(p, f"{name} is gone.")') == [1]
    assert bare_sentences("raise OptionsError('no')") == [1]
    assert bare_sentences('LoraUse(messages=(f"{a}",))\nproblem = "is empty"') == [1, 2]
    assert bare_sentences("messages.tell(p, Text(texts.GONE, name=name))") == []


def test_every_sentence_for_users_is_from_the_table():
    """The API's own sentences (api.py, api_messages.py, http_messages.py) and what is only logged are in
    English.
    """
    english = {"api.py", "api_messages.py", "http_messages.py", "live.py", "downloads.py"}
    files = [
        file
        for file in (ROOT / "lib_lcm").rglob("*.py")
        if "distill" not in file.parts and file.name not in english
    ]
    assert len(files) > 40
    found = {
        file.name: lines for file in files if (lines := bare_sentences(file.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_a_sentence_within_a_sentence_is_translated_too():
    words = json.loads((ROOT / "localizations" / "de_DE.json").read_text(encoding="utf-8"))
    try:
        options_from_args([{"enabled": True, "steps": 99}])
    except OptionsError as error:
        sentence = texts.sentence_of(error)
    assert sentence == "LCM option 'steps' is 99; it must be a whole number from 1 to 8."
    assert (
        translated(sentence, words)
        == "Die LCM-Option „steps“ ist 99; erlaubt ist eine ganze Zahl von 1 bis 8."
    )


def test_a_broken_file_is_described_in_the_pages_language(tmp_path):
    (tmp_path / "lcm_lora_sdxl.safetensors").write_bytes(b"<!doctype html>" + b" " * 100)
    problem = LoraLibrary(tmp_path).choose("sdxl").problem
    words = json.loads((ROOT / "localizations" / "ja_JP.json").read_text(encoding="utf-8"))
    assert "lcm_lora_sdxl.safetensors is a web page saved under this name: download it again)" in problem
    assert "lcm_lora_sdxl.safetensors はこの名前で保存された Web ページです。" in translated(problem, words)
    assert not re.search(
        "[a-z]{2,} [a-z]{2,}", translated(problem, words).replace("python install.py --download sdxl", "")
    )
