"""The entries of the LCM-LoRA drop-down, and the option that each of them stands for.

A drop-down of gradio 3 has no values behind its texts: what is shown is what comes back, also long after the
checkpoint or the files have changed, from a page that was open all the while, another tab, or saved defaults.
So an entry is the option itself and, after ENTRY_SEPARATOR, a note that whoever reads it leaves out: "Auto ·
lcm_lora_sd15" is always Auto, "mine · SDXL" always the LoRA "mine".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lib_lcm.families import Family
from lib_lcm.methods import LCM, METHODS, Method
from lib_lcm.options import AUTO_LABEL, BEST_LABEL, ENTRY_SEPARATOR, NO_LORA, option_of
from lib_lcm.text import Text, Translations, translated


@dataclass(frozen=True)
class ListedLora:
    """A LoRA that the drop-down offers: `name` as the option takes it, `family` None for a file that cannot
    be checked. `base` is the checkpoint that it was distilled from by our distiller.
    """

    name: str
    family: Family | None
    method: Method = LCM
    base: str | None = None


def entries(
    loras: Iterable[ListedLora],
    checkpoint: Family | None = None,
    auto: str | None = None,
    words: Translations | None = None,
) -> list[str]:
    """All entries: Auto, Best installed, None, the LoRAs that fit the checkpoint, by method, those that do
    not (marked), those that could not be checked.

    `checkpoint` is the loaded model's family, None where none is loaded; `auto` is what Auto means for it,
    None where that is unknown. The notes are in English without `words`.
    """
    words = words or {}

    groups = list(dict.fromkeys(method.group for method in METHODS))

    def order(lora: ListedLora) -> tuple[bool, bool, int, str, str]:
        fits = lora.family is not None and checkpoint in (None, lora.family)
        group = groups.index(lora.method.group)
        return not fits, lora.family is None, group, lora.name.casefold(), lora.name

    return [
        auto_entry(translated(auto, words)),
        BEST_LABEL,
        NO_LORA,
        *(lora_entry(lora, checkpoint, words) for lora in sorted(loras, key=order)),
    ]


def auto_entry(meaning: str | None = None) -> str:
    """The entry of Auto with what it means at the moment."""
    return AUTO_LABEL if meaning is None else AUTO_LABEL + ENTRY_SEPARATOR + meaning


def lora_entry(lora: ListedLora, checkpoint: Family | None = None, words: Translations | None = None) -> str:
    """The entry of a LoRA with its family, and its method if that is not LCM; it says so where the checkpoint
    is of another family.
    """
    note: str
    if lora.family is None:
        note = Text("not checked")
    elif checkpoint is None or checkpoint is lora.family:
        note = lora.family.label
    else:
        note = Text("{family}, not for {checkpoint}", family=lora.family.label, checkpoint=checkpoint.label)
    if lora.base is not None:
        note = Text("{family}, distilled from {checkpoint}", family=note, checkpoint=lora.base)
    if lora.family is not None and lora.method is not LCM:
        note = Text("{method}, {family}", method=lora.method.label, family=note)
    return f"{lora.name}{ENTRY_SEPARATOR}{translated(note, words or {})}"


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
