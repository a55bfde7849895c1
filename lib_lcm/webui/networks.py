"""The LCM-LoRA through the WebUI's own LoRA machinery: a tag in the prompts that the WebUI parses, gone again before anyone sees it."""

from __future__ import annotations

from lib_lcm.library import LoraLibrary
from lib_lcm.lora_use import first_prompt, prompt_with_lora, resolve_lora
from lib_lcm.options import LcmOptions
from lib_lcm.plan import Plan
from lib_lcm.webui import host

_library: LoraLibrary | None = None


def library() -> LoraLibrary:
    """The LoRA folders of this WebUI. Files may come and go; the library looks again by itself."""
    global _library
    dirs = host.lora_dirs()
    if _library is None or list(_library.lora_dirs) != dirs:
        _library = LoraLibrary(dirs, sha256_of=host.file_sha256)
    return _library


def lcm_lora_names() -> list[str]:
    """The names of the LCM-LoRAs on disk, as an option takes them."""
    found = library()
    return sorted({found.name_of(file) for file in found.scan() if found.is_lcm_lora(file)}, key=str.casefold)


class BatchLora:
    """The LCM-LoRA of one batch, from before its prompts are parsed until its networks are active."""

    def __init__(self, plan: Plan, options: LcmOptions):
        self.plan = plan
        self.options = options
        self._typed_hr_prompts: list[str] | None = None
        self._file = None
        self.problem: str | None = None

    def add(self, p) -> None:
        """before_process_batch: puts the tag into this batch's prompts, of the hires pass too."""
        self.problem = None
        p.prompts = self._with_lora(p.prompts)
        hr_prompts = getattr(p, "all_hr_prompts", None)
        if getattr(p, "enable_hr", False) and hr_prompts:
            # parsed from the whole list, so the typed ones are put back in `settle`
            self._typed_hr_prompts = hr_prompts
            p.all_hr_prompts = self._with_lora(hr_prompts)

    def settle(self, p) -> None:
        """process_batch: the networks are active; what was typed is back in its place, and it is checked that the LoRA took hold."""
        if self._typed_hr_prompts is not None:
            p.all_hr_prompts = self._typed_hr_prompts
            self._typed_hr_prompts = None
        if self.problem is None and self._file is not None and not host.is_network_loaded(self._file.path):
            self.problem = (
                f"The WebUI did not apply {self._file.path.name} (its log says why), so the picture would not be LCM's; "
                f"check that the built-in Lora extension is enabled and the file is whole."
            )

    def _with_lora(self, prompts: list[str]) -> list[str]:
        use = resolve_lora(first_prompt(prompts), self.options, self.plan.family, library())
        if use.problem is not None:
            self.problem = use.problem
        if use.problem is not None or use.file is None:
            return prompts
        name = host.network_name(use.file.path)
        if name is None:
            self.problem = (
                f"The WebUI does not list {use.file.path.name} among its LoRAs; check that the built-in Lora extension is enabled "
                f"and that no other LoRA file has the same name."
            )
            return prompts
        self._file = use.file
        return [prompt_with_lora(prompt, use, name, library()) for prompt in prompts]
