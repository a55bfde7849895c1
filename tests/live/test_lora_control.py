"""The row of the LCM-LoRA in a real browser: what the drop-down shows, and what is remembered for a checkpoint."""

import shutil

import pytest

from tests.browser import needs_chromium, open_accordion, open_page, wait_until
from tests.live.page import choose_lora, listed_loras, lora_drop_down, set_host_number, wait_for_status
from tests.live.test_generation import same
from tests.live.test_loras import SD15, SDXL, files, folder, loras
from tests.prompts import PROMPT

pytestmark = [*needs_chromium, pytest.mark.profiles("a1111-1.10", "forge")]
AUTO = {"enabled": True, "steps": 2, "cfg": 1}


@pytest.fixture
def copy(webui):
    """Another LCM-LoRA for SD 1.5 on this WebUI, at another strength than the official one."""
    with files(webui, my_own=SD15) as [path]:
        from safetensors.torch import load_file, save_file

        tensors = {name: tensor * 0.5 if name.endswith("lora_up.weight") else tensor for name, tensor in load_file(path).items()}
        save_file(tensors, path, {"lcm_distillation": "{}"})
        yield "my_own"


@pytest.fixture
def page(browser, webui, copy):
    webui.loaded()
    page = open_page(browser, webui.client.url)
    open_accordion(page)
    wait_for_entry(page, f"Auto · {SD15}")
    yield page
    page.close()


def entry(page) -> str:
    return lora_drop_down(page).input_value().replace("\u00a0", " ")


def wait_for_entry(page, text: str) -> None:
    script = r"text => document.querySelector('#script_txt2img_lcm_lora input').value.replace(/\u00a0/g, ' ') === text"
    page.wait_for_function(script, arg=text)


def remember(page):
    return page.locator("#script_txt2img_lcm_remember").first


def plan(webui, **options) -> dict:
    return webui.loaded().post("/lcm/v1/plan", {"args": [{**AUTO, **options}], "prompt": PROMPT})


def test_it_shows_what_auto_means_and_what_each_lora_is_for(page, webui):
    assert listed_loras(page) == [f"Auto · {SD15}", "None", f"{SD15} · SD 1.5", "my_own · SD 1.5", f"{SDXL} · SDXL, not for SD 1.5"]
    assert not remember(page).is_visible()


@pytest.mark.profiles("forge")
def test_the_row_follows_the_checkpoint_that_the_first_generation_loads(own, browser):
    """Forge loads what is selected when a generation begins, and its page hears nothing of that."""
    if own.name != "forge":
        pytest.skip("this WebUI loads its checkpoint when it starts")
    page = open_page(browser, own.client.url)
    page.wait_for_selector("#script_txt2img_lcm_status [data-lcm-pending], .lcm-plan", state="attached")
    page.evaluate("""window.lcmTestClicks = [];
        document.querySelector('#script_txt2img_lcm_refresh').addEventListener('click', () => window.lcmTestClicks.push(Date.now()))""")
    for name, value in (("width", own.side), ("height", own.side), ("steps", 2)):
        set_host_number(page, f"txt2img_{name}", value)
    page.wait_for_function("window.lcmTestClicks.length >= 4")  # the next time that the page would ask by itself is far
    page.click("#txt2img_generate")
    wait_for_status(page, "4 steps: 999 759 499 259")
    wait_for_entry(page, f"Auto · {SD15}")
    gaps = page.evaluate("window.lcmTestClicks.map((time, index, all) => index ? time - all[index - 1] : 0)")
    assert min(gaps[4:]) < 2500, "it asked as late as it would have done without a generation"
    page.close()


@pytest.mark.profiles("forge")
def test_the_row_does_not_speak_of_a_checkpoint_that_is_no_longer_selected(page, webui):
    if webui.name != "forge":
        pytest.skip("this WebUI loads a checkpoint when it is selected")
    with webui.settings(sd_model_checkpoint=webui.sdxl):
        page.locator("#script_txt2img_lcm_refresh").first.click()
        wait_for_entry(page, "Auto")
        assert set(listed_loras(page)) == {"Auto", "None", f"{SD15} · SD 1.5", "my_own · SD 1.5", f"{SDXL} · SDXL"}
    page.locator("#script_txt2img_lcm_refresh").first.click()
    wait_for_entry(page, f"Auto · {SD15}")


@pytest.mark.profiles("forge")
def test_the_download_is_offered_when_the_first_generation_is_refused_for_want_of_the_file(own, browser, tmp_path):
    if own.name != "forge":
        pytest.skip("this WebUI loads its checkpoint when it starts")
    page = open_page(browser, own.client.url)
    open_accordion(page)
    path = folder(own) / f"{SD15}.safetensors"
    shutil.move(path, tmp_path)
    own.client.post("/sdapi/v1/refresh-loras")
    page.wait_for_timeout(9_000)
    assert not page.locator("#script_txt2img_lcm_download").is_visible()
    page.click("#txt2img_generate")
    page.locator("#script_txt2img_lcm_download").wait_for(state="visible")
    wait_for_status(page, "No LCM-LoRA for SD 1.5 was found")
    page.close()


def test_an_open_list_stays_as_it_is_while_the_page_asks_for_news(page, webui):
    page.wait_for_timeout(3_000)  # the page has asked by itself for the last time
    lora_drop_down(page).click()
    options = page.locator("#script_txt2img_lcm_lora ul.options li")
    options.first.wait_for()
    listed = options.all_inner_texts()
    assert len(listed) == 5
    for _ in range(3):
        page.locator("#script_txt2img_lcm_refresh").first.evaluate("button => button.click()")
        page.wait_for_timeout(1_000)
    assert options.all_inner_texts() == listed
    options.filter(has_text="None").first.click()
    wait_for_status(page, "no LoRA")
    assert entry(page) == "None"


def test_it_follows_the_checkpoint(page, webui):
    choose_lora(page, "my_own")
    wait_for_status(page, "· my_own ·")
    try:
        webui.client.post("/sdapi/v1/options", {"sd_model_checkpoint": webui.sdxl})
        webui.txt2img(PROMPT, checkpoint=webui.sdxl, steps=1, cfg_scale=1)  # Forge loads it no sooner
        page.locator("#script_txt2img_lcm_refresh").first.click()
        wait_for_entry(page, "my_own · SD 1.5, not for SDXL")
        wait_for_status(page, "'my_own' is for SD 1.5")
        assert listed_loras(page)[:3] == [f"Auto · {SDXL}", "None", f"{SDXL} · SDXL"]
    finally:
        webui.client.post("/sdapi/v1/options", {"sd_model_checkpoint": webui.sd15})
        webui.loaded()


def test_a_choice_is_remembered_for_the_checkpoint_everywhere_until_it_is_forgotten(page, webui, copy):
    explicit, _ = webui.txt2img(PROMPT, lcm={**AUTO, "lora": copy})
    official, _ = webui.txt2img(PROMPT, lcm=AUTO)
    assert not same(explicit.image, official.image)

    choose_lora(page, "my_own")
    remember(page).wait_for(state="visible")
    assert remember(page).inner_text() == "Remember my_own for this checkpoint"
    remember(page).click()
    try:
        wait_for_entry(page, "Auto · my_own, remembered")
        wait_for_status(page, "SD 1.5 · my_own (remembered for this checkpoint) · ")
        made, calls = webui.txt2img(PROMPT, lcm=AUTO)
        assert same(made.image, explicit.image) and loras(calls) == [[copy]] * 2 and f"LCM LoRA: {copy}" in made.infotext
        tagged, calls = webui.txt2img(f"{PROMPT} <lora:{SDXL}:1>", lcm=AUTO)
        assert same(tagged.image, explicit.image) and loras(calls) == [[copy]] * 2
        assert (plan(webui)["lora"], plan(webui)["lora_reason"]) == (copy, "it is remembered for this checkpoint")
        assert webui.client.get("/lcm/v1/status")["lora"] == copy
        named, _ = webui.txt2img(PROMPT, lcm={**AUTO, "lora": SD15})
        assert same(named.image, official.image)
        _, calls = webui.txt2img(PROMPT, checkpoint=webui.sdxl, lcm=AUTO)
        assert loras(calls) == [[SDXL]] * 2
        webui.loaded()

        # an infotext draws its own picture, whatever is remembered
        for picture in (official, explicit) if webui.reads_infotexts else ():
            answer = webui.txt2img_of_infotext(picture.infotext)
            assert answer["info"] and same(decoded(answer), picture.image)

        another = open_page(page.context.browser, webui.client.url)
        open_accordion(another)
        wait_for_entry(another, "Auto · my_own, remembered")
        wait_until(another, lambda: remember(another).inner_text() == "Forget my_own for this checkpoint")
        another.close()
    finally:
        remember(page).click()
        wait_for_entry(page, f"Auto · {SD15}")
    remember(page).wait_for(state="hidden")
    assert same(webui.txt2img(PROMPT, lcm=AUTO)[0].image, official.image)
    assert "remembered" not in plan(webui)["status"]


def decoded(answer):
    from workbench.client import decode_image

    return decode_image(answer["images"][0])


def test_none_can_be_remembered_for_a_checkpoint_that_is_itself_an_lcm(page, webui):
    bare, _ = webui.txt2img(PROMPT, lcm={**AUTO, "lora": "none"})
    choose_lora(page, "None")
    remember(page).click()
    try:
        wait_for_entry(page, "Auto · None, remembered")
        wait_for_status(page, "no LoRA (remembered for this checkpoint)")
        made, calls = webui.txt2img(PROMPT, lcm=AUTO)
        assert loras(calls) == [[], []] and same(made.image, bare.image) and "LCM LoRA: None" in made.infotext
    finally:
        remember(page).click()
        wait_for_entry(page, f"Auto · {SD15}")


def test_a_remembered_file_that_vanished_is_named_and_auto_is_as_before(page, webui, copy):
    official, _ = webui.txt2img(PROMPT, lcm=AUTO)
    choose_lora(page, "my_own")
    remember(page).click()
    try:
        wait_for_entry(page, "Auto · my_own, remembered")
        path = next(lora["path"] for lora in webui.client.get("/sdapi/v1/loras") if lora["name"] == copy)
        with moved_away(path):
            made, _ = webui.txt2img(PROMPT, lcm=AUTO)
            assert same(made.image, official.image)
            assert "so Auto took lcm_lora_sd15" in webui.comments
            (message,) = plan(webui)["messages"]
            assert "cannot be used, so Auto took lcm_lora_sd15" in message and "'my_own' is not in the LoRA folder" in message
    finally:
        page.locator("#script_txt2img_lcm_refresh").first.click()
        remember(page).click()
        wait_for_entry(page, f"Auto · {SD15}")


class moved_away:  # noqa: N801 (used like a function)
    def __init__(self, path):
        import pathlib

        self.path = pathlib.Path(path)
        self.elsewhere = self.path.with_suffix(".away")

    def __enter__(self):
        self.path.rename(self.elsewhere)

    def __exit__(self, *exc_info):
        self.elsewhere.rename(self.path)


def test_a_lora_for_another_family_is_not_remembered(page, webui):
    choose_lora(page, SDXL)
    wait_for_status(page, "is for SDXL")
    assert not remember(page).is_visible()
    remember(page).evaluate("button => button.click()")  # as one who has pressed it before the page's answer has come
    page.wait_for_timeout(500)
    wait_for_status(page, "is for SDXL")
    assert "remembered" not in plan(webui)["status"]


def test_pasting_and_sending_keep_the_choice(page, webui, copy):
    made, _ = webui.txt2img(PROMPT, lcm={**AUTO, "lora": copy})
    page.fill("#txt2img_prompt textarea", made.infotext)
    page.click("#paste")
    wait_for_entry(page, "my_own · SD 1.5")
    wait_for_status(page, "· my_own ·")
    auto, _ = webui.txt2img(PROMPT, lcm=AUTO)
    page.fill("#txt2img_prompt textarea", auto.infotext)
    page.click("#paste")
    wait_for_entry(page, f"Auto · {SD15}")


def test_a_files_name_is_text_and_nothing_else(page, webui):
    name = '<img src=x onerror=document.title=1> \U0001f600 &amp; "lcm"'
    try:
        with files(webui, **{name: SD15}):
            page.locator("#script_txt2img_lcm_refresh").first.click()
            wait_until(page, lambda: f"{name} · SD 1.5" in listed_loras(page))
            choose_lora(page, "onerror")
            wait_for_status(page, f"SD 1.5 · {name} · ")
            assert page.locator("#script_txt2img_lcm_enabled img").count() == 0 and page.title() != "1"
    except OSError:
        pytest.skip("this disk cannot hold the name")


def test_a_file_that_appears_is_listed_after_a_refresh(page, webui):
    with files(webui, new_one=SDXL):
        page.locator("#script_txt2img_lcm_refresh").first.click()
        wait_until(page, lambda: "new_one · SDXL, not for SD 1.5" in listed_loras(page))
