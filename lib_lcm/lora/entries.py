"""The entries of the LCM-LoRA drop-down, and the option that each of them stands for.

A drop-down of gradio 3 has no values behind its texts: what is shown is what comes back, also long after the
checkpoint or the files have changed, from a page that was open all the while, another tab, or saved defaults.
So an entry is the option itself and, after SEPARATOR, a note that whoever reads it leaves out: "Auto ·
lcm_lora_sd15" is always Auto, "mine · SDXL" always the LoRA "mine".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lib_lcm.families import ModelFamily
from lib_lcm.text import Text, Translations, translated

AUTO_LABEL, NO_LORA = "Auto", "None"
SEPARATOR = "\u00a0\u00b7\u00a0"
"""A middle dot between no-break spaces: what no file's name holds by chance."""


@dataclass(frozen=True)
class ListedLora:
    """A LoRA that the drop-down offers: `name` as the option takes it, `family` None for a file that cannot
    be checked.
    """

    name: str
    family: ModelFamily | None


def option_of(entry: str) -> str:
    """The option that an entry stands for; any other text is the option itself."""
    if entry.startswith(AUTO_LABEL + SEPARATOR):
        return AUTO_LABEL
    return entry.rpartition(SEPARATOR)[0] or entry


def entries(
    loras: Iterable[ListedLora],
    checkpoint: ModelFamily | None = None,
    auto: str | None = None,
    words: Translations | None = None,
) -> list[str]:
    """All entries: Auto, None, the LoRAs that fit the checkpoint, those that do not (marked), those that
    could not be checked.

    `checkpoint` is the loaded model's family, None where none is loaded; `auto` is what Auto means for it,
    None where that is unknown. The notes are in English without `words`.
    """
    words = words or {}

    def order(lora: ListedLora):
        fits = lora.family is not None and checkpoint in (None, lora.family)
        return not fits, lora.family is None, lora.name.casefold(), lora.name

    return [
        auto_entry(translated(auto, words)),
        NO_LORA,
        *(lora_entry(lora, checkpoint, words) for lora in sorted(loras, key=order)),
    ]


def auto_entry(meaning: str | None = None) -> str:
    """The entry of Auto with what it means at the moment."""
    return AUTO_LABEL if meaning is None else AUTO_LABEL + SEPARATOR + meaning


def lora_entry(
    lora: ListedLora, checkpoint: ModelFamily | None = None, words: Translations | None = None
) -> str:
    """The entry of a LoRA with its family; it says so where the checkpoint is of another one."""
    if lora.family is None:
        note = Text("not checked")
    elif checkpoint in (None, lora.family):
        note = lora.family.label
    else:
        note = Text("{family}, not for {checkpoint}", family=lora.family.label, checkpoint=checkpoint.label)
    return lora.name + SEPARATOR + translated(note, words or {})


def entry_for(option: str, among: Iterable[str]) -> str:
    """The entry that shows `option` (an entry itself, perhaps an outdated one); the option as it is where it
    is not `among` them.
    """
    wanted = option_of(option)
    for fold in (str, str.casefold):
        for entry in among:
            if fold(option_of(entry)) == fold(wanted):
                return entry
    return wanted
