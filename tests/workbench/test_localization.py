"""The accordion in another language: what the WebUI's own localisation replaces in the page, and what holds
values.
"""

import json
import re
from contextlib import ExitStack
from functools import cache

import pytest

from tests.browser import open_accordion, open_page, wait_until, with_chromium
from tests.live.page import lora_drop_down
from tests.live.panel import Panel
from tests.prepared import Server
from tests.sentences import settings
from workbench.client import ApiError
from workbench.server import ROOT

NAMES = {"LCM", "TCD", "WebUI", "Trailing", "Live", "LCM-LoRA", "Standard 4", "Sampler", "TCD-Gamma", "Clear"}
"""Texts of the accordion that are the same in German, or that the WebUI's page has of its own."""


def speak(language, folder) -> list[str]:
    """Arguments for a workbench whose page is in a language."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"localization": language}), encoding="utf-8")
    return ["--data-dir", str(folder)]


@pytest.fixture(scope="module")
def workbench_in(tmp_path_factory):
    """`workbench_in(language)`: the workbench whose page is in a language of localizations/."""
    with ExitStack() as stack:

        @cache
        def start(language):
            return stack.enter_context(Server(speak(language, tmp_path_factory.mktemp("data"))))

        yield start


@pytest.fixture
def german(workbench_in):
    return workbench_in("de_DE")


def opened(browser, server):
    """Its page, with the accordion open."""
    page = open_page(browser, server.url)
    open_accordion(page)
    return page


def wait_for_line(page, beginning: str) -> None:
    """Until the status line begins so."""
    line = page.locator("#script_txt2img_lcm_status .lcm-status").first
    line.filter(has_text=re.compile("^" + re.escape(beginning))).wait_for()


def wait_for_label(page, name: str, text: str) -> None:
    """Until that is what stands at a control of the accordion."""
    control = f"#script_txt2img_lcm_{name}"
    label = page.locator(f"{control} [data-testid=block-info], {control} label span").first
    wait_until(page, lambda: label.inner_text().strip() == text)


UNKNOWN_TAG = "a star <lora:Hyper-SD15-8steps-lora:1>"
LANGUAGES = {
    "de_DE": (
        "SD 1.5 · lcm_lora_sd15 · 4 Schritte · CFG 1",
        "Die LoRA Hyper-SD15-8steps-lora im Prompt ist nicht im LoRA-Ordner: Ihr Tag bewirkt nichts.",
    ),
    "ja_JP": (
        "SD 1.5 · lcm_lora_sd15 · 4 ステップ · CFG 1",
        (
            "プロンプトの LoRA Hyper-SD15-8steps-lora は LoRA フォルダーにありません。"
            "このタグは効果がありません。"
        ),
    ),
    "zh_CN": (
        "SD 1.5 · lcm_lora_sd15 · 4 步 · CFG 1",
        "提示词中的 LoRA Hyper-SD15-8steps-lora 不在 LoRA 文件夹中：它的标签不起作用。",
    ),
}
"""The status line and a message."""


@with_chromium
@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_of_the_accordion_is_left_in_english(language, browser, workbench_in):
    _look_for_english(opened(browser, workbench_in(language)), language, *LANGUAGES[language])


@with_chromium
def test_the_pack_of_somebody_else_has_our_texts_too_and_its_own_go_first(browser, tmp_path):
    """What the page looks texts up in has the name of the pack that is chosen, not of its language."""
    pack = tmp_path / "extensions" / "somebodys-pack" / "localizations"
    pack.mkdir(parents=True)
    (pack / "de_DE (somebody's).json").write_text(json.dumps({"Quality": "Güte"}), encoding="utf-8")
    with Server([*speak("de_DE (somebody's)", tmp_path), "--extension", str(pack.parent)]) as server:
        page = opened(browser, server)
        for name, text in (("quality", "Güte"), ("weight", in_german("LoRA weight"))):
            wait_for_label(page, name, text)
        page.close()


@with_chromium
@pytest.mark.parametrize("profile,weight", [("a1111-1.10", "LoRA-Gewicht"), ("a1111-1.6", "LoRA weight")])
def test_a_pack_of_the_same_name_keeps_all_that_it_says(browser, tmp_path, profile, weight):
    """A1111 1.6 reads one file of a name: better the accordion in English than all the rest."""
    (tmp_path / "localizations").mkdir()
    pack = {"Generate": "Los", "Steps": "Durchgänge"}
    (tmp_path / "localizations" / "de_DE.json").write_text(json.dumps(pack), encoding="utf-8")
    with Server(["--profile", profile, *speak("de_DE", tmp_path)]) as server:
        page = opened(browser, server)
        wait_until(page, lambda: page.locator("#txt2img_generate").first.inner_text() == "Los")
        for name, text in (("steps", "Durchgänge"), ("weight", weight)):
            wait_for_label(page, name, text)
        page.close()


def _look_for_english(page, language, line, warning):
    page.fill("#txt2img_prompt textarea", UNKNOWN_TAG)
    wait_for_line(page, line)
    page.locator("#script_txt2img_lcm_messages li", has_text=warning).wait_for()
    details = page.locator("#script_txt2img_lcm_status .lcm-status").first.get_attribute("title")
    translations = json.loads((ROOT / "localizations" / f"{language}.json").read_text(encoding="utf-8"))
    found = page.evaluate("""() => {
            const accordion = document.getElementById('script_txt2img_lcm_enabled');
            const texts = document.createTreeWalker(accordion, NodeFilter.SHOW_TEXT, node =>
                ['STYLE', 'SCRIPT'].includes(node.parentElement.nodeName)
                || node.parentElement.closest('.hidden, .hide, .lcm-announced')
                    ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
            const found = [];
            while (texts.nextNode()) found.push(texts.currentNode.textContent.trim());
            const titles = [...accordion.querySelectorAll('[title]')].map(element => element.title);
            return [...found, ...titles, accordion.title];
        }""")
    [own] = (text for english, text in translations.items() if english.startswith("Makes an LCM-LoRA for"))
    own = own.format(checkpoint="small-sd15.safetensors")
    known = set(translations.values()) | {line, details, warning, own} | NAMES
    assert [text for text in found if re.search("[a-z]", text, re.IGNORECASE) and text not in known] == []
    assert len([text for text in found if text in known]) > 25 and warning in found
    page.close()


def in_german(english: str) -> str:
    return json.loads((ROOT / "localizations" / "de_DE.json").read_text(encoding="utf-8"))[english]


@with_chromium
def test_the_settings_are_in_german_too(german, browser):
    page = open_page(browser, german.url)
    page.locator("#tabs > .tab-nav > button", has_text="Settings").click()
    shown = page.locator("#tab_settings").inner_text()
    labels, infos = (set(column) for column in zip(*settings(), strict=True))
    # the WebUI may have a label of the name "Schedule"
    assert [text for text in (*labels - {"Schedule"}, *infos) if text in shown] == []
    assert [label for label in labels if in_german(label) not in shown] == []
    assert [info for info in infos if in_german(f"({info})") not in shown] == []
    assert all(in_german(choice) in shown for choice in ("warn", "switch LCM on", "nothing"))
    page.close()


@with_chromium
def test_messages_are_in_german_on_the_page_and_in_english_over_the_api_and_in_the_log(german, browser):
    before = len(german.log)
    german.client.txt2img(UNKNOWN_TAG, lcm={"enabled": True, "steps": 1, "cfg": 1})
    page = opened(browser, german)
    page.fill("#txt2img_prompt textarea", UNKNOWN_TAG)
    page.click("#txt2img_generate")
    below = page.locator("#html_log_txt2img").first
    below.filter(has_text="ist nicht im LoRA-Ordner").wait_for()
    assert "is not in the LoRA folder" not in below.inner_text()
    log = "".join(german.log[before:])
    assert log.count("LCM: The LoRA Hyper-SD15-8steps-lora in the prompt is not") == 2
    assert "ist nicht im LoRA-Ordner" not in log
    page.close()


@with_chromium
def test_a_refusal_is_in_german_on_the_page_and_in_english_over_the_api_and_in_the_log(tmp_path, browser):
    (tmp_path / "Lora").mkdir()
    (tmp_path / "Lora" / "lcm_lora_sd15.safetensors").write_bytes(b"")
    with Server([*speak("de_DE", tmp_path), "--lora-dir", str(tmp_path / "Lora")]) as server:
        with pytest.raises(ApiError, match="is empty: download it again") as refused:
            server.client.txt2img("a star", steps=1, lcm={"enabled": True})
        assert refused.value.status == 422
        page = opened(browser, server)
        sentence = (
            "Keine LCM-LoRA für SD 1.5 gefunden (lcm_lora_sd15.safetensors ist leer: neu herunterladen): das"
            " beheben oder"
        )
        wait_for_line(page, sentence)
        entry = "Auto\u00a0·\u00a0keine für SD 1.5 gefunden"
        wait_until(page, lambda: lora_drop_down(page).input_value() == entry)
        page.click("#txt2img_generate")
        error = page.locator("#html_log_txt2img .error").first
        error.filter(has_text=sentence).wait_for()
        assert "No LCM-LoRA" not in error.inner_text()
        assert "LCM: No LCM-LoRA for SD 1.5 was found (lcm_lora_sd15.safetensors is empty" in "".join(
            server.log
        )
        page.locator("#script_txt2img_lcm_download").first.click()
        below = page.locator("#script_txt2img_lcm_messages").first
        below.filter(has_text="aber nicht die veröffentlichte").wait_for()
        page.close()


@with_chromium
def test_live_speaks_german(german, browser):
    page = opened(browser, german)
    tick = page.locator("#script_txt2img_lcm_live input[type=checkbox]").first
    line = page.locator("#script_txt2img_lcm_live_status .lcm-live-status").first
    tick.check()
    line.filter(has_text="Seed").wait_for()
    page.locator("#script_txt2img_lcm_enabled .label-wrap input[type=checkbox]").first.uncheck()
    line.filter(has_text=in_german("Live waits: tick LCM.")).wait_for()
    page.close()


def test_a_packs_own_wording_wins_and_its_language_is_recognised(tmp_path):
    pack = tmp_path / "pack" / "localizations"
    pack.mkdir(parents=True)
    (pack / "zh-Hans (Stable).json").write_text(json.dumps({"{steps} steps": "{steps} 歩"}), encoding="utf-8")
    with Server([*speak("zh-Hans (Stable)", tmp_path / "data"), "--extension", str(pack.parent)]) as server:
        line = Panel(server.client).ask(enabled=True).line
        assert "4 歩" in line and "UNet 4 行" in line
