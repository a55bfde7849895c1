"""The folded part of the accordion that downloads published LoRAs: what it offers for which checkpoint. That
it downloads them: tests/workbench/test_download_button.py.
"""

from tests.browser import open_accordion, wait_until, with_chromium
from tests.live.page import settle, warnings
from tests.live.panel import Panel
from tests.live.profiles import oldest_and_newest
from tests.prompts import PROMPT

ON = {"enabled": True}


def test_what_fits_the_checkpoint_is_offered(webui):
    panel = Panel(webui.loaded())
    offers = panel.ask(**ON).offers
    assert "Hyper-SD, any steps · 269 MB · OpenRAIL++" in offers
    assert not [one for one in offers if one.startswith(("SDXL", "DMD2", "Lightning"))]
    with webui.settings(sd_model_checkpoint=webui.sdxl):
        webui.txt2img(PROMPT, webui.sdxl, steps=1)  # so that it is loaded, on Forge too
        answer = panel.ask(**ON)
        assert "Hyper-SD, any steps · 787 MB · OpenRAIL++" in answer.offers and answer.clears_offer
        assert "DMD2 · 394 MB · CC-BY-NC-4.0" in answer.offers
        assert not panel.ask(**ON).clears_offer


def accept_box(panel, entry: str) -> dict:
    """The update of the tick when this entry is chosen."""
    [box] = panel.call(panel.name("more_lora"), "input", {panel.name("more_lora"): entry})
    return box


def test_a_licence_is_asked_for_where_it_forbids_commercial_use(webui):
    panel = Panel(webui.loaded())
    by_beginning = {
        one.split(" · ")[0]: one.replace(" · ", "\u00a0·\u00a0") for one in panel.ask(**ON).offers
    }
    assert not accept_box(panel, by_beginning["TCD"])["visible"]
    box = accept_box(panel, by_beginning["Flash Diffusion"])
    assert box["visible"] and box["value"] is False
    assert box["label"] == "I accept the licence CC-BY-NC-4.0: not for commercial use"
    of_another_list = "SDXL · DMD2 · 394 MB · CC-BY-NC-4.0".replace(" · ", "\u00a0·\u00a0")
    assert accept_box(panel, of_another_list)["visible"]


@with_chromium
@oldest_and_newest
def test_a_licence_that_is_not_accepted_stops_the_download(page):
    open_accordion(page)
    settle(page)
    part = {
        name: page.locator(f"#script_txt2img_lcm_more_{name}").first
        for name in ("lora", "accept", "download")
    }
    page.locator("#script_txt2img_lcm_more .label-wrap").first.click()
    part["lora"].locator("input").click()
    page.locator("#script_txt2img_lcm_more_lora li", has_text="Flash Diffusion").first.click()
    part["accept"].wait_for(state="visible")
    part["download"].click()
    wait_until(page, lambda: "flash_sd15 was not downloaded, as its" in " ".join(warnings(page)))
