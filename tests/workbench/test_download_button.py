"""The buttons that get the missing LCM-LoRA and any other published LoRA, against a hub on this machine."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.browser import open_accordion, open_page, wait_until, with_chromium
from tests.hub import Hub, small_lora
from tests.live.page import (
    choose_lora,
    listed_loras,
    lora_drop_down,
    settle,
    wait_for_status,
    wait_for_status_to_begin,
    warnings,
)
from tests.live.panel import Panel
from tests.prepared import Server
from tests.waiting import wait_for
from workbench.client import ApiError
from workbench.small_models import LORAS

SMALL_CATALOG = Path(__file__).parent / "small_catalog"


@pytest.fixture
def hub():
    server = Hub()
    yield server
    server.stop()


def without_loras(tmp_path, hub, *arguments) -> Server:
    """A workbench with an empty LoRA folder."""
    (tmp_path / "Lora").mkdir()
    folders = ["--data-dir", str(tmp_path / "data"), "--lora-dir", str(tmp_path / "Lora")]
    return Server([*folders, *arguments], environment=hub.environment)


def opened(browser, server):
    page = open_page(browser, server.url)
    open_accordion(page)
    button = page.locator("#script_txt2img_lcm_download").first
    button.wait_for(state="visible")
    wait_for_status(page, "No LCM-LoRA for SD 1.5 was found")
    return page, button


@with_chromium
@pytest.mark.parametrize("arguments", [[], ["--no-gradio-queue"]], ids=["", "without gradio's queue"])
def test_a_missing_lora_can_be_fetched_from_the_page(browser, hub, tmp_path, arguments):
    hub.content = (LORAS / "lcm_lora_sd15.safetensors").read_bytes()
    hub.script = ["cut"]
    with without_loras(tmp_path, hub, "--extension", str(SMALL_CATALOG), *arguments) as server:
        page, button = opened(browser, server)
        assert (
            button.inner_text().startswith("Download lcm_lora_sd15 (")
            and "licence OpenRAIL++" in button.inner_text()
        )
        assert not hub.requests, "something was downloaded that nobody had asked for"
        button.click()
        wait_for_status_to_begin(page, "SD 1.5 · lcm_lora_sd15 · ")
        button.wait_for(state="hidden")
        wait_until(page, lambda: lora_drop_down(page).input_value().endswith("lcm_lora_sd15"))
        assert (tmp_path / "Lora" / "lcm_lora_sd15.safetensors").read_bytes() == hub.content
        assert len(hub.requests) == 2, "it did not go on after the connection broke"
        made = server.client.txt2img("a star", lcm={"enabled": True, "steps": 1, "cfg": 1})
        assert "LCM LoRA: lcm_lora_sd15" in made.infotext
        page.close()


def test_it_can_be_fetched_over_the_api(hub, tmp_path):
    hub.content = (LORAS / "lcm_lora_sd15.safetensors").read_bytes()
    with without_loras(tmp_path, hub, "--extension", str(SMALL_CATALOG)) as server:
        asked = server.client.post("/lcm/v1/download", {"family": "sd15"})
        assert (asked["name"], asked["state"], asked["installed"]) == ("lcm_lora_sd15", "running", None)
        wait_for(lambda: server.client.get("/lcm/v1/download")["downloads"][0]["state"] != "running")
        state = server.client.get("/lcm/v1/download")["downloads"][0]
        assert state["family"] == "sd15"
        assert (state["state"], state["installed"], state["problem"]) == ("done", "lcm_lora_sd15", None)
        assert state["bytes_done"] == state["bytes_total"] == len(hub.content)
        made = server.client.txt2img("a star", lcm={"enabled": True, "steps": 1, "cfg": 1})
        assert "LCM LoRA: lcm_lora_sd15" in made.infotext


@pytest.mark.parametrize("first", ["the page", "the API"])
def test_page_and_api_follow_the_same_download(hub, tmp_path, first):
    hub.content = (LORAS / "lcm_lora_sd15.safetensors").read_bytes()
    hub.script = ["stall"]
    with without_loras(tmp_path, hub, "--extension", str(SMALL_CATALOG)) as server:
        (tmp_path / "Lora" / "lcm_lora_sd15.safetensors.part").write_bytes(hub.content[:1000])
        panel = Panel(server.client)
        panel.ask(enabled=True)

        def press():
            return panel.press("download")

        def ask():
            return server.client.post("/lcm/v1/download", {"family": "sd15"})["state"]

        def state():
            return server.client.get("/lcm/v1/download")["downloads"][0]

        with ThreadPoolExecutor() as threads:
            pressed = threads.submit(press) if first == "the page" else ask()
            wait_for(lambda: hub.requests)
            assert (state()["state"], state()["bytes_done"]) == ("running", 1000)
            if first == "the page":
                assert ask() == "running"
            else:
                pressed = threads.submit(press)
            hub.may_go_on.set()
            assert pressed.result(60) is None
        assert (state()["state"], state()["installed"]) == ("done", "lcm_lora_sd15")
        assert hub.ranges[0] == "bytes=1000-" and len(hub.ranges) == 2, "two downloads ran side by side"


@with_chromium
def test_what_is_chosen_during_a_download_stays_chosen(browser, hub, tmp_path):
    hub.content = (LORAS / "lcm_lora_sd15.safetensors").read_bytes()
    hub.script = ["stall"]
    with without_loras(tmp_path, hub, "--extension", str(SMALL_CATALOG)) as server:
        page, button = opened(browser, server)
        button.click()
        wait_until(page, lambda: hub.requests)
        page.locator("#script_txt2img_lcm_progress").get_by_text("lcm_lora_sd15 - ").first.wait_for()
        choose_lora(page, re.compile(r"None\s*$"))
        wait_for_status_to_begin(page, "SD 1.5 · no LoRA · ")
        hub.may_go_on.set()
        button.wait_for(state="hidden")
        wait_until(page, lambda: "lcm_lora_sd15 · SD 1.5" in listed_loras(page))
        assert lora_drop_down(page).input_value() == "None"
        assert (tmp_path / "Lora" / "lcm_lora_sd15.safetensors").exists()
        page.close()


def test_a_failure_is_one_sentence(hub, tmp_path):
    with without_loras(tmp_path, hub) as server:
        panel = Panel(server.client)
        answer = panel.ask(enabled=True)
        assert answer.line.startswith("No LCM-LoRA for SD 1.5 was found")
        assert answer.download == "Download lcm_lora_sd15 (135 MB, licence OpenRAIL++)"
        problem = panel.press("download")
        assert "(HTTP 404)" in problem and panel.ask(problem, enabled=True).warnings == [problem]
        assert "latent-consistency/lcm-lora-sdv1-5" in hub.requests[0][0]
    assert list((tmp_path / "Lora").glob("*.safetensors")) == []


# --- any published LoRA -------------------------------------------------------------------------------------


def entry_of(server, name: str) -> dict:
    return next(one for one in server.client.get("/lcm/v1/download")["downloads"] if one["name"] == name)


def fetched(server, body: dict) -> dict:
    """What GET says of it when its download has ended."""
    name = server.client.post("/lcm/v1/download", body)["name"]
    wait_for(lambda: entry_of(server, name)["state"] != "running")
    return entry_of(server, name)


def test_every_published_lora_can_be_fetched_over_the_api(hub, tmp_path):
    with without_loras(tmp_path, hub, "--extension", str(SMALL_CATALOG)) as server:
        hub.content = small_lora("tcd_sd15")
        tcd = fetched(server, {"name": "tcd_sd15"})
        assert (tcd["state"], tcd["installed"], tcd["problem"]) == ("done", "tcd_sd15", None)
        assert (tcd["method"], tcd["licence"], tcd["open"]) == ("tcd", "MIT", True)
        assert hub.requests[-1][0] == "/h1t/TCD-SD15-LoRA/resolve/main/pytorch_lora_weights.safetensors"
        with pytest.raises(ApiError, match="CC-BY-NC-4.0"):
            server.client.post("/lcm/v1/download", {"name": "flash_sd15"})
        hub.content = small_lora("flash_sd15")
        flash = fetched(server, {"name": "flash_sd15", "accept_licence": True})
        assert (flash["state"], flash["installed"], flash["open"]) == ("done", "flash_sd15", False)
        assert entry_of(server, "lcm_lora_sd15")["installed"] is None
        found = {one["name"]: one["method"] for one in server.client.get("/lcm/v1/status")["loras"]}
        assert found == {"tcd_sd15": "tcd", "flash_sd15": "flash"}


def test_what_is_installed_is_known_by_its_content(hub, tmp_path):
    with without_loras(tmp_path, hub, "--extension", str(SMALL_CATALOG)) as server:
        (tmp_path / "Lora" / "fast.safetensors").write_bytes(small_lora("tcd_sd15"))
        (tmp_path / "Lora" / "flash_sd15.safetensors").write_bytes(small_lora("lcm_lora_sd15"))
        wait_for(lambda: entry_of(server, "tcd_sd15")["installed"])
        assert entry_of(server, "tcd_sd15")["installed"] == "fast"
        assert entry_of(server, "flash_sd15")["installed"] is None
        panel = Panel(server.client)
        [tcd] = [one for one in panel.ask(enabled=True).offers if one.startswith("TCD")]
        assert tcd == "TCD · 135 MB · MIT · installed"


FLASH = "Flash Diffusion\u00a0·\u00a0102 MB\u00a0·\u00a0CC-BY-NC-4.0"


@with_chromium
@pytest.mark.parametrize("arguments", [[], ["--no-gradio-queue"]], ids=["", "without gradio's queue"])
def test_more_loras_can_be_fetched_from_the_page(browser, hub, tmp_path, arguments):
    hub.content = small_lora("flash_sd15")
    hub.script = ["stall"]
    with without_loras(tmp_path, hub, "--extension", str(SMALL_CATALOG), *arguments) as server:
        (tmp_path / "Lora" / "flash_sd15.safetensors.part").write_bytes(hub.content[:400_000])
        page, _ = opened(browser, server)
        drop_down, accept, button = (more_part(page, name) for name in ("lora", "accept", "download"))
        assert not drop_down.is_visible()
        page.locator("#script_txt2img_lcm_more .label-wrap").first.click()
        choose_more(page, "TCD")
        accept.wait_for(state="hidden")
        choose_more(page, "Flash Diffusion")
        accept.wait_for(state="visible")
        assert accept.inner_text().strip() == "I accept the licence CC-BY-NC-4.0: not for commercial use"
        button.click()
        wait_until(page, lambda: "flash_sd15 was not downloaded, as its" in " ".join(warnings(page)))
        assert not hub.requests
        accept.locator("input").check()
        button.click()
        if not arguments:
            more_part(page, "progress").get_by_text(re.compile(r"flash_sd15 - [1-9]")).first.wait_for()
        wait_until(page, lambda: hub.requests)
        hub.may_go_on.set()
        wait_for_status(page, "flash_sd15.safetensors is a Flash Diffusion LoRA")
        settle(page)
        assert (tmp_path / "Lora" / "flash_sd15.safetensors").read_bytes() == hub.content
        assert drop_down.locator("input").input_value().startswith(FLASH)
        drop_down.locator("input").click()
        drop_down.locator("li", has_text=f"{FLASH}\u00a0·\u00a0installed").wait_for()
        choose_more(page, "TCD")
        accept.wait_for(state="hidden")
        page.close()


def more_part(page, name: str):
    return page.locator(f"#script_txt2img_lcm_more_{name}").first


def choose_more(page, text: str) -> None:
    settle(page)
    field = more_part(page, "lora").locator("input")
    field.blur()
    field.click()
    more_part(page, "lora").locator("li", has_text=text).first.click()


def test_what_is_not_chosen_is_not_downloaded(hub, tmp_path):
    with without_loras(tmp_path, hub) as server:
        panel = Panel(server.client)
        for entry in (None, "", "nonsense", "Flash"):
            assert (
                panel.press("more_download", more_lora=entry) == "No LoRA is chosen that could be downloaded."
            )
        assert "CC-BY-NC-4.0" in panel.press("more_download", more_lora=FLASH)
        assert not hub.requests
        problem = panel.press("more_download", more_lora="TCD\u00a0·\u00a0135 MB\u00a0·\u00a0MIT")
        assert "(HTTP 404)" in problem and hub.requests[0][0].startswith("/h1t/TCD-SD15-LoRA/")
