"""`python dev.py demo --check`: starts the workbench, makes pictures over its API with LCM on and off, and
checks what came out.

One line per check; exit status 0 when all hold, else 1. Pictures and contact-sheet.png are left in demo-out/.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable

from PIL import ImageChops

from workbench.client import ApiError, Client, Generated
from workbench.contact_sheet import contact_sheet
from workbench.scenes import TEACHER_CFG
from workbench.server import ROOT, Server

OUT = ROOT / "demo-out"
LCM_FOUR = {"enabled": True, "steps": 4, "cfg": 1.0}
FOUR_TIMESTEPS = [999, 759, 499, 259]
CHECKPOINTS = {
    "SD 1.5": ("small-sd15", "lcm_lora_sd15"),
    "SDXL": ("small-sdxl", "lcm_lora_sdxl"),
    "SSD-1B": ("small-ssd1b", "lcm_lora_ssd1b"),
}
ON_SHEET = ("SD 1.5", "SDXL")
"""The families of the contact sheet."""
PROMPTS = (
    "a big red cross on a blue mosaic",
    "a red triangle left of a yellow circle on a blue mosaic",
    "a white square above a purple cross on a black mosaic",
    "a big purple triangle on a white mosaic",
    "a cyan square below a black circle on a red mosaic",
    "a small blue cross on a yellow mosaic",
)


class Checks:
    """Prints one line per check and remembers whether all held."""

    def __init__(self):
        self.failed = 0

    def __call__(self, name: str, check: Callable[[], object]) -> None:
        """`check` returns what is to be shown, and raises AssertionError or ApiError where it does not
        hold.
        """
        start = time.monotonic()
        try:
            shown = check()
        except (AssertionError, ApiError) as error:
            self.failed += 1
            print(f"FAIL  {name}: {error}", flush=True)
        else:
            print(f"ok    {name}: {shown} ({time.monotonic() - start:.1f} s)", flush=True)


def expect(holds: bool, message: str) -> None:
    """An assertion that `python -O` keeps."""
    if not holds:
        raise AssertionError(message)


def same_picture(one: Generated, other: Generated) -> bool:
    return ImageChops.difference(one.image.convert("RGB"), other.image.convert("RGB")).getbbox() is None


def expect_in(parts, text: str) -> None:
    for part in parts:
        expect(part in text, f"{part!r} is not in {text!r}")


def lcm_on(client: Client, checkpoint: str, lora: str) -> str:
    client.unet_calls()
    made = client.txt2img(
        PROMPTS[0], lcm=LCM_FOUR, steps=20, cfg_scale=7, override_settings={"sd_model_checkpoint": checkpoint}
    )
    calls = client.unet_calls()
    expect(made.image.size == (64, 64), f"the picture is {made.image.size}")
    expect_in(
        [
            "Steps: 4",
            "Sampler: LCM",
            "CFG scale: 1",
            f"LCM LoRA: {lora}",
            "LCM weight: 1",
            "LCM schedule: Trailing",
        ],
        made.infotext,
    )
    expect(made.infotext.startswith(PROMPTS[0] + "\n"), "the prompt is not as typed")
    timesteps = [call["timesteps"] for call in calls]
    expect(timesteps == [[step] for step in FOUR_TIMESTEPS], f"the UNet saw {timesteps}")
    return f"4 UNet calls of 1 row at {FOUR_TIMESTEPS}, {lora}"


def lcm_off(client: Client, checkpoint: str) -> Generated:
    return client.txt2img(
        PROMPTS[0], steps=8, cfg_scale=3, override_settings={"sd_model_checkpoint": checkpoint}
    )


def off_is_untouched(client: Client, checkpoint: str) -> str:
    before = lcm_off(client, checkpoint)
    client.txt2img(PROMPTS[0], lcm=LCM_FOUR, override_settings={"sd_model_checkpoint": checkpoint})
    client.unet_calls()
    after = lcm_off(client, checkpoint)
    calls = client.unet_calls()
    expect(same_picture(before, after), "the picture without LCM changed after one with LCM")
    expect("LCM" not in after.infotext, f"a trace is left in {after.infotext!r}")
    expect([call["rows"] for call in calls] == [2] * 8, f"the UNet saw {calls}")
    return "8 UNet calls of 2 rows, bit-identical before and after LCM, no trace in the infotext"


def image_to_image(client: Client) -> str:
    start = client.txt2img(PROMPTS[0], lcm=LCM_FOUR).image
    client.unet_calls()
    made = client.img2img("a big green cross on a blue mosaic", [start], lcm=LCM_FOUR, denoising_strength=0.5)
    timesteps = [call["timesteps"] for call in client.unet_calls()]
    expect(timesteps == [[499], [379], [259], [139]], f"the UNet saw {timesteps}")
    expect_in(["Steps: 4", "Denoising strength: 0.5"], made.infotext)
    return "strength 0.5, 4 steps at [499, 379, 259, 139]"


def clamping(client: Client) -> str:
    made = client.txt2img(PROMPTS[0], lcm={"enabled": True}, steps=20, cfg_scale=7)
    expect_in(["Steps: 8", "CFG scale: 2"], made.infotext)
    return "steps 20 -> 8, CFG 7 -> 2"


def refusal(client: Client) -> str:
    try:
        client.txt2img(PROMPTS[0], lcm={"enabled": True, "cfg": 5})
    except ApiError as error:
        expect(error.status == 422, f"HTTP {error.status}")
        expect_in(["'cfg'", "5", "1 to 2"], str(error.body))
        return f"HTTP 422, {error.body['detail']}"
    raise AssertionError("a CFG scale of 5 was accepted")


def draw_sheet(client: Client) -> str:
    """Every prompt on the families of ON_SHEET: LCM in 4 steps, Euler in as many at the teacher's CFG and at
    1, the teacher in 50.
    """
    recipes = {
        "LCM\n4 steps, CFG 1": {"lcm": LCM_FOUR},
        f"Euler\n4 steps, CFG {TEACHER_CFG:g}": {"steps": 4, "cfg_scale": TEACHER_CFG},
        "Euler\n4 steps, CFG 1": {"steps": 4, "cfg_scale": 1},
        f"teacher\nEuler 50, CFG {TEACHER_CFG:g}": {"steps": 50, "cfg_scale": TEACHER_CFG},
    }
    pictures: dict[str, list] = {prompt: [] for prompt in PROMPTS}
    for family in ON_SHEET:
        checkpoint, _ = CHECKPOINTS[family]
        for seed, prompt in enumerate(PROMPTS, start=1):
            for recipe in recipes.values():
                made = client.txt2img(
                    prompt, seed=seed, override_settings={"sd_model_checkpoint": checkpoint}, **recipe
                )
                pictures[prompt].append(made.image)
                made.image.save(OUT / f"{checkpoint}-{seed}-{len(pictures[prompt])}.png")
    columns = [f"{family}, {name}" for family in ON_SHEET for name in recipes]
    path = OUT / "contact-sheet.png"
    contact_sheet(
        "LCM for the WebUI: the small models of the workbench", columns, list(pictures.items())
    ).save(path)
    return str(path)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python dev.py demo --check", description=__doc__.split("\n")[0])
    parser.add_argument("--profile", default="a1111-1.10", help="the WebUI that the workbench plays")
    parser.add_argument("--port", type=int, default=None, help="default: a free one")
    options = parser.parse_args(argv)
    OUT.mkdir(exist_ok=True)
    checks = Checks()
    with tempfile.TemporaryDirectory() as data_dir:
        print("starting the workbench ...", flush=True)
        with Server(["--profile", options.profile, "--data-dir", data_dir], port=options.port) as server:
            client = server.client
            checks("sampler registered once", lambda: one_sampler(client))
            for family, (checkpoint, lora) in CHECKPOINTS.items():
                checks(
                    f"{family}, LCM on",
                    lambda checkpoint=checkpoint, lora=lora: lcm_on(client, checkpoint, lora),
                )
                checks(
                    f"{family}, LCM off", lambda checkpoint=checkpoint: off_is_untouched(client, checkpoint)
                )
            checks("img2img", lambda: image_to_image(client))
            checks("request clamped", lambda: clamping(client))
            checks("bad value refused", lambda: refusal(client))
            checks("contact sheet", lambda: draw_sheet(client))
    print("all checks passed" if not checks.failed else f"{checks.failed} checks failed", flush=True)
    return 1 if checks.failed else 0


def one_sampler(client: Client) -> str:
    names = [sampler["name"] for sampler in client.get("/sdapi/v1/samplers")]
    expect(names.count("LCM") == 1, f"the samplers are {names}")
    return f"LCM, one of {len(names)}"


if __name__ == "__main__":
    sys.exit(main())
