"""X/Y/Z plot and "Prompts from file or textbox" over fields that LCM's own options overrule: their user is
told which, and how to vary them, once.
"""

import pytest

from tests.live.profiles import oldest_and_newest
from tests.live.test_generation import ON
from tests.live.test_xyz_plot import plot
from tests.prompts import OTHER, PROMPT

pytestmark = oldest_and_newest

XYZ, FILE = "x/y/z plot", "prompts from file or textbox"
FIELDS = ("steps", "cfg scale", "sampler")
OVERRULED = ", which LCM overrules: use the axes [LCM] Steps, CFG scale or the LCM options instead."


def sentences(comments: str) -> list[str]:
    return [line for line in comments.splitlines() if "LCM overrules" in line]


def told(webui) -> list[str]:
    """The sentences about overruled fields that the user of the last generation finds under its pictures.

    The pictures of such a script share what is told, and a grid shows what was until its first one was drawn.
    """
    first, *others = [sentences(event["comments"]) for event in webui.events_of("postprocess")]
    assert all(other == first for other in others)
    return first


def assert_names(sentence: str, script: str, *fields: str) -> None:
    """That a sentence is about this script and these fields, and no others."""
    start = f"{script} sets "
    # Forge Neo writes that title with other capitals
    assert sentence.lower().startswith(start) and sentence.endswith(OVERRULED)
    named = sentence[len(start) : -len(OVERRULED)].lower()
    assert {field for field in FIELDS if field in named} == {field.lower() for field in fields}


def from_file(webui, lcm, *lines: str, **payload):
    """One picture for each line, over the script's own arguments, which differ between WebUIs."""
    args = [
        "\n".join(lines) if arg["label"] == "List of prompt inputs" else arg["value"]
        for arg in webui.script(FILE)["args"]
    ]
    return webui.txt2img(PROMPT, lcm=lcm, script_name=FILE, script_args=args, **payload)


@pytest.mark.parametrize(
    ("label", "values"), [("Steps", "2, 6"), ("CFG Scale", "1, 7"), ("Sampler", "Euler, Euler a")]
)
def test_an_axis_over_what_lcm_overrules_is_told_once(webui, label, values):
    images, _, calls = plot(webui, ON, (label, values))
    assert len(images) == 2 and len(calls) == 2 * 4  # LCM's own steps, and it draws on
    (sentence,) = told(webui)
    assert_names(sentence, XYZ, label)


def test_all_such_axes_of_a_plot_are_named_in_one_sentence(webui):
    plot(webui, {**ON, "steps": 2}, ("Seed", "1, 2"), ("CFG Scale", "1, 7"), ("Steps", "2, 6"))
    (sentence,) = told(webui)
    assert_names(sentence, XYZ, "Steps", "CFG Scale")


def test_img2img_counts_its_own_axes(webui):
    start, _ = webui.txt2img(PROMPT, steps=1)
    plot(webui, ON, ("Sampler", "Euler, Euler a"), start=start.image, denoising_strength=0.5)
    (sentence,) = told(webui)
    assert_names(sentence, XYZ, "Sampler")


def test_a_list_of_arguments_is_the_same_as_an_object(webui):
    plot(webui, [True, 1.0, 2, 1.0], ("Steps", "2, 6"))
    (sentence,) = told(webui)
    assert_names(sentence, XYZ, "Steps")


@pytest.mark.parametrize(
    ("line", "field"),
    [("--steps 2", "Steps"), ("--cfg_scale 7", "CFG scale"), ('--sampler_name "Euler a"', "Sampler")],
)
def test_an_option_in_a_file_of_prompts_is_told_once(webui, line, field):
    made, calls = from_file(
        webui, ON, f'--prompt "{OTHER}"', f'--prompt "{PROMPT}" {line}', f'--prompt "{OTHER}" {line}'
    )
    assert len(made.images) == 3 and len(calls) == 3 * 4
    # the pictures after the first line's have it, and so what the script makes of them all
    (sentence,) = sentences(webui.events_of("postprocess")[-1]["comments"])
    assert_names(sentence, FILE, field)


# --- where nothing is overruled -----------------------------------------------------------------------------


def test_with_lcm_off_nothing_is_told(webui):
    for lcm in (None, {**ON, "enabled": False}):
        plot(webui, lcm, ("Steps", "1, 2"), ("CFG Scale", "1, 2"))
        assert told(webui) == []
        from_file(webui, lcm, f'--prompt "{OTHER}" --steps 2 --cfg_scale 2')
        assert told(webui) == []


def test_a_field_that_lcm_leaves_to_the_request_is_not_overruled(webui):
    _, _, calls = plot(webui, {**ON, "steps": None}, ("Steps", "1, 3"))
    assert told(webui) == [] and len(calls) == 4
    plot(webui, {**ON, "steps": 1, "cfg": None}, ("CFG Scale", "1, 1.5"))
    assert told(webui) == []
    _, calls = from_file(webui, {"enabled": True}, f'--prompt "{OTHER}" --steps 2 --cfg_scale 1')
    assert told(webui) == [] and len(calls) == 2
    # and where one is left and the other is not, the other is named alone
    plot(webui, {**ON, "steps": None}, ("Steps", "1, 3"), ("CFG Scale", "1, 1.5"))
    (sentence,) = told(webui)
    assert_names(sentence, XYZ, "CFG Scale")


def test_other_axes_and_options_are_no_matter(webui):
    for axis in (("Seed", "1, 2"), ("[LCM] Steps", "1, 2"), ("[LCM] CFG scale", "1, 1.5")):
        plot(webui, {**ON, "steps": 1}, axis)
        assert told(webui) == [], axis
    from_file(webui, {**ON, "steps": 1}, OTHER, f'--prompt "{OTHER}" --seed 5')
    assert told(webui) == []


def test_the_text_of_a_prompt_is_no_option(webui):
    from_file(webui, {**ON, "steps": 1}, "many --steps up a hill", "a star, steps, cfg_scale")
    assert told(webui) == []


def test_without_such_a_script_nothing_is_told(webui):
    # the plot is chosen no more; the WebUI keeps nothing of it
    plot(webui, {**ON, "steps": 1}, ("Seed", "1, 2"))
    webui.txt2img(PROMPT, lcm=ON, steps=20, cfg_scale=7)
    assert told(webui) == []
