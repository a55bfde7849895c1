"""The axes of LCM in the script "X/Y/Z plot", over the API."""

import pytest

from tests.prompts import PROMPT
from workbench.client import ApiError

ON = {"enabled": True, "steps": 4, "cfg": 1}
LABELS = [
    f"[LCM] {name}"
    for name in (
        "Enabled", "Weight", "Steps", "CFG scale", "LoRA", "Schedule", "Sampler", "TCD gamma", "Method",
        "Guided steps",
    )
]  # fmt: skip


def axis_labels(webui, is_img2img: bool = False) -> list[str]:
    return webui.script("x/y/z plot", is_img2img)["args"][0]["choices"]


def plot(webui, lcm, *axes: tuple[str, str | list[str]], checkpoint=None, start=None, **payload):
    """A plot of one picture per combination; the single pictures in the plot's order, and the UNet's calls.

    `axes` are (label, values): a text as one types it, or a list as one picks it from the drop-down, either
    in all of them. `start` is the picture to start from on img2img.
    """
    labels = axis_labels(webui, start is not None)
    args: list = []
    for label, values in [*axes, *[("Nothing", "")] * (3 - len(axes))]:
        args += [labels.index(label), *((values, []) if isinstance(values, str) else ("", values))]
    # the rest of its arguments, which differ between WebUIs
    wanted = {
        "Include Sub Images": True,
        "Use text inputs instead of dropdowns": isinstance(axes[0][1], str),
        "Draw legend": False,
    }
    flags = [
        wanted.get(arg["label"], arg["value"])
        for arg in webui.script("x/y/z plot", start is not None)["args"][9:]
    ]
    payload |= {"lcm": lcm, "script_name": "x/y/z plot", "script_args": [*args, *flags]}
    if start is None:
        made, calls = webui.txt2img(PROMPT, checkpoint, **payload)
    else:
        made, calls = webui.img2img(PROMPT, [start], checkpoint, **payload)
    count = made.info["index_of_first_image"]
    return made.images[count:], made.infotexts[count:], calls


def timesteps(calls) -> list[int]:
    return [call["timesteps"][0] for call in calls]


def rgb(image) -> bytes:
    return image.convert("RGB").tobytes()


@pytest.mark.parametrize("is_img2img", [False, True])
def test_each_axis_is_offered_once(webui, is_img2img):
    offered = [label for label in axis_labels(webui, is_img2img) if label.startswith("[LCM]")]
    assert offered == LABELS


def test_a_range_of_steps_and_a_list_of_weights(webui):
    images, infotexts, calls = plot(webui, ON, ("[LCM] Steps", "1-3 (+2)"), ("[LCM] Weight", "0.5, 1"))
    assert len(images) == 4
    assert timesteps(calls) == [999, 999, 679, 339] * 2
    for text, (steps, weight) in zip(infotexts, [(1, 0.5), (3, 0.5), (1, 1), (3, 1)], strict=True):
        assert f"Steps: {steps}," in text and f"LCM weight: {weight}," in text
    single, _ = webui.txt2img(PROMPT, lcm={**ON, "steps": 3, "weight": 0.5})
    assert rgb(images[1]) == rgb(single.image)


def test_ranges_of_fractions(webui):
    images, infotexts, _ = plot(
        webui, {**ON, "steps": 1}, ("[LCM] Weight", "0.5-1.0 (+0.25)"), ("[LCM] CFG scale", "1-2 (+0.5)")
    )
    made = [(weight, cfg) for cfg in ("1", "1.5", "2") for weight in ("0.5", "0.75", "1")]
    assert len(images) == len(made) == len({rgb(image) for image in images})
    for text, (weight, cfg) in zip(infotexts, made, strict=True):
        assert f"LCM weight: {weight}," in text and f"CFG scale: {cfg}," in text


def test_on_and_off_in_one_plot(webui):
    images, infotexts, calls = plot(webui, [True], ("[LCM] Enabled", "True, False, on"), steps=3, cfg_scale=3)
    off, off_calls = webui.txt2img(PROMPT, steps=3, cfg_scale=3)
    assert rgb(images[0]) == rgb(images[2]) != rgb(images[1]) == rgb(off.image)
    assert (
        "LCM" not in infotexts[1] and "LCM LoRA: lcm_lora_sd15" in infotexts[0] and "LCM LoRA" in infotexts[2]
    )
    assert calls[4:-4] == off_calls


def test_an_axis_that_has_no_effect_as_lcm_is_off_is_said_to_have_none(webui):
    sentence = "[LCM] Steps had no effect: LCM is off; tick it."
    plot(webui, None, ("[LCM] Steps", "2, 4"), steps=2)
    assert sentence in webui.comments
    plot(webui, None, ("[LCM] Steps", "2, 4"), ("[LCM] Enabled", "True, False"), steps=2)
    assert sentence not in webui.comments


def test_cfg_lora_and_schedule(webui):
    axes = ("[LCM] LoRA", "Auto, None"), ("[LCM] Schedule", "Trailing, WebUI"), ("[LCM] CFG scale", "1, 1.5")
    images, infotexts, _ = plot(webui, [ON], *axes)
    assert len(images) == 8 and len({rgb(image) for image in images}) == 8
    assert ["LCM LoRA: None" in text for text in infotexts] == [False, True] * 4
    assert ["LCM schedule: WebUI" in text for text in infotexts] == [False, False, True, True] * 2
    assert ["CFG scale: 1.5" in text for text in infotexts] == [False] * 4 + [True] * 4


def test_values_picked_from_the_lists(webui):
    axes = (
        ("[LCM] LoRA", ["Auto", "None"]),
        ("[LCM] Schedule", ["Trailing", "WebUI"]),
        ("[LCM] Enabled", ["True", "False"]),
    )
    images, infotexts, _ = plot(webui, [ON], *axes, steps=2)
    assert len(images) == 8 and ["LCM LoRA" in text for text in infotexts] == [True] * 4 + [False] * 4
    assert ["LCM LoRA: None" in text for text in infotexts] == [False, True, False, True] + [False] * 4
    assert ["LCM schedule: WebUI" in text for text in infotexts] == [False, False, True, True] + [False] * 4
    single, _ = webui.txt2img(PROMPT, lcm={**ON, "lora": "none", "schedule": "webui"}, steps=2)
    assert rgb(images[3]) == rgb(single.image)


def test_a_plot_on_img2img(webui):
    start, _ = webui.txt2img(PROMPT, steps=2)
    fields = {"denoising_strength": 0.5}
    images, infotexts, calls = plot(
        webui, ON, ("[LCM] Steps", "2, 4"), ("[LCM] Weight", "0.5-1.0 (+0.5)"), start=start.image, **fields
    )
    assert timesteps(calls) == [499, 259, 499, 379, 259, 139] * 2
    assert ["LCM weight: 0.5," in text for text in infotexts] == [True, True, False, False]
    single, _ = webui.img2img(PROMPT, [start.image], lcm={**ON, "steps": 2, "weight": 0.5}, **fields)
    assert rgb(images[0]) == rgb(single.image)


def test_sampler_and_gamma(webui):
    images, infotexts, _ = plot(webui, ON, ("[LCM] Sampler", "LCM, TCD"), ("[LCM] TCD gamma", "0, 0.5"))
    assert rgb(images[0]) == rgb(images[2]) and len({rgb(image) for image in images}) == 3  # LCM has no gamma
    assert ["Sampler: TCD" in text for text in infotexts] == [False, True] * 2
    assert [text.count("LCM gamma") for text in infotexts] == [0, 1] * 2 and "LCM gamma: 0.5" in infotexts[3]


def test_checkpoints_of_two_families_get_their_own_lora(webui):
    _, infotexts, _ = plot(
        webui, ON, ("Checkpoint name", f"{webui.sd15}, {webui.sdxl}"), ("[LCM] Steps", "1, 2")
    )
    assert ["lcm_lora_sdxl" in text for text in infotexts] == [False, True, False, True]
    assert ["LCM LoRA: lcm_lora_sd15" in text for text in infotexts] == [True, False, True, False]


def test_the_sampler_axis_offers_lcm(webui):
    images, infotexts, _ = plot(webui, None, ("Sampler", "Euler, LCM"), steps=4, cfg_scale=1)
    assert ["Sampler: LCM" in text for text in infotexts] == [False, True]
    by_hand, _ = webui.txt2img(PROMPT, steps=4, cfg_scale=1, sampler_name="LCM")
    assert rgb(images[1]) == rgb(by_hand.image)


@pytest.mark.parametrize(
    "label,values,parts",
    [
        ("[LCM] Steps", "2, 99", ["'steps'", "99", "1 to 8"]),
        ("[LCM] Weight", "nan", ["'weight'"]),
        ("[LCM] Enabled", "True, perhaps", ["'perhaps'", "True nor False"]),
        ("[LCM] LoRA", "Auto, nowhere", ["'nowhere'", "not in the LoRA folder"]),
        ("[LCM] Schedule", "sideways", ["'schedule'", "'sideways'", "trailing"]),
    ],
)
def test_a_value_that_cannot_be_used_stops_the_plot_before_its_first_picture(webui, label, values, parts):
    with pytest.raises(ApiError) as refused:
        plot(webui, ON, (label, values))
    assert refused.value.status == 422 and webui.calls() == []
    for part in [label, *parts]:
        assert part in refused.value.body["detail"]


def test_a_plot_is_refused_with_a_sentence_where_lcm_does_not_run(webui):
    webui.client.request("DELETE", "/lcm-test-neighbours/lcm")
    try:
        with pytest.raises(ApiError) as refused:
            plot(webui, None, ("[LCM] Steps", "2, 4"))
    finally:
        webui.client.post("/lcm-test-neighbours/lcm")
    assert refused.value.status == 422 and webui.calls() == []
    assert refused.value.body["detail"] == (
        "[LCM] Steps: LCM is not among the scripts: enable its extension, or choose another axis."
    )
