"""The prompt notations of the WebUI."""

from __future__ import annotations

import pytest

from workbench.webui.prompt_syntax import parse_prompt_attention, prompt_schedule


@pytest.mark.parametrize(
    ("prompt", "schedule"),
    [
        ("a star", [[10, "a star"]]),
        ("a [star:4]", [[4, "a "], [10, "a star"]]),
        ("a [star:.5] b", [[5, "a  b"], [10, "a star b"]]),
        ("a [red:blue:0.3] star", [[3, "a red star"], [10, "a blue star"]]),
        ("a[b:[c:d:2]:1]e", [[1, "abe"], [2, "ace"], [10, "ade"]]),
        ("[(a:2):3]", [[3, ""], [10, "(a:2)"]]),
        ("a [[[b]]:2]", [[2, "a "], [10, "a [[b]]"]]),
        ("a [unbalanced", [[10, "a [unbalanced"]]),
        ("a [less] b", [[10, "a [less] b"]]),
        (r"a \[b:3]", [[10, r"a \[b:3]"]]),
        ("((a][:b:c [d:3]", [[3, "((a][:b:c "], [10, "((a][:b:c d"]]),
    ],
)
def test_editing_gives_a_text_for_each_range_of_steps(prompt, schedule):
    assert prompt_schedule(prompt, 10) == schedule


def test_alternation_takes_the_options_in_turn():
    assert prompt_schedule("[fe|]male", 3) == [[1, "female"], [2, "male"], [3, "female"]]


def test_in_the_hires_pass_shares_go_on_from_one_and_steps_go_on_counting():
    assert prompt_schedule("a [b:.5] c", 10, 10) == [[10, "a b c"]]
    assert prompt_schedule("a [b:1.5] c", 10, 10) == [[5, "a  c"], [10, "a b c"]]
    assert prompt_schedule("a [b:14] c", 10, 8) == [[4, "a  c"], [8, "a b c"]]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("plain", [["plain", 1.0]]),
        ("a (b:1.5) c", [["a ", 1.0], ["b", 1.5], [" c", 1.0]]),
        ("((b))", [["b", 1.21]]),
        ("[b]", [["b", 1 / 1.1]]),
        ("(a (b:2))", [["a ", 1.1], ["b", 2.2]]),
        (r"\(literal\]", [["(literal]", 1.0]]),
        ("(open", [["open", 1.1]]),
        ("a BREAK b", [["a", 1.0], ["BREAK", -1], ["b", 1.0]]),
        ("", [["", 1.0]]),
    ],
)
def test_attention_weights(text, pieces):
    found = parse_prompt_attention(text)
    assert [piece for piece, _ in found] == [piece for piece, _ in pieces]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in pieces])
