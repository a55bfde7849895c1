"""Prompt styles: the workbench has none stored, but applies those that an extension adds."""

from __future__ import annotations

from typing import NamedTuple

from workbench.webui import profiles

if profiles.active.forge:
    from modules.processing_scripts import comments


class PromptStyle(NamedTuple):
    name: str
    prompt: str
    negative_prompt: str
    path: str | None = None


def merge_prompts(style_prompt: str, prompt: str) -> str:
    """The style's text with `{prompt}` filled in, or appended to the prompt."""
    if "{prompt}" in style_prompt:
        return style_prompt.replace("{prompt}", prompt)
    return ", ".join(text for text in (prompt.strip(), style_prompt.strip()) if text)


class StyleDatabase:
    def __init__(self, paths=None):
        self.no_style = PromptStyle("None", "", "")
        self.styles: dict[str, PromptStyle] = {}

    def reload(self):
        self.styles.clear()

    def _apply(self, prompt, styles, field):
        if profiles.active.forge:
            prompt = comments.strip_comments(prompt).strip()
        for name in styles or []:
            text = getattr(self.styles.get(name, self.no_style), field)
            prompt = merge_prompts(text, prompt) if text else prompt
        return prompt

    def apply_styles_to_prompt(self, prompt, styles):
        return self._apply(prompt, styles, "prompt")

    def apply_negative_styles_to_prompt(self, prompt, styles):
        return self._apply(prompt, styles, "negative_prompt")
