"""A typed tag of the LCM-LoRA keeps its further items (`<lora:name:1:lbw=OUTALL>`): other extensions read
from them at which blocks, or for how many steps, a LoRA is to act.
"""

import pytest

from tests.live.test_generation import ON, same
from tests.live.test_loras import SD15, disturbed
from tests.prompts import OTHER, PROMPT


def activated(webui) -> list[list[dict]]:
    """The LoRA tags that other extensions found each time the networks of the last generation were activated:
    {"items", "positional", "named"} each.
    """
    return [event["lora"] for event in webui.events_of("networks")]


@pytest.mark.parametrize(
    ("typed", "further", "named"),
    [
        ("1:lbw=OUTALL", ["lbw=OUTALL"], {"lbw": "OUTALL"}),
        ("1:stop=2", ["stop=2"], {"stop": "2"}),
        ("0.8:lbw=OUTALL:start=1", ["lbw=OUTALL", "start=1"], {"lbw": "OUTALL", "start": "1"}),
    ],
)
def test_what_other_extensions_read_from_the_tag_is_still_there(webui, typed, further, named):
    weight = typed.partition(":")[0]
    alone, _ = webui.txt2img(f"{PROMPT} <lora:{SD15}:{weight}>", lcm=ON)
    made, _ = webui.txt2img(f"{PROMPT} <lora:{SD15}:{typed}>", lcm=ON)
    (event,) = webui.events_of("networks")
    (tag,) = event["lora"]
    assert event["are_own"]  # p.extra_network_data
    assert tag["positional"][:2] == [SD15, weight] == tag["items"][:2]
    assert tag["items"][2:] == further and tag["named"] == named
    assert same(made.image, alone.image) and f"LCM weight: {weight}," in made.infotext


def test_named_weights_leave_the_further_items_alone(webui):
    alone, _ = webui.txt2img(f"{PROMPT} <lora:{SD15}:0.8>", lcm=ON)
    made, _ = webui.txt2img(f"{PROMPT} <lora:{SD15}:te=0:unet=0.8:lbw=OUTALL>", lcm=ON)
    (event,) = webui.events_of("networks")
    (tag,) = event["lora"]
    assert tag["named"].get("lbw") == "OUTALL" and "lbw=OUTALL" in tag["items"]
    assert tag["positional"][0] == SD15 == tag["items"][0]
    assert same(made.image, alone.image) and "LCM weight: 0.8," in made.infotext


def test_each_batch_and_both_passes_of_hires_keep_them(webui):
    tagged = f"<lora:{SD15}:1:lbw=OUTALL>"
    webui.txt2img(
        PROMPT, lcm=ON, n_iter=2, **disturbed([f"{PROMPT} {tagged}", f"{OTHER} <lora:{SD15}:1:stop=2>"])
    )
    assert [[tag["items"][2:] for tag in tags] for tags in activated(webui)] == [
        [["lbw=OUTALL"]],
        [["stop=2"]],
    ]
    # some WebUIs activate them more than once for each pass
    webui.txt2img(f"{PROMPT} {tagged}", lcm=ON, **webui.hires)
    passes = activated(webui)
    assert len(passes) >= 2
    assert all([tag["named"] for tag in tags] == [{"lbw": "OUTALL"}] for tags in passes)


def test_with_lcm_off_the_tag_is_the_webuis_own(webui):
    webui.txt2img(f"{PROMPT} <lora:{SD15}:1:stop=2>", steps=2)
    assert [[tag["items"] for tag in tags] for tags in activated(webui)] == [[[SD15, "1", "stop=2"]]]


def test_no_items_come_from_nowhere(webui):
    for prompt in (PROMPT, f"{PROMPT} <lora:{SD15}:1>"):
        webui.txt2img(prompt, lcm=ON)
        assert activated(webui) == [[{"items": [SD15, "1"], "positional": [SD15, "1"], "named": {}}]]
