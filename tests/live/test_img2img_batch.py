"""img2img's batch: one processing object for many pictures, each with the parameters that it carries ("Append
png info to prompts").
"""

import json

import pytest
from PIL import Image, PngImagePlugin

from tests.browser import needs_chromium, open_accordion, wait_until
from tests.live.page import open_tab, set_host_number, settle
from tests.live.profiles import one_profile
from tests.live.test_generation import fields
from tests.prompts import OTHER, PROMPT

pytestmark = [*needs_chromium, one_profile]
GRID_AT_HALF = [499, 379, 259, 139]
PROPERTIES = ("Prompt", "Negative prompt", "Seed", "CFG scale", "Sampler", "Steps")


class Batch:
    """The batch tab of a page, with a folder of pictures to start from and one for those that are made."""

    def __init__(self, page, webui, folder):
        self.page, self.webui = page, webui
        self.input, self.output = folder / "in", folder / "out"
        self.input.mkdir()
        self.output.mkdir()

    def add(self, infotext: str) -> None:
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", infotext)
        number = len(list(self.input.iterdir()))
        side = self.webui.side
        Image.new("RGB", (side, side), (40 * number, 90, 160)).save(
            self.input / f"{number}.png", pnginfo=info
        )

    def tick(self, label: str) -> None:
        """A checkbox of the tab, which may be in a closed accordion."""
        box = self.page.locator(
            "#img2img_batch_tab label", has=self.page.locator(f"xpath=.//span[normalize-space()='{label}']")
        )
        box.locator("input").first.evaluate("box => box.checked || box.click()")

    def fill(self, name: str, text: str) -> None:
        self.page.locator(f"#img2img_batch_{name} textarea, #img2img_batch_{name} input").first.evaluate(
            "(field, text) => { field.value = text; field.dispatchEvent(new Event('input', {bubbles:"
            " true})); }",
            text,
        )

    def open(self, strength=0.5) -> None:
        page = self.page
        open_tab(page, "img2img")
        page.locator("#mode_img2img > .tab-nav > button", has_text="Batch").first.click()
        source = page.locator("#img2img_batch_source > .tab-nav > button", has_text="From directory")
        if source.count():
            source.first.click()
        self.fill("input_dir", str(self.input))
        self.fill("output_dir", str(self.output))
        self.tick("Append png info to prompts")
        for name in PROPERTIES:
            self.tick(name)
        page.fill("#img2img_prompt textarea", "")
        for name, value in (
            ("width", self.webui.side),
            ("height", self.webui.side),
            ("denoising_strength", strength),
        ):
            set_host_number(page, f"img2img_{name}", value)
        settle(page)

    def _ended(self) -> int:
        return sum(
            event["callback"] == "postprocess" for event in self.webui.client.get("/lcm-test-probe/events")
        )

    def run(self) -> tuple[list[list[int]], list[dict], list[dict], str]:
        """For each picture in order: its timesteps and loaded LoRAs, its infotext's fields; then what was
        seen, and the comments.
        """
        client = self.webui.client
        client.request("DELETE", "/lcm-test-probe/calls")
        for file in self.output.rglob("*.png"):
            file.unlink()
        count = len(list(self.input.iterdir()))
        self.page.click("#img2img_generate")
        wait_until(self.page, lambda: self._ended() == count)
        events = client.get("/lcm-test-probe/events")
        made = sorted(self.output.rglob("*.png"), key=lambda file: (file.stat().st_mtime_ns, file.name))
        infotexts = [fields(Image.open(file).info["parameters"]) for file in made]
        comments = "".join(event["comments"] for event in events if event["callback"] == "postprocess")
        return (
            self.webui.calls(),
            infotexts,
            [event for event in events if event["callback"] == "process"],
            comments,
        )


@pytest.fixture
def batch(webui, page, tmp_path):
    if webui.server is None:
        pytest.skip("a running WebUI may not be able to read this machine's folders")
    with webui.settings(samples_save=True):  # an installed WebUI is started with it off, for speed
        yield Batch(page, webui, tmp_path)


def infotext(prompt, *, negative="", steps=20, sampler="Euler a", cfg=7, seed=1, more="") -> str:
    negative = f"Negative prompt: {negative}\n" if negative else ""
    return (
        f"{prompt}\n{negative}Steps: {steps}, Sampler: {sampler}, CFG scale: {cfg}, Seed: {seed}, Size:"
        f" 64x64{more}"
    )


LCM_KEYS = ("LCM LoRA", "LCM weight", "LCM schedule")
MADE_WITH_LCM = ", LCM LoRA: lcm_lora_sd15, LCM weight: 1, LCM schedule: Trailing"


def test_every_picture_is_planned_anew_with_lcm_on(batch, webui):
    batch.add(infotext(PROMPT, seed=11))
    batch.add(infotext(f"{OTHER} <lora:lcm_lora_sd15:0.5>", steps=30, cfg=9, seed=12, negative="blurry"))
    batch.add(infotext(PROMPT, steps=4, cfg=1, sampler="LCM", seed=13, more=MADE_WITH_LCM))
    batch.open()
    open_accordion(batch.page, "img2img")
    calls, infotexts, seen, _ = batch.run()
    assert [call["timesteps"][0] for call in calls] == GRID_AT_HALF * 3
    assert all(call["loras"] == ["lcm_lora_sd15"] for call in calls)
    assert [event["seed"] for event in seen] == [11, 12, 13]
    assert [one["Seed"] for one in infotexts] == ["11", "12", "13"]
    for one, weight in zip(infotexts, ("1", "0.5", "1"), strict=True):
        assert (one["Steps"], one["CFG scale"], one["Sampler"]) == ("4", "1", "LCM")
        assert (one["LCM LoRA"], one["LCM weight"], one["LCM schedule"]) == (
            "lcm_lora_sd15",
            weight,
            "Trailing",
        )


def test_nothing_of_a_picture_with_a_tag_is_left_for_the_next_one(batch, webui):
    """With the setting that a tag switches LCM on, a batch has pictures with LCM and without it, one after
    another.
    """
    batch.add(infotext(f"{PROMPT} <lora:lcm_lora_sd15:0.7>", seed=21))
    batch.add(infotext(PROMPT, steps=6, cfg=3, seed=22))
    batch.add(infotext(f"{OTHER} <lora:lcm_lora_sd15:1>", steps=5, cfg=1.5, seed=23))
    batch.open()
    with webui.settings(lcm_typed_tag="switch LCM on"):
        calls, infotexts, _, comments = batch.run()
    assert [one["Seed"] for one in infotexts] == ["21", "22", "23"]
    first, plain, third = infotexts
    assert (first["Steps"], float(first["CFG scale"]), first["LCM weight"]) == ("8", 2, "0.7")
    assert (plain["Steps"], float(plain["CFG scale"]), plain["Sampler"]) == ("6", 3, "Euler a")
    assert [key for key in LCM_KEYS if key in plain] == []
    assert (third["Steps"], float(third["CFG scale"]), third["LCM weight"]) == ("5", 1.5, "1")
    loras = [call["loras"] for call in calls]
    plain_calls = [index for index, names in enumerate(loras) if not names]
    assert plain_calls == list(range(8, len(calls) - 5)) and len(plain_calls) in (3, 4), loras
    assert all(names == ["lcm_lora_sd15"] for index, names in enumerate(loras) if index not in plain_calls)
    assert "Steps 20 → 8" in comments and "CFG 7 → 2" in comments


@pytest.mark.profiles("a1111-1.10", "a1111-1.6")
def test_with_lcm_off_there_is_no_trace_but_a_warning_where_a_picture_made_with_it_is_taken_as_it_is(
    batch, webui
):
    batch.add(infotext(PROMPT, steps=5, cfg=3, seed=31))
    if webui.has_own_lcm:
        batch.add(infotext(PROMPT, steps=4, cfg=1, sampler="LCM", seed=32, more=MADE_WITH_LCM))
    batch.open()
    calls, infotexts, _, comments = batch.run()
    assert calls and all(call["loras"] == [] for call in calls)
    assert all(key not in one for one in infotexts for key in LCM_KEYS), json.dumps(infotexts)
    assert infotexts[0]["Sampler"] == "Euler a"
    warning = "The picture that this one starts from was made with LCM, and LCM is off"
    assert (warning in comments) == webui.has_own_lcm
