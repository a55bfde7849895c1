"""What the accordion says of everything on a tab that decides something, and at which of the WebUI's controls
it says it.
"""

import json

import pytest

from tests.live.panel import Panel
from tests.live.test_generation import fields
from tests.live.test_loras import SD15, SDXL, files
from tests.prompts import PROMPT

ON = {"enabled": True, "steps": 4, "cfg": 1}
HIRES = {"txt2img_hr-checkbox": True}
TAG = f"{PROMPT} <lora:lcm_lora_sd15:0.6>"


@pytest.fixture
def img2img(webui):
    webui.loaded()
    return Panel(webui.client, "img2img")


def test_every_control_that_is_asked_about_makes_the_page_ask(panel, img2img):
    """However gradio calls it: a change of each input of the question calls the page's `changed`."""
    for tab in (panel, img2img):
        events = [event for event in tab.config["dependencies"] if "lcmPage?.changed" in str(event["js"])]
        changing = set().union(*(tab.targets(event) for event in events))
        _, question = tab.event(tab.name("ask"), "click")
        asked = question["inputs"][1:]  # the first is the question itself
        silent = [tab.element_id(one) for one in asked if (one, "change") not in changing]
        # the page watches that one itself
        assert len(asked) > 15 and silent in ([], ["img2img_scale_resolution_preview"])


def test_prompts_are_asked_about_when_the_typing_pauses_and_all_else_at_once(panel):
    is_typed = {}
    for event in panel.config["dependencies"]:
        if 'lcmPage?.changed("txt2img"' in str(event["js"]):
            waits = json.loads(event["js"].split("changed(")[1].split(", ")[1])
            is_typed |= {
                panel.element_id(component): waits
                for component, trigger in panel.targets(event)
                if trigger == "change"
            }
    typed = {"txt2img_prompt", "txt2img_neg_prompt", "hires_prompt", "hires_neg_prompt"}
    assert {element_id for element_id, waits in is_typed.items() if waits} == typed and len(is_typed) > 15


# --- the line -----------------------------------------------------------------------------------------------


def test_off_it_says_what_one_tick_would_do(panel):
    answer = panel.ask()
    assert (
        answer.line
        == "LCM is off. With it: SD 1.5 · lcm_lora_sd15 · 4 steps: 999 759 499 259 · CFG 1 · 4 UNet rows"
    )
    assert (answer.warnings, answer.covered, answer.noted, answer.is_refusal) == ([], {}, {}, False)


def test_it_follows_the_accordions_controls(panel):
    for options, text in (
        ({"steps": 2}, "SD 1.5 · lcm_lora_sd15 · 2 steps: 999 499 · CFG 1 · 2 UNet rows"),
        ({"cfg": 1.5}, "4 steps: 999 759 499 259 · CFG 1.5 · 8 UNet rows"),
        ({"weight": 0.8}, "lcm_lora_sd15 at 0.8 · 4 steps"),
        ({"lora": "None"}, "SD 1.5 · no LoRA · 4 steps"),
        ({"schedule": "WebUI"}, "schedule WebUI"),
        ({"sampler": "TCD", "gamma": 0.65}, "TCD gamma 0.65 · 4 steps"),
    ):
        assert text in panel.ask(**{**ON, **options}).line


def test_the_line_is_short_and_the_title_says_how_many_steps(panel):
    typed = {"txt2img_neg_prompt": "blurry", "txt2img_denoising_strength": 0.7}
    answer = panel.ask(**ON, host={**HIRES, **typed})
    assert answer.short == "SD 1.5 · lcm_lora_sd15 · 4 steps · hires 4 steps at strength 0.7 · CFG 1"
    assert answer.line.startswith("SD 1.5 · lcm_lora_sd15 · 4 steps: 999 759 499 259 · hires 4 steps")
    assert answer.state == "4 steps" and panel.ask(enabled=True, steps=1, cfg=1).state == "1 step"
    assert panel.ask(enabled=False, steps=4, cfg=1).state is None
    assert panel.ask(**{**ON, "steps": 9}).state == "cannot draw"
    assert panel.ask(**ON, lora=SDXL).state == "cannot draw"


def test_presets_follow_the_sliders_and_gamma_the_sampler(panel):
    presets = {
        (4, 1): "Standard 4",
        (1, 1): "Preview 1",
        (2, 1): "Draft 2",
        (8, 1): "Final 8",
        (4, 1.5): "Standard 4",
        (5, 1): None,
    }
    for (steps, cfg), preset in presets.items():
        assert panel.ask(enabled=True, steps=steps, cfg=cfg).preset == preset


def test_a_value_that_cannot_be_used_is_named(panel):
    answer = panel.ask(**{**ON, "steps": 9})
    assert (
        answer.is_refusal and answer.line == "LCM option 'steps' is 9; it must be a whole number from 1 to 8."
    )
    # an emptied field: the WebUI's own steps count
    assert panel.ask(**{**ON, "steps": None}).is_refusal is False
    assert not panel.ask(enabled=False, steps=9).is_refusal


def test_the_settings_bounds_count(panel, webui):
    with webui.settings(lcm_max_steps=6):
        assert (
            panel.ask(**{**ON, "steps": 8}).line
            == "LCM option 'steps' is 8; it must be a whole number from 1 to 6."
        )
    assert "8 steps" in panel.ask(**{**ON, "steps": 8}).line


def test_the_negative_prompt_is_called_ignored_only_where_there_is_one(panel, webui):
    field = {"txt2img_neg_prompt": "blurry"}
    assert panel.ask(**ON).warnings == []
    answer = panel.ask(**ON, host=field)
    assert "CFG 1: negative prompt ignored" in answer.line
    assert json.loads(answer.exchange)["offer"] == "LCM: ignored at CFG 1. Use it (Light)"
    assert (answer.noted, answer.warnings) == ({}, [])
    with webui.settings(lcm_max_cfg=1):  # nothing to offer
        answer = panel.ask(**ON, host=field)
        assert json.loads(answer.exchange)["offer"] is None
        assert "ignored at CFG 1" in answer.noted["txt2img_neg_prompt"]
    answer = panel.ask(**{**ON, "cfg": 1.5}, host=field)
    assert "CFG 1.5: negative prompt used · 8 UNet rows" in answer.line
    assert (answer.noted, answer.warnings) == ({}, [])


def test_the_hires_pass_is_told_with_its_own_steps_and_timesteps(panel):
    for given, text, note in (
        (
            {"txt2img_denoising_strength": 0.7},
            "hires 4 steps at strength 0.7: 699 539 359 179",
            "LCM: 4",
        ),
        (
            {"txt2img_hires_steps": 2, "txt2img_denoising_strength": 0.7},
            "hires 2 steps at strength 0.7: 699 359 · ",
            None,
        ),
        (
            {"txt2img_hires_steps": 2, "txt2img_denoising_strength": 0.5},
            "hires 2 steps at strength 0.5: 499 259",
            None,
        ),
        (
            {"txt2img_hires_steps": 30, "txt2img_denoising_strength": 0.5},
            "hires 8 steps at strength 0.5",
            "LCM: 8",
        ),
    ):
        answer = panel.ask(**ON, host=HIRES | given)
        assert text in answer.line and answer.noted.get("txt2img_hires_steps") == note
    assert "hires" not in panel.ask(**ON, host={"txt2img_hires_steps": 2}).line


def test_hires_prompts_of_their_own_are_taken_into_account(panel):
    typed = {**HIRES, "hires_prompt": TAG}
    answer = panel.ask(**ON, host=typed)
    assert (
        answer.line.startswith("SD 1.5 · lcm_lora_sd15 · 4 steps")
        and "with lcm_lora_sd15 at 0.6" in answer.line
    )
    answer = panel.ask(**ON, host={**typed, "hires_neg_prompt": "blurry"})
    assert "ignored" in answer.noted["hires_neg_prompt"] and "txt2img_neg_prompt" not in answer.noted
    answer = panel.ask(**ON, host={**HIRES, "hires_prompt": f"{PROMPT} <lora:lcm_lora_sd15:heavy>"})
    assert answer.is_refusal and "heavy" in answer.line


def test_a_schedule_picked_in_the_webuis_own_list_is_told(panel, webui):
    webui.needs_schedules()
    answer = panel.ask(**ON, host={"txt2img_scheduler": "Karras"})
    assert "4 steps · schedule Karras" in answer.line
    assert any('"Karras" was picked by hand' in warning for warning in answer.warnings)


def test_a_tag_and_a_style_in_the_prompt_are_taken_into_account(panel):
    assert "lcm_lora_sd15 at 0.6" in panel.ask(**ON, host={"txt2img_prompt": TAG}).line
    styled = panel.ask(**ON, host={"txt2img_styles": ["LCM test probe"]}).line
    assert "lcm_lora_sd15 at 0.35" in styled and "negative prompt ignored" in styled


def test_on_img2img_it_follows_the_denoising_strength(img2img):
    for strength, text in (
        (0.5, "4 steps at strength 0.5: 499 379 259 139"),
        (0.05, "2 steps at strength 0.05: 39 19"),
    ):
        assert text in img2img.ask(**ON, host={"img2img_denoising_strength": strength}).line


# --- with LCM off -------------------------------------------------------------------------------------------


def test_an_lcm_lora_in_the_prompt_with_lcm_off_is_warned_of_at_the_prompt(panel):
    answer = panel.ask(host={"txt2img_prompt": TAG})
    assert "lcm_lora_sd15" in answer.noted["txt2img_prompt"] and "tick LCM" in answer.noted["txt2img_prompt"]
    assert answer.noted["txt2img_prompt"] in answer.warnings
    assert panel.ask(**ON, host={"txt2img_prompt": TAG}).noted == {}


def test_an_lcm_lora_in_a_hires_prompt_with_lcm_off_is_warned_of_there(panel):
    answer = panel.ask(host={**HIRES, "hires_prompt": TAG})
    assert "hires pass" in answer.noted["hires_prompt"] and "txt2img_prompt" not in answer.noted
    assert panel.ask(**ON, host={**HIRES, "hires_prompt": TAG}).noted.get("hires_prompt") is None
    assert panel.ask(host={"hires_prompt": TAG}).noted == {}


def test_an_lcm_lora_beside_settings_that_suit_it_is_not_warned_of(panel):
    suiting = {"txt2img_steps": 4, "txt2img_cfg_scale": 1, "txt2img_sampling": "LCM"}
    assert panel.ask(host={"txt2img_prompt": TAG, **suiting}).noted == {}
    assert panel.ask(host={"txt2img_prompt": TAG, **suiting, "txt2img_cfg_scale": 7}).noted != {}


def test_a_tag_that_switches_lcm_on_is_told_with_what_will_be_used(panel, webui):
    fields = {"txt2img_prompt": TAG, "txt2img_steps": 27, "txt2img_cfg_scale": 5.5}
    with webui.settings(lcm_typed_tag="switch LCM on"):
        answer = panel.ask(host=fields)
        assert "lcm_lora_sd15 at 0.6 · 8 steps" in answer.line and any(
            "switches LCM on" in warning for warning in answer.warnings
        )
        assert (answer.noted["txt2img_steps"], answer.noted["txt2img_cfg_scale"]) == ("LCM: 8", "LCM: 2")
        assert answer.covered["txt2img_sampling"] == "LCM" and "txt2img_steps" not in answer.covered
        assert panel.ask(host={**fields, "txt2img_prompt": PROMPT}).covered == {}
    with webui.settings(lcm_typed_tag="nothing"):
        assert panel.ask(host=fields).noted == {}


# --- the WebUI's own controls -------------------------------------------------------------------------------


def test_what_lcm_decides_is_covered_with_the_value_that_is_used(panel, img2img, webui):
    answer = panel.ask(**{**ON, "steps": 2, "cfg": 1.5}, host=HIRES)
    covered = {
        "txt2img_steps": "LCM: 2",
        "txt2img_cfg_scale": "LCM: 1.5",
        "txt2img_sampling": "LCM",
        "hr_sampler": "LCM",
    }
    covered |= {"hr_scheduler": "LCM", "txt2img_hr_cfg": "LCM: 1.5"}
    assert answer.covered == {
        element_id: value for element_id, value in covered.items() if element_id in panel.ids
    }
    assert "txt2img_hires_steps" not in answer.covered
    covered = {"img2img_steps": "LCM: 4", "img2img_cfg_scale": "LCM: 1", "img2img_sampling": "TCD"}
    assert img2img.ask(**ON, sampler="TCD").covered == covered


# --- checkpoints --------------------------------------------------------------------------------------------


def test_the_line_and_untouched_sliders_follow_the_checkpoint(panel, webui):
    with webui.settings(lcm_steps_sdxl=6, lcm_weight_sdxl=0.9, lcm_cfg_sdxl=1.5):
        assert panel.ask(**ON, weight=1).moved == {}
        with webui.settings(sd_model_checkpoint=webui.sdxl):
            webui.txt2img(PROMPT, webui.sdxl, steps=1)  # so that it is loaded, on Forge too
            answer = panel.ask(**{**ON, "cfg": 1.2}, weight=1)
            assert answer.moved == {"steps": 6, "weight": 0.9}
            assert (
                answer.line.startswith("SDXL · lcm_lora_sdxl at 0.9 · 6 steps") and "CFG 1.2" in answer.line
            )
            # the user's own, from now on
            assert panel.ask(enabled=True, steps=4, cfg=1, weight=1).moved == {}
        webui.loaded()
        assert panel.ask(enabled=True, steps=6, cfg=1.2, weight=0.9).moved == {"steps": 4, "weight": 1.0}


def test_the_sliders_follow_the_loras_method_and_come_back(panel, webui):
    hyper, cfg = "Hyper-SD15-8steps-lora", "Hyper-SD15-12steps-CFG-lora"
    with files(webui, metadata=False, **{hyper: SD15, cfg: SD15}):
        on = {"enabled": True, "steps": 4, "cfg": 1.5}
        assert (panel.ask(**on).moved, panel.ask(**on).ranges) == ({}, {})
        chosen = panel.ask(**on, lora=hyper)
        assert (chosen.moved, chosen.ranges, chosen.warnings) == ({"steps": 8}, {}, [])
        assert f"{hyper} (Hyper-SD, 8 steps, by its name) · DDIM trailing · 8 steps" in chosen.line
        # no other number of steps works with it, so the slider comes back
        assert panel.ask(**{**on, "steps": 5}, lora=hyper).moved == {"steps": 8}
        chosen = panel.ask(**{**on, "steps": 8}, lora=cfg)
        assert chosen.moved == {"steps": 12, "cfg": 5} and chosen.ranges == {"steps": (1, 12), "cfg": (3, 8)}
        host = {"txt2img_neg_prompt": "blurry"}
        assert "negative prompt used" in panel.ask(enabled=True, steps=12, cfg=5, lora=cfg, host=host).line
        # and what stood there before
        back = panel.ask(enabled=True, steps=12, cfg=5)
        assert back.moved == {"steps": 4, "cfg": 1.5} and back.ranges == {"steps": (1, 8), "cfg": (1, 2)}
        assert panel.ask(**on).moved == {}


def test_a_wrong_guess_is_corrected_for_the_very_file(panel, webui):
    guessed, renamed = "Hyper-SD15-8steps-lora", "my_own"
    with files(webui, metadata=False, **{guessed: SD15}):
        assert panel.ask(**ON, lora=guessed).correct is None
        picked = panel.ask(**ON, lora=guessed, method="DMD2")
        assert "(DMD2) · 4 steps: 999 749" in picked.line
        assert picked.correct == f"Always treat {guessed} as DMD2"
        assert panel.press("correct", picked, method="DMD2") is None
        assert f"{guessed} (DMD2) · 4 steps: 999 749 499 249" in panel.ask(**ON, lora=guessed).line
    with files(webui, metadata=False, **{renamed: SD15}):
        corrected = panel.ask(**ON, lora=renamed)
        assert f"{renamed} (DMD2)" in corrected.line
        assert corrected.correct == f"Forget that {renamed} is DMD2"
        assert panel.press("correct", corrected) is None
        assert f"{renamed} · 4 steps: 999 759" in panel.ask(**ON, lora=renamed).line


def test_a_list_of_loras_that_has_not_changed_is_not_sent_again(panel):
    """Of a list that is open, gradio 4 leaves only what fits the field when it comes anew."""
    assert panel.ask(**ON).sends_entries and not panel.ask(**ON).sends_entries


def test_a_pasted_picture_is_spoken_of_with_the_checkpoint_that_its_settings_override(panel, webui):
    made, _ = webui.txt2img(PROMPT, webui.sdxl, steps=1)
    label = "Model" if webui.is_new_forge else "Model hash"
    override = {"txt2img_override_settings": [f"{label}: {fields(made.infotext)[label]}"]}
    webui.loaded()
    waiting = panel.ask(**ON, host=override)
    assert waiting.line.startswith("The checkpoint is not loaded yet") and waiting.covered
    assert not panel.ask(host=override).covered, "LCM is off"
    # what the plan is made from cannot be read yet
    assert panel.ask(**{**ON, "steps": None}, host=override).line == waiting.line
    assert panel.ask(**ON).line.startswith("SD 1.5")


@pytest.mark.parametrize("steps,is_warned", [(4, True), (6, False)])
def test_large_sdxl_pictures_in_few_steps_are_warned_of(panel, img2img, webui, steps, is_warned):
    with webui.settings(sd_model_checkpoint=webui.sdxl):
        webui.txt2img(PROMPT, webui.sdxl, steps=1)
        options = {**ON, "steps": steps, "lora": "Auto"}
        for tab, fields, is_scaled in (
            (panel, {"txt2img_width": 1024}, False),
            (panel, {"txt2img_width": 512, "txt2img_height": 512, "txt2img_hr_scale": 2, **HIRES}, False),
            (img2img, {"img2img_scale_resolution_preview": "resize: from 512x384 to 1024x768"}, True),
        ):
            small = dict.fromkeys(("txt2img_width", "txt2img_height", "img2img_width", "img2img_height"), 64)
            warnings = tab.ask(**options, host={**small, **fields}, is_scaled=is_scaled).warnings
            assert any("SDXL at 1024 pixels in 4 steps" in warning for warning in warnings) == is_warned
        smaller = {"img2img_scale_resolution_preview": "resize: from 1512x384 to 972x729"}
        assert img2img.ask(**options, host={**small, **smaller}, is_scaled=True).warnings == []
    webui.loaded()


# --- the LoRA list ------------------------------------------------------------------------------------------


def test_the_list_says_what_auto_means_and_what_each_lora_is_for(panel, webui):
    with files(webui, my_own=SD15):
        answer = panel.ask(**ON)
        listed = [
            f"Auto · {SD15}",
            "Best installed",
            "None",
            f"{SD15} · SD 1.5",
            "my_own · SD 1.5",
            f"{SDXL} · SDXL, not for SD 1.5",
        ]
        assert [entry for entry in answer.entries if "ssd1b" not in entry] == listed
        assert (
            answer.lora.replace("\u00a0", " ") == f"Auto · {SD15}"
            and answer.remember is None
            and answer.download is None
        )
        again = panel.ask(**ON, lora=answer.lora)
        assert again.lora is None, (
            "an entry that is right is not sent again: meanwhile another one may be chosen"
        )
        assert panel.ask(**ON, lora="my_own").remember == "Remember my_own for this checkpoint"
    assert not any("my_own" in entry for entry in panel.ask(**ON).entries)


def test_a_lora_for_another_family_is_refused_and_not_remembered(panel):
    answer = panel.ask(**ON, lora=SDXL)
    assert answer.is_refusal and "is for SDXL" in answer.line and answer.remember is None
    # as one who has pressed it before the page's answer has come
    assert "is for SDXL" in panel.press("remember", lora=SDXL)
    assert "remembered" not in panel.ask(**ON).line


def test_a_problem_of_a_button_is_shown_until_the_next_question(panel):
    assert panel.ask(**ON, problem="Something went wrong.").warnings == ["Something went wrong."]
    assert panel.ask(**ON).warnings == []


def test_a_question_costs_one_look_at_the_lora_folder(panel, webui):
    panel.ask(**ON)
    before = webui.client.get("/lcm-test-probe/looks")
    panel.ask(**ON, host={"txt2img_prompt": TAG})
    assert webui.client.get("/lcm-test-probe/looks") == before + 1
