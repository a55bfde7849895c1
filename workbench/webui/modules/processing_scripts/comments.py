"""Comments in prompts: what follows a "#" in a line is not drawn. A script of the WebUI's own, which runs
after those of extensions.

Forge has the function alone, and calls it where it puts styles into prompts.
"""

import re

from modules import scripts, shared
from workbench.webui import profiles

COMMENT = re.compile(r"#.*")


def strip_comments(text):
    if not shared.opts.enable_prompt_comments:
        return text
    return COMMENT.sub("", text)


if not profiles.active.forge:

    class CommentsScript(scripts.Script):
        def title(self):
            return "Comments"

        def show(self, is_img2img):
            return scripts.AlwaysVisible

        def process(self, p, *args):
            fields = ["all_prompts", "all_negative_prompts"]
            if getattr(p, "enable_hr", False) and profiles.active.comments_in_hires_prompts:
                fields += ["all_hr_prompts", "all_hr_negative_prompts"]
            for field in fields:
                setattr(p, field, [strip_comments(prompt) for prompt in getattr(p, field)])
