"""A prompt as a generation of this WebUI reads it: with saved styles, without comments."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from lib_lcm.plan.request import PROMPTS
from lib_lcm.webui.host import scripts, server
from modules import shared


def styled(prompts: Mapping[str, str], styles: list[str] | None) -> dict[str, str]:
    """The prompts, by the names of PROMPTS, with the user's saved styles of these names in them, as a
    generation has them.

    A hires prompt that is empty stays so: it stands for that of the first pass. Comments are left out.
    """
    given = {name: prompts.get(name) or "" for names in PROMPTS for name in names}
    for names in PROMPTS:
        texts = _with_styles(*(given[name] for name in names), styles)
        given |= {
            name: text for name, text in zip(names, texts, strict=True) if given[name] or names is PROMPTS[0]
        }
    return {name: without_comments(text) for name, text in given.items()}


def without_comments(prompt: str) -> str:
    """A prompt without its comments ("# ..."), which the WebUI takes out itself, mostly after our script has
    run.
    """
    module = sys.modules.get("modules.processing_scripts.comments")  # [forge]
    module = module or scripts.module_of("comments.py", "strip_comments")
    strip = getattr(module, "strip_comments", None)  # None: it has no comments [a1111-1.6 a1111-1.7]
    # without such a setting they are always taken out [reforge]
    is_wanted = prompt and server.setting("enable_prompt_comments", True)
    return strip(prompt) if strip is not None and is_wanted else prompt


def _with_styles(prompt: str, negative_prompt: str, styles: list[str] | None) -> tuple[str, str]:
    database = getattr(shared, "prompt_styles", None)
    if database is None or not styles:
        return prompt, negative_prompt
    try:
        return database.apply_styles_to_prompt(prompt, styles), database.apply_negative_styles_to_prompt(
            negative_prompt, styles
        )
    except TypeError:
        # the name of each file of styles is listed as a style without texts, which fails a generation too
        # [a1111-1.7 a1111-1.8 a1111-1.9 a1111-1.10 forge reforge]
        return prompt, negative_prompt
