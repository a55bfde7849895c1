"""The fold that makes a checkpoint's own LCM-LoRA, with the small checkpoints' command."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil

from lib_lcm.distill import DistillConfig
from lib_lcm.distill.run import Job
from tests import prepared
from tests.browser import open_accordion, open_page, wait_until, with_chromium
from tests.live.page import lora_drop_down, reload_ui, settle
from tests.live.panel import Panel
from tests.prepared import Server
from tests.waiting import wait_for
from workbench.server import ROOT

PROMPTS = "a big red triangle on a blue mosaic\na small white square on a black mosaic"
NAME = "lcm_lora_small-sd15"
FEW, MANY = 3, 100_000
LONGEST = 300_000  # ms: the command is a program of its own, which reads its libraries first


def without_loras(folder: Path, *arguments: str) -> Server:
    (folder / "Lora").mkdir()
    return Server(["--data-dir", str(folder / "data"), "--lora-dir", str(folder / "Lora"), *arguments])


def part(page, name: str):
    return page.locator(f"#script_txt2img_lcm_own{name}").first


def opened(browser, server: Server):
    """A fresh page of the workbench with the fold open."""
    page = open_page(browser, server.url)
    open_accordion(page)
    settle(page)
    assert not part(page, "_make").is_visible()
    part(page, "").locator(".label-wrap").first.click()
    part(page, "_make").wait_for(state="visible")
    return page


def make(page, steps: int) -> None:
    part(page, "_prompts").locator("textarea").fill(PROMPTS)
    part(page, "_steps").locator("input").fill(str(steps))
    part(page, "_pictures").locator("input").fill("8")
    settle(page)
    part(page, "_make").click()


def wait_for_said(page, text: str) -> None:
    part(page, "_said").get_by_text(text).wait_for(timeout=LONGEST)


def stop(page) -> None:
    part(page, "_stop").click()
    wait_for_said(page, "Stopped. Make goes on where it was")
    # until gradio has noticed the end of what was pressed, it loses another press
    wait_until(page, lambda: not part(page, "_said").locator(".generating").count())


def commands(server: Server) -> list[psutil.Process]:
    return [
        process
        for process in psutil.Process(server.process.pid).children()
        if "workbench.distil" in process.cmdline()
    ]


def picture(server: Server) -> np.ndarray:
    return np.asarray(server.client.txt2img("a red circle", steps=2).image)


@with_chromium
def test_a_checkpoint_gets_its_own_lora(browser, tmp_path):
    with without_loras(tmp_path) as server:
        before = picture(server)
        page = opened(browser, server)
        assert "for small-sd15.safetensors alone" in part(page, "_about").inner_text()
        assert part(page, "_name").locator("textarea, input").input_value() == NAME
        numbers = [part(page, name).locator("input").input_value() for name in ("_steps", "_pictures")]
        assert numbers == [str(DistillConfig().steps), str(Job.pictures)]  # the command's own
        make(page, FEW)
        wait_for_said(page, "Time: about")
        part(page, "_said").locator("progress").wait_for(timeout=LONGEST)

        # another page follows the same one, and the WebUI draws nothing meanwhile
        other = opened(browser, server)
        assert f"{NAME} is being made" in part(other, "_about").inner_text()
        part(other, "_make").click()
        wait_for_said(other, "Time: about")
        assert len(commands(server)) == 1
        with ThreadPoolExecutor() as threads:
            drawn = threads.submit(picture, server)
            for one in (page, other):
                wait_for_said(one, "is complete")
                part(one, "_picture").locator("img[src^='data:image/jpeg']").wait_for()
                wait_until(
                    one, lambda one=one: lora_drop_down(one).input_value().endswith("distilled from it")
                )
                assert NAME in lora_drop_down(one).input_value()
            assert (drawn.result() == before).all()
        assert sorted(path.name for path in (tmp_path / "Lora").iterdir()) == [
            f"{NAME}.png",
            f"{NAME}.safetensors",
        ]
        made = server.client.txt2img("a star", lcm={"enabled": True, "steps": 2, "cfg": 1})
        assert f"LCM LoRA: {NAME}" in made.infotext
        assert "for small-sd15.safetensors alone" in part(other, "_about").inner_text()
        part(page, "_make").click()
        wait_for_said(page, "is there already: move it")  # the command's own sentence


@with_chromium
def test_what_is_stopped_goes_on_with_the_next_press(browser, tmp_path):
    with without_loras(tmp_path) as server:
        page = opened(browser, server)
        make(page, MANY)
        wait_for_said(page, "Time: about")
        reload_ui(page, server)
        page = opened(browser, server)
        assert f"{NAME} is being made" in part(page, "_about").inner_text()
        part(page, "_make").click()
        wait_for_said(page, "distilling: ")
        with ThreadPoolExecutor() as threads:
            drawn = threads.submit(picture, server)
            stop(page)
            drawn.result()
        assert not commands(server)
        make(page, MANY)
        wait_for_said(page, "Going on with the unfinished run")


@with_chromium
def test_it_waits_for_its_turn_and_says_why_it_failed(browser, tmp_path):
    with without_loras(tmp_path) as server:
        page = opened(browser, server)
        with ThreadPoolExecutor() as threads:
            drawn = threads.submit(server.client.txt2img, "a star", steps=150, width=512, height=512)
            wait_until(page, lambda: server.client.get("/sdapi/v1/progress")["state"]["sampling_step"])
            make(page, FEW)
            wait_for_said(page, "Waits until the WebUI has drawn")
            stop(page)
            server.client.post("/sdapi/v1/interrupt")
            drawn.result()
        picture(server)
        assert not commands(server)

        make(page, -1)
        wait_for_said(page, "exit status 2 and without a sentence; its last lines: ")
        wait_for_said(page, "--steps must be at least 1")


def pressed(panel: Panel, **values) -> str:
    """What the fold says at once."""
    given = {panel.name(name): value for name, value in values.items()}
    said = panel.call(panel.name("own_make"), "click", given)[1]
    panel.call(panel.name("own_make"), "click", given)  # which gradio takes for what follows
    return said


def test_what_cannot_be_made_is_refused_in_a_sentence(tmp_path):
    with without_loras(tmp_path) as server:
        panel = Panel(server.client)
        assert "Makes an LCM-LoRA for small-sd15.safetensors alone" in panel.ask(enabled=True).own
        assert panel.ask(enabled=True).own is None  # it is not said again
        for name in ("a/b", "..\\a", "a:b"):
            assert "cannot be the name of a file" in pressed(panel, own_name=name)
        (tmp_path / "Lora").rmdir()
        assert "This WebUI has no LoRA folder" in pressed(panel, own_name="mine")


def test_without_a_checkpoint_nothing_is_made(tmp_path):
    (tmp_path / "none").mkdir()
    with without_loras(tmp_path, "--ckpt-dir", str(tmp_path / "none")) as server:
        panel = Panel(server.client)
        assert panel.ask(enabled=True).own == "No checkpoint is selected."
        assert "No checkpoint is selected: choose one" in pressed(panel)


def test_the_command_ends_with_its_webui(tmp_path):
    with without_loras(tmp_path) as server:
        pressed(Panel(server.client), own_prompts=PROMPTS, own_steps=MANY, own_pictures=8)
        folder = tmp_path / "Lora" / "lcm_lora_small-sd15.unfinished"
        wait_for(folder.is_dir, LONGEST / 1000)
        [command] = commands(server)
        server.process.kill()
        command.wait(LONGEST / 1000)


FOLLOWED = """
import json, sys
from pathlib import Path

from benchmarks.in_process import Workbench

Workbench(Path(sys.argv[1]))
from lib_lcm.webui.distilling import Run
from lib_lcm.webui.page import own_lora


class Run(Run):
    looks = 0

    @property
    def is_over(self):
        self.looks += 1
        if self.looks in (4, 8):
            self.said.append(f"look {self.looks}")
        return self.looks == 12


own_lora.LOOK_EVERY = 0
print(json.dumps([lines.count("look") for _, lines, _ in own_lora.follow(Run(Path("mine.safetensors")))]))
"""


def test_what_follows_a_run_is_told_what_changes_alone(tmp_path):
    status, printed = prepared.run("-c", FOLLOWED, str(tmp_path), cwd=ROOT)
    assert status == 0, printed
    assert json.loads(printed.splitlines()[-1]) == [0, 1, 2, 2]  # the last one says that it is over


OFF_DEVICE = """
import json, sys, types
from contextlib import suppress
from pathlib import Path

import torch
from benchmarks.in_process import Workbench

Workbench(Path(sys.argv[1]))
from lib_lcm.webui.host import models
from modules import devices, sd_models

done = []

def use():
    with suppress(ZeroDivisionError), models.off_device() as device:
        done.append(device)
        1 / 0

sd_models.send_model_to_cpu = lambda model: done.append("off")
sd_models.send_model_to_device = lambda model: done.append("back")
use()
devices.device = torch.device("cuda:1")
use()
memory = types.SimpleNamespace(unload_all_models=lambda: done.append("unloaded"))
sys.modules["backend.memory_management"] = memory
use()
print(json.dumps(done))
"""


def test_the_webui_s_model_makes_room_and_comes_back(tmp_path):
    status, printed = prepared.run("-c", OFF_DEVICE, str(tmp_path), cwd=ROOT)
    assert status == 0, printed
    assert json.loads(printed.splitlines()[-1]) == ["cpu", "off", "cuda:1", "back", "unloaded", "cuda:1"]
