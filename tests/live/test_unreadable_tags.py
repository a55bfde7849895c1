"""A tag that the WebUI cannot read: it then applies none of the prompt's LoRAs, so the picture would not be
LCM's.
"""

import pytest

from tests.live.panel import Panel
from tests.live.test_generation import ON, rows
from tests.live.test_loras import loras
from tests.prompts import PROMPT
from workbench.client import ApiError

TAGS = ["<lora:style_pastel:0,8>", "<lora:style_pastel:1.1.>", "<lora:nowhere:half>"]


@pytest.mark.parametrize("tag", TAGS)
def test_any_tag_that_cannot_be_read_is_named_in_one_sentence_and_nothing_is_drawn(webui, tag):
    kind, name, _ = tag.strip("<>").split(":")
    sentence = f"The tag '{tag}' has a weight that is not a number: write it as <{kind}:{name}:1>."
    webui.loaded()
    planned = webui.loaded().post("/lcm/v1/plan", {"prompt": f"{PROMPT} {tag}", "args": [ON]})
    assert planned["problem"] == planned["status"] == sentence
    answer = Panel(webui.client).ask(**ON, host={"txt2img_prompt": f"{PROMPT} {tag}"})
    assert (answer.line, answer.is_refusal) == (sentence, True)
    with pytest.raises(ApiError) as error:
        webui.txt2img(f"{PROMPT} {tag}", lcm=ON)
    assert error.value.status == 422 and error.value.body["detail"] == sentence
    _, calls = webui.txt2img(PROMPT, lcm=ON)
    assert loras(calls) == [["lcm_lora_sd15"]] * 4 and rows(calls) == [1] * 4


def test_without_lora_such_a_tag_is_named_all_the_same(webui):
    with pytest.raises(ApiError) as error:
        webui.txt2img(f"{PROMPT} {TAGS[0]}", lcm={**ON, "lora": "none"})
    assert TAGS[0] in error.value.body["detail"]
