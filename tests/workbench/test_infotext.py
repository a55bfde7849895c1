"""Generation parameters there and back: through the host's quoting and parsing, and from picture to
picture.
"""

import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib_lcm.families import SD15
from lib_lcm.lora.library import LoraLibrary
from lib_lcm.options import (
    AUTO_LABEL,
    NO_LORA,
    OPTION,
    OWN_LABEL,
    SAMPLER_LABELS,
    SCHEDULE_LABELS,
    TRAILING,
    LcmOptions,
    options_from_args,
)
from lib_lcm.plan import infotext
from lib_lcm.plan.make import HostFacts, make_plan
from lib_lcm.plan.request import PassRequest, Request
from tests import prepared
from tests.prepared import Server
from tests.prompts import PROMPT
from tests.unit.lora_fixtures import header_bytes, official_lora_tensors, write_header
from tests.workbench import infotext_echo
from workbench.client import decode_image
from workbench.server import ROOT

HEADER = header_bytes(official_lora_tensors("sd15"))
AWKWARD = [
    "plain",
    "None",
    "auto",
    "LCM LoRA",
    "512x768",
    "a, b: c",
    '"quoted"',
    'half "quoted',
    '"',
    'a "b", c',
    " spaces around ",
    "back\\slash",
    'ends with \\", "x": \\',
    "Steps: 3, LCM weight: 0.1",
    "new\nline",
    "\u4e2d\u6587 \u00e4\u00f6\u00fc",
    "<lora:x:1>",
    "pytorch_lora_weights",
]
NAMES = st.one_of(
    st.sampled_from(AWKWARD),
    st.text(st.sampled_from("aA0x1\"',:;\\ <>.-_()[]{}|\n"), min_size=1, max_size=12),
    st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="/\0"), min_size=1, max_size=20),
).filter(lambda name: name.strip() and name.strip("."))  # "..safetensors" has no ending


@pytest.fixture(scope="module")
def through_the_host():
    """`through_the_host(parameters)` -> what the host reads out of the infotext that it makes of them."""
    with prepared.context().Pool(1, infotext_echo.import_the_host) as pool:
        yield lambda parameters: pool.apply(infotext_echo.through_the_host, (parameters,))


@settings(max_examples=300)
@given(
    name=NAMES,
    folder=st.sampled_from(["", "sub/", "None/"]),
    decoy=st.sampled_from(["", "plain.safetensors", "lcm_lora_sd15.safetensors", "sub/plain.safetensors"]),
    weight=st.one_of(st.floats(0.0, 1.5), st.sampled_from([0.0, 1.0, 0.85, 1.5])),
    schedule=st.sampled_from(list(SCHEDULE_LABELS)),
    is_chosen=st.booleans(),
    sampler=st.sampled_from(list(SAMPLER_LABELS)),
    gamma=st.floats(OPTION["gamma"].kind.low, OPTION["gamma"].kind.high),
)
def test_options_survive_the_hosts_infotext(
    through_the_host, tmp_path_factory, name, folder, decoy, weight, schedule, is_chosen, sampler, gamma
):
    root = tmp_path_factory.mktemp("loras")
    try:
        write_header(root / f"{folder}{name}.safetensors", *HEADER)
        if decoy and not (root / decoy).exists():
            write_header(root / decoy, *HEADER)
        library = LoraLibrary(root, sha256_of=lambda path: None)
        wanted = next(file for file in library.scan() if file.path == root / f"{folder}{name}.safetensors")
        lora = (
            library.name_of(wanted) + ".safetensors" * (library.name_of(wanted).lower() in ("none", "auto"))
            if is_chosen
            else "auto"
        )
        # what the others have no use for
        schedule, gamma = (schedule, OPTION["gamma"].default) if sampler == "lcm" else (TRAILING, gamma)
        options = LcmOptions(True, weight, 4, 1.0, lora, schedule, sampler, gamma)
        plan = make_plan(options, Request(PassRequest(20), 7.0), HostFacts(SD15, library))
        assert plan.problem is None and (plan.first.lora.file == wanted or not is_chosen)

        pasted = through_the_host(
            {"Sampler": plan.sampler, **infotext.parameters(plan, plan.first.lora, library)}
        )
        restored = {option: read(pasted, library) for option, read in infotext.RESTORE.items()}
        again = options_from_args([{**restored, "cfg": 1.0}])
        assert (again.sampler, again.gamma) == (
            "auto" if sampler == "lcm" else sampler, gamma if sampler == "tcd" else None
        )  # fmt: skip
        replanned = make_plan(again, Request(PassRequest(20), 7.0), HostFacts(SD15, library))
        assert replanned.first.lora.file == plan.first.lora.file
        assert replanned.first.lora.weight == plan.first.lora.weight
        assert replanned.first.timesteps == plan.first.timesteps
        for same in ("schedule", "sampler", "gamma", "method"):
            assert getattr(replanned, same) == getattr(plan, same)

        elsewhere = LoraLibrary(root.parent / "nowhere")  # a machine where no file has that name
        assert infotext.RESTORE["lora"](pasted, elsewhere) == AUTO_LABEL
    finally:
        shutil.rmtree(root)


def test_no_lora_survives_the_hosts_infotext(through_the_host, tmp_path):
    library = LoraLibrary(tmp_path)
    plan = make_plan(LcmOptions(True, lora="none"), Request(PassRequest(4), 1.0), HostFacts(SD15, library))
    assert (
        infotext.RESTORE["lora"](
            through_the_host(infotext.parameters(plan, plan.first.lora, library)), library
        )
        == NO_LORA
    )


def test_a_full_lcm_s_infotext_restores_its_guidance_and_no_choice_of_a_lora(through_the_host, tmp_path):
    library = LoraLibrary(tmp_path)
    plan = make_plan(
        LcmOptions(True, cfg=9.5), Request(PassRequest(4), 1.0), HostFacts(SD15, library, is_full_lcm=True)
    )
    written = infotext.parameters(plan, plan.first.lora, library)
    assert written["LCM LoRA"] == "None" and written["LCM method"] == "full-lcm"
    pasted = through_the_host({"CFG scale": "9.5", **written})
    restored = {option: read(pasted, library) for option, read in infotext.RESTORE.items()}
    assert (restored["enabled"], restored["cfg"]) == (True, 9.5)
    assert (restored["lora"], restored["method"]) == (AUTO_LABEL, OWN_LABEL)


def test_a_picture_made_without_lcm_leaves_the_accordion_off(through_the_host, tmp_path):
    pasted = through_the_host({"Sampler": "Euler a"})
    restored = {option: read(pasted, LoraLibrary(tmp_path)) for option, read in infotext.RESTORE.items()}
    assert restored.pop("enabled") is False
    assert set(restored) == set(OPTION) - {"enabled"} and set(restored.values()) == {None}


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "1e999", "many"])
def test_what_is_no_finite_number_leaves_the_control_as_it_is(through_the_host, tmp_path, text):
    numbers = {"weight": "LCM weight", "steps": "Steps", "cfg": "CFG scale", "gamma": "LCM gamma"}
    pasted = through_the_host({"LCM LoRA": "None", **dict.fromkeys(numbers.values(), text)})
    restored = {option: infotext.RESTORE[option](pasted, LoraLibrary(tmp_path)) for option in numbers}
    assert pasted["LCM weight"] == text and restored == dict.fromkeys(numbers)


@pytest.mark.parametrize(
    "sampler,expected",
    # made by a sampler that is not ours
    [("LCM", {"sampler": "LCM", "schedule": "WebUI"}), ("TCD", {"sampler": "TCD"})],
)
def test_a_picture_of_the_hosts_own_sampler_selects_it_and_leaves_the_accordion_off(
    through_the_host, tmp_path, sampler, expected
):
    pasted = through_the_host({"Sampler": sampler})
    restored = {option: read(pasted, LoraLibrary(tmp_path)) for option, read in infotext.RESTORE.items()}
    assert restored.pop("enabled") is False
    assert {option: value for option, value in restored.items() if value is not None} == expected


# --- from picture to picture --------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["a1111-1.10", "forge"])
def machines(request, tmp_path_factory):
    """Two workbenches; on the second the LCM-LoRAs have other names and lie in a folder."""
    loras = tmp_path_factory.mktemp("Lora")
    (loras / "few, steps").mkdir()
    shutil.copy(
        ROOT / "workbench/models/Lora/lcm_lora_sd15.safetensors",
        loras / "few, steps" / 'my "fast", one.safetensors',
    )
    profile = ["--profile", request.param, "--data-dir"]
    first = [*profile, str(tmp_path_factory.mktemp("here"))]
    second = [*profile, str(tmp_path_factory.mktemp("there")), "--lora-dir", str(loras)]
    with Server(first) as here, Server(second) as there:
        yield here.client, there.client


def again(client, text: str) -> tuple[bytes, str]:
    """Pixels and infotext of a picture from nothing but an infotext."""
    answer = client.post("/sdapi/v1/txt2img", {"infotext": text})
    return (
        decode_image(answer["images"][0]).convert("RGB").tobytes(),
        json.loads(answer["info"])["infotexts"][0],
    )


@pytest.mark.parametrize(
    "lcm,request_fields",
    [
        ({"steps": 4, "cfg": 1}, {}),
        ({"steps": 3, "cfg": 1.7, "weight": 0.123456789}, {"negative_prompt": "green, blue: x"}),
        ({"lora": "none"}, {"steps": 20, "cfg_scale": 7}),
        ({"schedule": "webui", "steps": 5}, {}),
        ({"sampler": "tcd", "gamma": 0.7, "steps": 3}, {}),
        ({"steps": 4, "cfg": 1}, {"prompt": f"{PROMPT} <lora:lcm_lora_sd15:0.5>"}),
        (
            {"steps": 4, "cfg": 1},
            {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.5},
        ),
    ],
)
@pytest.mark.parametrize("there_first", [False, True])
def test_an_infotext_draws_the_same_picture_again_where_the_lora_has_another_name(
    machines, lcm, request_fields, there_first
):
    first, second = reversed(machines) if there_first else machines
    made = first.txt2img(**{"prompt": PROMPT, "seed": 77, **request_fields}, lcm={"enabled": True, **lcm})
    for client in (first, second):
        repeated, text = again(client, made.infotext)
        assert "LCM schedule" in text
        assert repeated == made.image.convert("RGB").tobytes()


@pytest.mark.parametrize("cfg", ["1", "1.5"])
def test_a_picture_made_elsewhere_with_a_tag_is_drawn_again_whatever_the_lora_is_called(machines, cfg):
    here, there = machines
    prompt = f"{PROMPT} <lora:lcm_lora_sd15:0.9>"
    text = f"{prompt}\nSteps: 4, Sampler: LCM, CFG scale: {cfg}, Seed: 77, Size: 64x64"
    made = (
        here.txt2img(prompt, sampler_name="LCM", steps=4, cfg_scale=float(cfg), seed=77)
        .image.convert("RGB")
        .tobytes()
    )
    same_name, text_here = again(here, text)
    assert same_name == made and "LCM LoRA" not in text_here  # the WebUI's own sampler and LoRA, with LCM off
    other_name, text_there = again(there, text)
    assert other_name == made and "LCM LoRA" in text_there and "LCM schedule: WebUI" in text_there


@pytest.mark.parametrize(
    "prompt,steps,cfg",
    [
        ("a fox", "4", "1"),
        ("a fox <lora:style:1>", "4", "1"),
        ("a fox <lora:lcm_lora_sdxl:1>", "4", "1"),  # of which no file is here
        ("a fox <lora:lcm_lora_sd15:1>", "20", "1"),
        ("a fox <lora:lcm_lora_sd15:1>", "4", "7"),
        ("a fox <lora:lcm_lora_sd15:1>", "4", None),
    ],
)
def test_a_picture_made_elsewhere_leaves_the_accordion_off_where_lcm_could_not_draw_it(
    tmp_path, prompt, steps, cfg
):
    write_header(tmp_path / "fast.safetensors", *HEADER)
    library = LoraLibrary(tmp_path, sha256_of=lambda path: None)
    pasted = {"Prompt": prompt, "Steps": steps, "Sampler": "LCM", "CFG scale": cfg}
    assert infotext.RESTORE["enabled"](pasted, library) is False
    assert [infotext.RESTORE[name](pasted, library) for name in ("steps", "cfg", "lora")] == [None] * 3
    fitting = {"Prompt": "a fox <lora:lcm_lora_sd15:1>", "Steps": "4", "Sampler": "LCM", "CFG scale": "1"}
    assert (
        infotext.RESTORE["enabled"](fitting, library) is True
        and infotext.RESTORE["lora"](fitting, library) == AUTO_LABEL
    )


@pytest.mark.parametrize(
    "fields,is_completed",
    [
        ({}, True),
        ({"Version": None}, False),  # it may be one of this WebUI's own, drawn by our sampler picked by hand
        ({"Version": "v1.6.0"}, False),
        ({"Steps": "20"}, False),
        ({"Prompt": "a fox"}, False),
        ({"LCM schedule": "Trailing"}, False),
    ],
)
def test_a_picture_of_another_webuis_own_lcm_sampler_gets_its_schedule(tmp_path, fields, is_completed):
    write_header(tmp_path / "fast.safetensors", *HEADER)
    library = LoraLibrary(tmp_path, sha256_of=lambda path: None)
    made = {
        "Prompt": "a fox <lora:fast:0.7>",
        "Steps": "4",
        "Sampler": "LCM",
        "CFG scale": "1",
        "Version": "v1.10.1",
        **fields,
    }
    pasted = infotext.completed(made, library, "v1.6.0")
    restored = {
        name: infotext.RESTORE[name](pasted, library) for name in ("enabled", "schedule", "steps", "lora")
    }
    if is_completed:
        assert restored == {"enabled": True, "schedule": "WebUI", "steps": 4, "lora": AUTO_LABEL}
    else:
        assert pasted is made
