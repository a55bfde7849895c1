"""The accordion on a WebUI that is set to another language. What each of its texts becomes:
tests/workbench/test_localization.py.
"""

import json

from tests.browser import needs_chromium, open_accordion, open_page, wait_until
from tests.live.page import reload_ui, short_status, wait_for_status
from tests.live.profiles import one_profile
from workbench.server import ROOT

pytestmark = [*needs_chromium, one_profile]


def test_it_speaks_german_where_the_webui_does(own, browser):
    words = json.loads((ROOT / "localizations" / "de_DE.json").read_text(encoding="utf-8"))
    own.loaded()
    own.client.post("/sdapi/v1/options", {"localization": "de_DE"})
    reload_ui(open_page(browser, own.client.url), own.server)
    own.loaded()

    page = open_page(browser, own.client.url)
    open_accordion(page)
    page.fill("#txt2img_neg_prompt textarea", "blurry")
    wait_for_status(
        page,
        "SD 1.5 · lcm_lora_sd15 · 4 Schritte: 999 759 499 259 · CFG 1: negativer Prompt unbeachtet · 4"
        " UNet-Zeilen",
    )
    assert short_status(page) == "SD 1.5 · lcm_lora_sd15 · 4 Schritte · CFG 1"
    for name, text in (("quality", "Quality"), ("weight", "LoRA weight")):
        label = page.locator(
            f"#script_txt2img_lcm_{name} [data-testid=block-info], #script_txt2img_lcm_{name} label span"
        ).first
        wait_until(page, lambda label=label, text=text: label.inner_text().strip() == words[text])
    preset = page.locator("#script_txt2img_lcm_quality label", has_text=words["Preview 1"]).first
    preset.click()
    wait_for_status(page, "1 Schritt: 999")
    page.close()
