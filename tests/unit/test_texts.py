"""Sentences that can be shown in another language."""

import copy
import json
import pickle

import pytest

from lib_lcm.text import Text, term, translated

GERMAN = {"{steps} steps": "{steps} Schritte", "hires {steps}": "Hires: {steps}", "Steps": "Schritte"}


def test_a_text_is_an_ordinary_string_in_english():
    text = Text("{steps} steps", steps=4)
    assert text == "4 steps" and json.dumps([text]) == '["4 steps"]' and text + "!" == "4 steps!"


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda text: pickle.loads(pickle.dumps(text))])
def test_a_copy_is_the_same_string_also_with_braces_in_it(again):
    assert again(Text("LoRA {name}", name="{0} {x}")) == "LoRA {0} {x}"


def test_values_are_translated_with_the_sentence():
    text = Text("hires {steps}", steps=Text("{steps} steps", steps=2))
    assert text.translated(GERMAN) == "Hires: 2 Schritte"
    assert translated("Steps", GERMAN) == "Schritte" and translated(4, GERMAN) == 4


def test_names_are_not_translated_unless_they_are_the_webuis_own_terms():
    german = {"at {lora}": "mit {lora}", "nothing": "nichts", "Karras {x}": "Karras"}
    assert Text("at {lora}", lora="nothing").translated(german) == "mit nothing"
    assert Text("at {lora}", lora=term("nothing")).translated(german) == "mit nichts"
    assert term("a {name}") == term("a {name}").translated(german) == "a {name}"


@pytest.mark.parametrize(
    "broken", ["{step} Schritte", "{steps Schritte", "{steps:q} Schritte", "{0} Schritte", "{steps.x}"]
)
def test_a_broken_translation_falls_back_to_english(broken):
    assert Text("{steps} steps", steps=4).translated({"{steps} steps": broken}) == "4 steps"
