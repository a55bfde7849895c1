"""The translations of the page: complete, with the placeholders of the English, and found under the names
that people's packs have.
"""

import ast
import json
import re
from pathlib import Path

import pytest

from lib_lcm.lora.library import LoraLibrary
from lib_lcm.options import OptionsError, options_from_args
from lib_lcm.text import is_same_language, sentence_of, translated
from tests.sentences import page_texts

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "localizations").glob("*.json"))
PLACEHOLDER = re.compile(r"\{[^}]*\}")


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
    """Lines with a sentence for users that is no `Text`, so cannot be translated."""
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
    assert bare_sentences('messages.tell(p, Text("{name} is gone.", name=name))') == []


def test_every_sentence_for_users_can_be_translated():
    """The API's own sentences (lib_lcm/webui/api, lib_lcm/api) and what is only logged are in
    English.
    """
    english = {"api", "distill"}
    files = [
        file
        for file in (ROOT / "lib_lcm").rglob("*.py")
        if english.isdisjoint(file.relative_to(ROOT).parts) and file.name != "live.py"
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
        sentence = sentence_of(error)
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
