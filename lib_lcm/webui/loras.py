"""The LoRA folders of this WebUI, asked by the names that its prompts use."""

from __future__ import annotations

from lib_lcm.lora.background import DONE, downloads
from lib_lcm.lora.catalog import PublishedLora, offered
from lib_lcm.lora.entries import ListedLora
from lib_lcm.lora.file import LoraFile
from lib_lcm.lora.library import LoraLibrary
from lib_lcm.lora.use import option_name
from lib_lcm.options import AUTO_LABEL, BEST_LABEL, NO_LORA
from lib_lcm.webui import remembered
from lib_lcm.webui.host import networks


class WebuiLibrary(LoraLibrary):
    """Names mean what they mean to the WebUI, aliases from the files' metadata included; only then what we
    would find by them.
    """

    def find(self, name: str) -> LoraFile | None:
        path = networks.path_of(name)
        file = None if path is None else self.at(path)
        return file if file is not None else super().find(name)


_library: WebuiLibrary | None = None


def library() -> WebuiLibrary:
    """The LoRA folders of this WebUI. Files may come and go; the library looks again by itself."""
    global _library
    dirs = networks.lora_dirs()
    if _library is None or list(_library.lora_dirs) != dirs:
        _library = WebuiLibrary(dirs, networks.file_sha256, networks.short_hashes, remembered.methods())
    return _library


def listed_loras() -> list[ListedLora]:
    """The LoRAs for few steps on disk, and the files that may be some but cannot be checked."""
    found = library()
    return [
        *(
            ListedLora(option_name(file, found), file.family, method, (file.distilled_from or [None])[0])
            for file, method, _ in found.few_step_loras()
        ),
        *(ListedLora(found.name_of(file) + file.path.suffix, None) for file in found.unchecked()),
    ]


def downloaded() -> dict[PublishedLora, LoraFile]:
    """The published LoRAs on disk, also one that was downloaded just now and whose hash is not known again
    yet.
    """
    found = library()
    there = found.published()
    for lora in offered():
        if lora not in there and downloads.state(lora).state == DONE:
            file = found.find(f"{lora.name}.safetensors")
            there |= {} if file is None else {lora: file}
    return there


def lora_choices() -> list[str]:
    """What the option "lora" can be: Auto, Best installed, None, and the LoRAs for few steps on disk."""
    names = (lora.name for lora in listed_loras() if lora.family is not None)
    return [AUTO_LABEL, BEST_LABEL, NO_LORA, *sorted(names, key=str.casefold)]
