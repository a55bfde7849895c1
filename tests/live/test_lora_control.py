"""The row of the LoRA on the page: what the list shows and how it behaves, and what is remembered for a
checkpoint.

What its entries and buttons say of checkpoints and files: test_status_line.py.
"""

import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.browser import open_accordion, open_page, with_chromium
from tests.live.page import (
    choose_lora,
    generate,
    listed_loras,
    lora_drop_down,
    open_lora_list,
    set_host_number,
    settle,
    status,
    wait_for_status,
)
from tests.live.profiles import both_profiles, one_profile
from tests.live.test_generation import same
from tests.live.test_loras import SD15, SDXL, files, folder, loras
from tests.prompts import PROMPT
from workbench.client import decode_image

AUTO = {"enabled": True, "steps": 2, "cfg": 1}


@pytest.fixture
def copy(webui):
    """Another LCM-LoRA for SD 1.5 on this WebUI, known by the same signs as the official one, at another
    strength.
    """
    with files(webui, my_own=SD15) as [path]:
        from safetensors import safe_open
        from safetensors.torch import load_file, save_file

        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        tensors = {
            name: tensor * 0.5 if name.endswith("lora_up.weight") else tensor
            for name, tensor in load_file(path).items()
        }
        save_file(tensors, path, metadata)
        yield "my_own"


@contextmanager
def remembered(panel, entry: str):
    """Pressed "Remember" with this entry chosen, and in the end "Forget"."""
    assert panel.press("remember", lora=entry) is None
    try:
        yield
    finally:
        assert panel.press("remember", lora="Auto") is None


@contextmanager
def moved_away(path: Path):
    elsewhere = path.with_suffix(".away")
    path.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(path)


def plan(webui, **options) -> dict:
    return webui.loaded().post("/lcm/v1/plan", {"args": [{**AUTO, **options}], "prompt": PROMPT})


# --- remembering --------------------------------------------------------------------------------------------


def test_a_choice_is_remembered_for_the_checkpoint_everywhere_until_it_is_forgotten(webui, panel, copy):
    explicit, _ = webui.txt2img(PROMPT, lcm={**AUTO, "lora": copy})
    official, _ = webui.txt2img(PROMPT, lcm=AUTO)
    assert not same(explicit.image, official.image)
    assert panel.ask(**AUTO, lora=copy).remember == "Remember my_own for this checkpoint"
    with remembered(panel, copy):
        answer = panel.ask(**AUTO, lora="Auto")
        assert answer.line.startswith("SD 1.5 · my_own (remembered for this checkpoint) · ")
        assert (
            answer.entries[0] == "Auto · my_own, remembered"
            and answer.remember == "Forget my_own for this checkpoint"
        )
        made, calls = webui.txt2img(PROMPT, lcm=AUTO)
        assert (
            same(made.image, explicit.image)
            and loras(calls) == [[copy]] * 2
            and f"LCM LoRA: {copy}" in made.infotext
        )
        tagged, calls = webui.txt2img(f"{PROMPT} <lora:{SDXL}:1>", lcm=AUTO)
        assert same(tagged.image, explicit.image) and loras(calls) == [[copy]] * 2
        assert (plan(webui)["lora"], plan(webui)["lora_reason"]) == (
            copy,
            "it is remembered for this checkpoint",
        )
        assert webui.client.get("/lcm/v1/status")["lora"] == copy
        named, _ = webui.txt2img(PROMPT, lcm={**AUTO, "lora": SD15})
        assert same(named.image, official.image)
        _, calls = webui.txt2img(PROMPT, checkpoint=webui.sdxl, lcm=AUTO)
        assert loras(calls) == [[SDXL]] * 2
        webui.loaded()
        # it draws its own picture, whatever is remembered
        for picture in (official, explicit) if webui.reads_infotexts else ():
            answer = webui.txt2img_of_infotext(picture.infotext)
            assert answer["info"] and same(decode_image(answer["images"][0]), picture.image)
    assert same(webui.txt2img(PROMPT, lcm=AUTO)[0].image, official.image)
    assert "remembered" not in plan(webui)["status"] and panel.ask(**AUTO, lora="Auto").remember is None


def test_none_can_be_remembered_for_a_checkpoint_that_is_itself_an_lcm(webui, panel):
    bare, _ = webui.txt2img(PROMPT, lcm={**AUTO, "lora": "none"})
    with remembered(panel, "None"):
        answer = panel.ask(**AUTO, lora="Auto")
        assert (
            answer.entries[0] == "Auto · None, remembered"
            and "no LoRA (remembered for this checkpoint)" in answer.line
        )
        made, calls = webui.txt2img(PROMPT, lcm=AUTO)
        assert loras(calls) == [[], []] and same(made.image, bare.image) and "LCM LoRA: None" in made.infotext


def test_a_remembered_file_that_vanished_is_named_and_auto_is_as_before(webui, panel, copy):
    official, _ = webui.txt2img(PROMPT, lcm=AUTO)
    with remembered(panel, copy):
        path = next(lora["path"] for lora in webui.client.get("/sdapi/v1/loras") if lora["name"] == copy)
        with moved_away(Path(path)):
            made, _ = webui.txt2img(PROMPT, lcm=AUTO)
            assert same(made.image, official.image)
            assert "so Auto took lcm_lora_sd15" in webui.comments
            (message,) = plan(webui)["messages"]
            assert (
                "cannot be used, so Auto took lcm_lora_sd15" in message
                and "'my_own' is not in the LoRA folder" in message
            )


# --- on the page --------------------------------------------------------------------------------------------


def entry(page) -> str:
    return lora_drop_down(page).input_value().replace("\u00a0", " ")


def refresh(page) -> None:
    page.locator("#script_txt2img_lcm_refresh").first.click()
    settle(page)


def remember_button(page):
    return page.locator("#script_txt2img_lcm_remember").first


@with_chromium
class TestOnThePage:
    pytestmark = one_profile

    def test_a_file_is_listed_chosen_remembered_and_forgotten(self, page, copy):
        open_accordion(page)
        refresh(page)
        assert listed_loras(page)[:2] == [
            f"Auto · {SD15}",
            "Best installed",
        ] and "my_own · SD 1.5" in listed_loras(page)
        choose_lora(page, "my_own")
        assert (
            "· my_own ·" in status(page)
            and remember_button(page).inner_text() == "Remember my_own for this checkpoint"
        )
        remember_button(page).click()
        wait_for_status(page, "my_own (remembered for this checkpoint)")
        settle(page)
        assert entry(page) == "Auto · my_own, remembered"
        assert remember_button(page).inner_text() == "Forget my_own for this checkpoint"
        remember_button(page).click()
        wait_for_status(page, f"SD 1.5 · {SD15} ·")
        settle(page)
        assert entry(page) == f"Auto · {SD15}" and not remember_button(page).is_visible()

    def test_a_lora_for_another_family_cannot_be_remembered_and_why_is_said(self, page, webui):
        open_accordion(page)
        choose_lora(page, SDXL)
        assert "is for SDXL" in status(page) and not remember_button(page).is_visible()
        # as one who has pressed it before the page's answer has come
        remember_button(page).evaluate("button => button.click()")
        page.locator("#script_txt2img_lcm_messages .lcm-warnings li", has_text="is for SDXL").first.wait_for()
        assert "remembered" not in plan(webui)["status"]

    def test_an_open_list_stays_as_it_is_while_the_page_asks_for_news(self, page):
        open_accordion(page)
        entries = open_lora_list(page)
        listed = entries.all_inner_texts()
        assert len(listed) >= 4
        for _ in range(3):
            page.locator("#script_txt2img_lcm_refresh").first.evaluate("button => button.click()")
            settle(page)
        assert entries.all_inner_texts() == listed
        entries.filter(has_text="None").first.click()
        wait_for_status(page, "no LoRA")
        assert entry(page) == "None"

    @both_profiles
    def test_it_follows_the_checkpoint(self, page, webui, copy):
        open_accordion(page)
        refresh(page)
        choose_lora(page, "my_own")
        assert "· my_own ·" in status(page)
        with webui.settings(sd_model_checkpoint=webui.sdxl):
            webui.txt2img(PROMPT, checkpoint=webui.sdxl, steps=1, cfg_scale=1)  # Forge loads it no sooner
            refresh(page)
            assert entry(page) == "my_own · SD 1.5, not for SDXL" and "'my_own' is for SD 1.5" in status(page)
            assert listed_loras(page)[:4] == [f"Auto · {SDXL}", "Best installed", "None", f"{SDXL} · SDXL"]
        webui.loaded()

    @pytest.mark.profiles("forge")
    def test_it_does_not_speak_of_a_checkpoint_that_is_no_longer_selected(self, page, webui):
        if not webui.is_new_forge:
            pytest.skip("this WebUI loads a checkpoint when it is selected")
        open_accordion(page)
        with webui.settings(sd_model_checkpoint=webui.sdxl):
            refresh(page)
            assert (
                entry(page) == "Auto"
                and f"{SD15} · SD 1.5" in listed_loras(page)
                and f"{SDXL} · SDXL" in listed_loras(page)
            )
        refresh(page)
        assert entry(page) == f"Auto · {SD15}"

    def test_pasting_keeps_the_choice(self, page, webui, copy):
        for lora, shown in ((copy, "my_own · SD 1.5"), ("auto", f"Auto · {SD15}")):
            made, _ = webui.txt2img(PROMPT, lcm={**AUTO, "lora": lora})
            page.fill("#txt2img_prompt textarea", made.infotext)
            page.click("#paste")
            wait_for_status(page, f"SD 1.5 · {SD15 if lora == 'auto' else copy} · ")
            settle(page)
            assert entry(page) == shown

    def test_a_files_name_is_text_and_nothing_else(self, page, webui):
        name = '<img src=x onerror=document.title=1> \U0001f600 &amp; "lcm"'
        open_accordion(page)
        with ExitStack() as stack:
            try:
                stack.enter_context(files(webui, **{name: SD15}))
            except OSError:
                pytest.skip("this disk cannot hold the name")
            refresh(page)
            assert f"{name} · SD 1.5" in listed_loras(page)
            choose_lora(page, "onerror")
            assert f"SD 1.5 · {name} · " in status(page)
            assert page.locator("#script_txt2img_lcm_enabled img").count() == 0 and page.title() != "1"
            choose_lora(page, "Auto")
        refresh(page)

    @pytest.mark.profiles("forge")
    def test_it_follows_the_checkpoint_that_the_first_generation_loads(self, own, browser, tmp_path):
        """Forge loads what is selected when a generation begins, and its page hears nothing of that: one that
        is refused, one that ends.
        """
        if not own.is_new_forge:
            pytest.skip("this WebUI loads its checkpoint when it starts")
        path = folder(own) / f"{SD15}.safetensors"
        shutil.move(path, tmp_path)
        own.client.post("/sdapi/v1/refresh-loras")
        page = open_page(browser, own.client.url)
        open_accordion(page)
        settle(page)
        assert status(page).startswith("The checkpoint is not loaded yet")
        download = page.locator("#script_txt2img_lcm_download")
        assert not download.is_visible() and entry(page) == "Auto"
        page.click("#txt2img_generate")
        wait_for_status(page, "No LCM-LoRA for SD 1.5 was found")
        download.wait_for(state="visible")
        shutil.move(tmp_path / path.name, path)
        own.client.post("/sdapi/v1/refresh-loras")
        for name, value in (("width", own.side), ("height", own.side)):
            set_host_number(page, f"txt2img_{name}", value)
        refresh(page)
        generate(page, own)
        wait_for_status(page, "4 steps: 999 759 499 259")
        settle(page)
        assert entry(page) == f"Auto · {SD15}" and not download.is_visible()
        page.close()
