"""The accordion in another language: what the WebUI's own localisation replaces in the page, and what holds values."""

import json

import pytest

from tests.browser import needs_chromium, open_accordion, open_page
from workbench.server import ROOT, Server

pytestmark = needs_chromium

NAMES = {"LCM", "TCD", "WebUI", "Trailing", "Live", "LCM-LoRA", "Standard 4", "Sampler", "TCD-Gamma", "Clear"}
"""Texts of the accordion that are the same in German, or that the WebUI's page has of its own."""


@pytest.fixture
def german(tmp_path):
    """A workbench whose page is in German."""
    (tmp_path / "config.json").write_text(json.dumps({"localization": "de_DE"}), encoding="utf-8")
    with Server(["--data-dir", str(tmp_path)]) as server:
        server.client.txt2img("a star", steps=1)  # so that a checkpoint is loaded
        yield server


def test_nothing_of_the_accordion_is_left_in_english(german, browser):
    page = open_page(browser, german.url)
    open_accordion(page)
    page.fill("#txt2img_neg_prompt textarea", "blurry")
    page.wait_for_function("document.querySelector('.lcm-status').textContent.includes('negativer Prompt unbeachtet')")
    line = page.locator(".lcm-status").first.inner_text()
    assert line == "SD 1.5 · lcm_lora_sd15 · 4 Schritte: 999 759 499 259 · CFG 1: negativer Prompt unbeachtet · 4 UNet-Aufrufe"
    translations = json.loads((ROOT / "localizations" / "de_DE.json").read_text(encoding="utf-8"))
    found = page.evaluate(
        """() => {
            const accordion = document.getElementById('script_txt2img_lcm_enabled');
            const texts = document.createTreeWalker(accordion, NodeFilter.SHOW_TEXT, node =>
                ['STYLE', 'SCRIPT'].includes(node.parentElement.nodeName) || node.parentElement.closest('.hidden, .hide')
                    ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
            const found = [];
            while (texts.nextNode()) found.push(texts.currentNode.textContent.trim());
            const titles = [...accordion.querySelectorAll('[title]')].map(element => element.title);
            return [...found, ...titles, accordion.title].filter(text => /[a-z]/i.test(text));
        }"""
    )
    german_texts = set(translations.values()) | {line} | NAMES
    warning = "Bei CFG-Skala 1 bleibt der negative Prompt unbeachtet; damit er wirkt, CFG erhöhen, höchstens auf 2."
    assert [text for text in found if text not in german_texts and text != warning] == []
    assert len(found) > 25 and warning in found
    page.close()


def test_a_packs_own_wording_wins_and_its_language_is_recognised(tmp_path, browser):
    pack = tmp_path / "pack" / "localizations"
    pack.mkdir(parents=True)
    (pack / "zh-Hans (Stable).json").write_text(json.dumps({"{steps} steps": "{steps} 歩"}), encoding="utf-8")
    data = tmp_path / "data"
    data.mkdir()
    (data / "config.json").write_text(json.dumps({"localization": "zh-Hans (Stable)"}), encoding="utf-8")
    with Server(["--data-dir", str(data), "--extension", str(pack.parent)]) as server:
        server.client.txt2img("a star", steps=1)
        page = open_page(browser, server.url)
        open_accordion(page)
        page.wait_for_function("document.querySelector('.lcm-status').textContent.includes('4 歩')")
        assert "调用 UNet 4 次" in page.locator(".lcm-status").first.inner_text()
        page.close()
