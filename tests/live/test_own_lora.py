"""The fold that makes a checkpoint's own LCM-LoRA, with the real command to its end on an installed WebUI.
With the workbench's small checkpoints: tests/workbench/test_own_lora.py.
"""

import re

import pytest

from tests.browser import needs_chromium, open_accordion, wait_until
from tests.live.page import lora_drop_down, settle
from tests.live.profiles import installed_alone
from tests.live.test_generation import same
from tests.live.test_loras import folder, loras
from tests.prompts import OTHER, PROMPT

pytestmark = [*needs_chromium, installed_alone, pytest.mark.long]

NAME = "own-of-the-tests"
LONGEST = 3_600_000  # ms: pictures of 512 pixels, on a CPU minutes each


def test_the_command_runs_to_its_end_and_the_checkpoint_draws_with_its_own_lora(page, webui):
    root = folder(webui)
    plain = {"steps": 2, "cfg_scale": 2}
    webui.loaded()
    before, _ = webui.txt2img(PROMPT, **plain)

    def part(name: str):
        return page.locator(f"#script_txt2img_lcm_own{name}").first

    try:
        open_accordion(page)
        part("").locator(".label-wrap").first.click()
        part("_make").wait_for(state="visible")
        values = {"_prompts": f"{PROMPT}\n{OTHER}", "_name": NAME, "_steps": "2", "_pictures": "2"}
        for name, value in values.items():
            part(name).locator("textarea, input").fill(value)
        settle(page)
        part("_make").click()
        said = part("_said").get_by_text(re.compile("is complete|pip install|The distillation")).first
        said.wait_for(timeout=LONGEST)
        if "pip install" in said.inner_text():
            pytest.skip("this WebUI's Python has no diffusers, and the page says how to get it")
        assert "is complete" in said.inner_text()
        part("_picture").locator("img").wait_for()
        wait_until(page, lambda: lora_drop_down(page).input_value().endswith("distilled from it"))
        made, calls = webui.txt2img(PROMPT, lcm={"enabled": True, "steps": 2, "cfg": 1})
        assert loras(calls) == [[NAME]] * 2 and f"LCM LoRA: {NAME}" in made.infotext
        assert same(webui.txt2img(PROMPT, **plain)[0].image, before.image)
    finally:
        for ending in ("safetensors", "png"):
            (root / f"{NAME}.{ending}").unlink(missing_ok=True)
        webui.client.post("/sdapi/v1/refresh-loras")
