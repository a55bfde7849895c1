"""How long a live picture takes: from the last key to the picture in the page, against the bare generation.

`python -m benchmarks.live_latency [--rounds N] [--side PIXELS] [--sd-vae]`, on the workbench in a process of
its own and in Chromium. The bare generation is the same picture over the API, timed at the client. All by
turns; medians. What counts is (live - debounce) / bare.

A draft is a live picture where the WebUI has its tiny decoder: here one of TAESD's size. The small model's
own VAE is smaller than that; with --sd-vae it has one of Stable Diffusion's size, whose share of the time is
then larger than it is beside a UNet of that size. Both are untrained, on which time does not depend.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks import clock

PROMPT = "a big red cross on a blue mosaic"
STEPS = 4
SEED = 1
AIM = 1.25
SD_VAE = {"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "norm_num_groups": 32}
TINY_DECODER = Path("VAE-taesd") / "taesd_decoder.pth"
WARM_UP = 2
TIMEOUT = 120_000  # ms

# From the event of the last key to the moment when the browser has the picture: both in the page's own clock.
WATCH = """
() => {
    window.lcmBench = { key: null, picture: null };
    const field = document.querySelector('#txt2img_prompt textarea');
    field.addEventListener('input', () => { lcmBench.key = performance.now(); lcmBench.picture = null; },
    true);
    const gallery = document.querySelector('#txt2img_gallery');
    gallery.addEventListener('load', (event) => {
        if (event.target.src.includes('lcm-live-')
        && lcmBench.picture === null) lcmBench.picture = performance.now();
    }, true);
}
"""


def live_seconds(page, key: str) -> float:
    """Presses a key in the prompt; seconds until its picture is there."""
    page.locator("#txt2img_prompt textarea").first.press(key)
    page.wait_for_function(
        "lcmBench.key !== null && lcmBench.picture !== null && lcmBench.picture > lcmBench.key",
        timeout=TIMEOUT,
    )
    return page.evaluate("(lcmBench.picture - lcmBench.key) / 1000")


def prepare(models: Path, has_sd_vae: bool) -> list[str]:
    """Fills a folder with the SD 1.5 checkpoint, its LCM-LoRA and the tiny decoder, and gives the arguments
    that make the workbench use it.
    """
    from diffusers import AutoencoderKL

    from workbench.small_models import CHECKPOINTS, LORAS, VAE_CONFIG, load_checkpoint, save_checkpoint
    from workbench.tiny_decoder import build_tiny_decoder, save_tiny_decoder

    (models / "Lora").mkdir(parents=True)
    shutil.copy(LORAS / "lcm_lora_sd15.safetensors", models / "Lora")
    model = load_checkpoint(CHECKPOINTS / "small-sd15.safetensors")
    if has_sd_vae:
        model.vae = AutoencoderKL(**{**VAE_CONFIG, **SD_VAE})
    save_checkpoint(model, models / "Stable-diffusion" / "small-sd15.safetensors")
    save_tiny_decoder(build_tiny_decoder(), models / TINY_DECODER)
    return ["--ckpt-dir", str(models / "Stable-diffusion"), "--lora-dir", str(models / "Lora")]


def decoding_seconds(models: Path, side: int) -> dict[str, float]:
    """What VAE and tiny decoder take for a picture, in this process."""
    import torch

    from workbench.small_models import load_checkpoint
    from workbench.tiny_decoder import build_tiny_decoder

    model = load_checkpoint(models / "Stable-diffusion" / "small-sd15.safetensors")
    tiny = build_tiny_decoder()
    latents = torch.randn(1, 4, side // 8, side // 8)
    with torch.no_grad():
        actions = {"vae": lambda: model.decode_latents(latents), "tiny_decoder": lambda: tiny(latents)}
        return {name: seconds[clock.WALL] for name, seconds in clock.alternate(actions, 5, 1).items()}


def bare_seconds(client, prompt: str, side: int) -> float:
    """The same picture over the API."""
    start = time.perf_counter()
    client.txt2img(
        prompt, lcm={"enabled": True, "steps": STEPS, "cfg": 1}, seed=SEED, width=side, height=side
    )
    return time.perf_counter() - start


def open_live_page(browser, url: str, side: int):
    """The page with Live ticked, after its first picture."""
    from tests.browser import open_accordion, open_page
    from tests.live.page import settle

    page = open_page(browser, url)
    page.locator("#script_txt2img_lcm_enabled").wait_for()
    for name, value in (("width", side), ("height", side), ("seed", SEED)):
        field = page.locator(f"#txt2img_{name} input[type=number]").first
        field.fill(str(value))
        field.press("Tab")
    page.fill("#txt2img_prompt textarea", PROMPT)
    open_accordion(page)
    page.locator("#script_txt2img_lcm_live input[type=checkbox]").first.check()
    page.wait_for_selector("#txt2img_gallery img[src*=lcm-live]", timeout=TIMEOUT)
    settle(page)
    page.evaluate(WATCH)
    page.locator("#txt2img_prompt textarea").first.press("End")
    return page


def measure(browser, server, models: Path, rounds: int, side: int) -> dict:
    """Medians in seconds on a `workbench.server.Server` with the arguments of `prepare`, and their ratio
    without the debounce.
    """
    taken: dict[str, list[float]] = {"live": [], "draft": [], "bare": []}
    there, away = models / TINY_DECODER, models / "away.pth"
    there.rename(away)
    page = open_live_page(browser, server.url, side)
    debounce = page.evaluate("opts.lcm_live_debounce")
    for one in range(-WARM_UP, rounds):
        ways = ("live", "draft") if one % 2 == 0 else ("draft", "live")
        seconds = {}
        for way, key in zip(ways, ("x", "Backspace"), strict=True):
            if way == "draft":
                os.replace(away, there)
            seconds[way] = live_seconds(page, key)
            if way == "draft":
                os.replace(there, away)
        seconds["bare"] = bare_seconds(server.client, PROMPT + "x" * (one % 2), side)
        if one >= 0:
            for way, figure in seconds.items():
                taken[way].append(figure)
    page.close()
    figures = {way: statistics.median(all_of_it) for way, all_of_it in taken.items()}
    figures |= {"debounce": debounce, "ratio": (figures["live"] - debounce) / figures["bare"]}
    return {"rounds": rounds, "side": side, "steps": STEPS, **figures, **decoding_seconds(models, side)}


def report(figures: dict) -> None:
    """Prints the figures of `measure`."""
    print(f"{figures['side']}x{figures['side']}, {figures['steps']} steps, medians of {figures['rounds']}")
    for name, label in (
        ("live", "last key to picture, s"),
        ("debounce", "of that debounce, s"),
        ("bare", "bare generation, s"),
        ("vae", "of that the VAE's decoding, s"),
        ("draft", "last key to draft, s"),
        ("tiny_decoder", "of that the tiny decoder, s"),
    ):
        print(f"{label:34}{figures[name]:10.3f}")
    print(f"{'share of decoding in bare':34}{figures['vae'] / figures['bare']:10.0%}")
    print(f"{'(live - debounce) / bare':34}{figures['ratio']:10.3f}   (to reach: {AIM} at most)")


def main(arguments: list[str] | None = None) -> None:
    from playwright.sync_api import sync_playwright

    from tests.browser import CHROMIUM, FLAGS
    from workbench.server import Server

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.live_latency", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=15, help="how many pictures are measured each way (15)")
    parser.add_argument("--side", type=int, default=512, help="width and height of the pictures (512)")
    parser.add_argument("--sd-vae", action="store_true", help="with a VAE of Stable Diffusion's size")
    args = parser.parse_args(arguments)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        models = Path(folder) / "models"
        with Server(["--data-dir", folder, *prepare(models, args.sd_vae)]) as server:
            figures = measure(browser, server, models, args.rounds, args.side)
        browser.close()
    figures["sd_vae"] = args.sd_vae
    report(figures)
    print(f"Written to {clock.save('live_latency', figures).relative_to(clock.RESULTS.parent.parent)}.")


if __name__ == "__main__":
    main()
