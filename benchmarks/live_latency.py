"""How long a live picture takes: from the last key to the picture in the page, against the bare generation.

`python -m benchmarks.live_latency [--rounds N] [--side PIXELS]`, on the workbench in a process of its own and
in Chromium. The bare generation is the same picture over the API, timed at the client. Both by turns;
medians. What counts is (live - debounce) / bare.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

from benchmarks import clock

PROMPT = "a big red cross on a blue mosaic"
STEPS = 4
SEED = 1
AIM = 1.25
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


def measure(browser, server, rounds: int, side: int) -> dict:
    """Medians in seconds on a `workbench.server.Server`, and their ratio without the debounce."""
    live, bare = [], []
    page = open_live_page(browser, server.url, side)
    debounce = page.evaluate("opts.lcm_live_debounce")
    for one in range(-WARM_UP, rounds):
        key, prompt = ("x", PROMPT + "x") if one % 2 == 0 else ("Backspace", PROMPT)
        taken = live_seconds(page, key), bare_seconds(server.client, prompt, side)
        if one >= 0:
            live.append(taken[0])
            bare.append(taken[1])
    page.close()
    figures = {"live": statistics.median(live), "bare": statistics.median(bare), "debounce": debounce}
    figures["ratio"] = (figures["live"] - debounce) / figures["bare"]
    return {"rounds": rounds, "side": side, "steps": STEPS, **figures}


def report(figures: dict) -> None:
    """Prints the figures of `measure`."""
    print(f"{figures['side']}x{figures['side']}, {figures['steps']} steps, medians of {figures['rounds']}")
    for name, label in (
        ("live", "last key to picture, s"),
        ("debounce", "of that debounce, s"),
        ("bare", "bare generation, s"),
    ):
        print(f"{label:34}{figures[name]:10.3f}")
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
    args = parser.parse_args(arguments)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        with Server(["--data-dir", folder]) as server:
            figures = measure(browser, server, args.rounds, args.side)
        browser.close()
    report(figures)
    print(f"Written to {clock.save('live_latency', figures).relative_to(clock.RESULTS.parent.parent)}.")


if __name__ == "__main__":
    main()
