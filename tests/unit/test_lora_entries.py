"""The drop-down's entries: whatever a page sends, old or new, stands for one option."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_lcm.families import FAMILIES, SD15, SDXL
from lib_lcm.lora.entries import ListedLora, entries, entry_for
from lib_lcm.methods import METHODS
from lib_lcm.options import ENTRY_SEPARATOR, option_of, options_from_args

LORAS = [
    ListedLora("zebra", SD15),
    ListedLora("sub/mine", SDXL),
    ListedLora("Apple", SD15),
    ListedLora("lcm_old.pt", None),
]
WORDS = {"auto": "auto", "best": "best", "best installed": "best", "none": "none"}
NAMES = st.text(min_size=1, max_size=20).filter(lambda name: ENTRY_SEPARATOR not in name and name.strip())


def shown(*args, **kwargs) -> list[str]:
    return [entry.replace("\u00a0", " ") for entry in entries(*args, **kwargs)]


def test_what_fits_comes_first_and_the_others_say_what_they_are():
    assert shown(LORAS, SD15, "lcm_lora_sd15") == [
        "Auto · lcm_lora_sd15",
        "Best installed",
        "None",
        "Apple · SD 1.5",
        "zebra · SD 1.5",
        "sub/mine · SDXL, not for SD 1.5",
        "lcm_old.pt · not checked",
    ]


def test_of_which_checkpoint_a_lora_was_distilled_is_said():
    mine = ListedLora("mine", SD15, base="dreamy")
    assert shown([mine], SD15)[-1] == "mine · SD 1.5, distilled from dreamy"
    assert shown([mine], SDXL)[-1] == "mine · SD 1.5, not for SDXL, distilled from dreamy"


def test_without_a_checkpoint_nothing_is_said_about_it():
    assert shown(LORAS) == [
        "Auto",
        "Best installed",
        "None",
        "Apple · SD 1.5",
        "sub/mine · SDXL",
        "zebra · SD 1.5",
        "lcm_old.pt · not checked",
    ]


@given(
    name=NAMES,
    family=st.sampled_from([*FAMILIES, None]),
    method=st.sampled_from(METHODS),
    checkpoint=st.sampled_from([*FAMILIES, None]),
    meaning=NAMES,
)
def test_every_entry_stands_for_its_option(name, family, method, checkpoint, meaning):
    auto, best, none, lora = entries([ListedLora(name, family, method)], checkpoint, meaning)
    assert [option_of(entry) for entry in (auto, best, none, lora)] == [
        "Auto",
        "Best installed",
        "None",
        name,
    ]
    for entry, option in ((auto, "auto"), (best, "best"), (none, "none")):
        assert options_from_args([{"enabled": True, "lora": entry}]).lora == option
    chosen = options_from_args([{"enabled": True, "lora": lora}]).lora
    assert chosen == (WORDS.get(name.lower(), name))


@given(name=NAMES)
def test_a_name_without_a_note_stands_for_itself(name):
    assert option_of(name) == name


@pytest.mark.parametrize("name", ["Auto (2)", "Auto · lcm", "a · SDXL", "mine - SDXL", "·", "None · x"])
def test_names_that_look_like_entries_are_names(name):
    assert option_of(name) == name
    *_, entry = entries([ListedLora(name, SD15)], SD15, "x")
    assert option_of(entry) == name


def test_an_outdated_entry_finds_its_present_one():
    old, new = entries(LORAS, SD15, "one"), entries(LORAS, SDXL, "other")
    assert entry_for(old[0], new) == new[0] != old[0]
    for option in ("auto", "none", "zebra", "sub/mine", "lcm_old.pt"):
        assert option_of(entry_for(entry_for(option, old), new)).lower() == option


def test_what_is_not_listed_stays_as_it_is():
    assert entry_for("gone", entries(LORAS)) == "gone"
    assert entry_for(entries([ListedLora("gone", SD15)])[3], entries(LORAS)) == "gone"


def test_names_that_differ_in_case_only_are_kept_apart():
    both = entries([ListedLora("mine", SD15), ListedLora("Mine", SDXL)])
    assert option_of(entry_for("Mine", both)) == "Mine" and option_of(entry_for("mine", both)) == "mine"
    assert option_of(entry_for("MINE", both)) in ("mine", "Mine")
