"""The right LCM-LoRA, exactly once, in every pass: over the API, on any WebUI whose LoRA folder is on this
machine.
"""

import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.live.profiles import newest_profiles
from tests.live.test_generation import ON, TRAILING_4, rows, same, timesteps
from tests.prompts import OTHER, PROMPT
from tests.unit.lora_fixtures import lora_shapes, targeted_layers
from workbench.client import ApiError
from workbench.small_models import LORAS

SD15, SDXL = "lcm_lora_sd15", "lcm_lora_sdxl"


def loras(calls) -> list[list[str]]:
    """The LoRAs that were loaded at each call of the UNet."""
    return [call["loras"] for call in calls]


def disturbed(mode) -> dict:
    """A request's field that has the test disturber do this."""
    return {"alwayson_scripts": {"LCM test disturber": {"args": [mode]}}}


def folder(webui) -> Path:
    """The WebUI's LoRA folder."""
    path = next(Path(lora["path"]) for lora in webui.client.get("/sdapi/v1/loras") if lora["name"] == SD15)
    if not path.is_file():
        pytest.skip("the WebUI's LoRA folder is not on this machine")
    return path.parent


@contextmanager
def files(webui, *, metadata=True, **copies):
    """New LoRA files, name in the LoRA folder -> the one that it is a copy of, there for a while; without
    `metadata`, names alone say by which method they were made.
    """
    root = folder(webui)
    made = [root / f"{name}.safetensors" for name in copies]
    try:
        for path, original in zip(made, copies.values(), strict=True):
            path.parent.mkdir(exist_ok=True)
            if metadata:
                shutil.copyfile(root / f"{original}.safetensors", path)
            else:
                save_file(load_file(root / f"{original}.safetensors"), path)
        webui.client.post("/sdapi/v1/refresh-loras")
        yield made
    finally:
        for path in made:
            path.unlink(missing_ok=True)
            if path.parent != root:
                path.parent.rmdir()
        webui.client.post("/sdapi/v1/refresh-loras")


def lora_hash(infotext: str) -> str:
    """ "name: hash" of the infotext's one LoRA."""
    return infotext.split('Lora hashes: "')[1].split('"')[0]


# --- files --------------------------------------------------------------------------------------------------


def test_two_files_of_one_name_in_two_folders_are_both_reachable(webui):
    with files(webui, **{"a/pytorch_lora_weights": SD15, "b/pytorch_lora_weights": SDXL}):
        listed = sorted(lora["path"] for lora in webui.client.get("/sdapi/v1/loras"))
        for checkpoint, name, original in ((webui.sd15, "a", SD15), (webui.sdxl, "b", SDXL)):
            auto, _ = webui.txt2img(PROMPT, checkpoint=checkpoint, lcm=ON)
            made, calls = webui.txt2img(
                PROMPT, checkpoint=checkpoint, lcm={**ON, "lora": f"{name}/pytorch_lora_weights"}
            )
            assert same(made.image, auto.image)
            assert loras(calls) == [[f"{name}/pytorch_lora_weights"]] * 4
            assert f"LCM LoRA: {name}/pytorch_lora_weights" in made.infotext
            hashed = lora_hash(auto.infotext).removeprefix(f"{original}: ")
            assert lora_hash(made.infotext) == f"{name}/pytorch_lora_weights: {hashed}"
        assert sorted(lora["path"] for lora in webui.client.get("/sdapi/v1/loras")) == listed


def test_a_name_that_no_tag_can_hold(webui):
    auto, _ = webui.txt2img(PROMPT, lcm=ON)
    with files(webui, **{"lcm=sd15: the >one<": SD15}):
        made, calls = webui.txt2img(PROMPT, lcm={**ON, "lora": "lcm=sd15: the >one<"})
    assert loras(calls) == [["lcm=sd15: the >one<"]] * 4 and same(made.image, auto.image)


def test_without_any_lora_of_the_family_auto_is_refused_and_changes_nothing(webui, tmp_path):
    plain, _ = webui.txt2img(PROMPT, steps=4, cfg_scale=3)
    path = folder(webui) / f"{SD15}.safetensors"
    shutil.move(path, tmp_path)
    webui.client.post("/sdapi/v1/refresh-loras")
    try:
        webui.calls()
        with pytest.raises(ApiError) as error:
            webui.txt2img(PROMPT, lcm=ON)
        assert error.value.status == 422 and webui.calls() == []
        for part in ("SD 1.5", "lcm_lora_sd15"):
            assert part in error.value.body["detail"]
        assert str(path.parent.parent) not in error.value.body["detail"], (
            "where the folder is, is nobody's business over the API"
        )
        _, calls = webui.txt2img(PROMPT, checkpoint=webui.sdxl, lcm=ON)
        assert loras(calls) == [[SDXL]] * 4
    finally:
        shutil.move(tmp_path / path.name, path)
        webui.client.post("/sdapi/v1/refresh-loras")
    _, calls = webui.txt2img(PROMPT, lcm=ON)
    assert loras(calls) == [[SD15]] * 4
    assert same(webui.txt2img(PROMPT, steps=4, cfg_scale=3)[0].image, plain.image)


@newest_profiles
def test_a_file_that_is_deleted_replaced_or_cut_off_between_two_generations(webui):
    plain, _ = webui.txt2img(PROMPT, steps=4, cfg_scale=3)
    auto, _ = webui.txt2img(PROMPT, lcm=ON)
    with files(webui, mine=SD15) as [path]:
        options = {**ON, "lora": "mine"}
        assert same(webui.txt2img(PROMPT, lcm=options)[0].image, auto.image)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ApiError) as error:
            webui.txt2img(PROMPT, lcm=options)
        assert error.value.status == 422 and "mine.safetensors is cut off" in error.value.body["detail"]
        path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
        changed, _ = webui.txt2img(PROMPT, lcm=options)
        assert not same(changed.image, auto.image)
        path.write_bytes(whole)
        assert same(webui.txt2img(PROMPT, lcm=options)[0].image, auto.image)
        path.unlink()
        with pytest.raises(ApiError) as error:
            webui.txt2img(PROMPT, lcm=options)
        assert error.value.status == 422 and "mine" in error.value.body["detail"]
    assert same(webui.txt2img(PROMPT, lcm=ON)[0].image, auto.image)
    assert same(webui.txt2img(PROMPT, steps=4, cfg_scale=3)[0].image, plain.image)


def test_a_file_that_is_replaced_by_an_older_one_is_read_again(webui):
    """Although the WebUI keeps LoRAs in memory, and reads a file again only where it is newer."""
    with webui.settings(lora_in_memory_limit=2), files(webui, mine=SD15) as [path]:
        options = {**ON, "lora": "mine"}
        before, _ = webui.txt2img(PROMPT, lcm=options)
        whole = path.read_bytes()
        path.unlink()  # what the WebUI has read may still be the file itself
        path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
        os.utime(path, (1e9, 1e9))
        assert not same(webui.txt2img(PROMPT, lcm=options)[0].image, before.image)


@pytest.mark.parametrize("batch, steps_before", [(0, 0), (1, 4)])
def test_a_file_that_vanishes_after_the_plan_was_made(webui, batch, steps_before):
    plain, _ = webui.txt2img(PROMPT, steps=4, cfg_scale=3)
    auto, _ = webui.txt2img(PROMPT, lcm=ON)
    with files(webui, mine=SD15) as [path]:
        with pytest.raises(ApiError) as error:
            webui.txt2img(PROMPT, lcm={**ON, "lora": "mine"}, n_iter=2, **disturbed(f"delete {batch} {path}"))
        assert error.value.status == 422 and "'mine' is not in the LoRA folder" in error.value.body["detail"]
        assert len(webui.calls()) == steps_before, "a picture was begun without its LoRA"
    with files(webui, mine=SD15) as [path]:
        try:  # Auto goes on with what is there
            made, calls = webui.txt2img(
                f"{PROMPT} <lora:mine:1>", lcm=ON, n_iter=2, **disturbed(f"delete {batch} {path}")
            )
            assert loras(calls)[-1] == [SD15] and len(calls) == 8 and same(made.images[-2], auto.image)
        except ApiError as error:
            # where the WebUI leaves out all LoRAs if one is missing; A1111 if it has had that one before
            assert (
                error.status == 422 and "'mine'" in error.body["detail"] and (batch == 1 or webui.is_of_forge)
            )
    assert same(webui.txt2img(PROMPT, lcm=ON)[0].image, auto.image)
    assert same(webui.txt2img(PROMPT, steps=4, cfg_scale=3)[0].image, plain.image)


def test_one_deleted_lora_among_several_is_not_drawn_from_memory(webui):
    """Forge goes on with a file that it has read before."""
    if not webui.sd15.startswith("small-"):
        pytest.skip("the style LoRA is for the workbench's models")
    prompt = f"{PROMPT} <lora:one:0.5> <lora:two:0.5>"
    with files(webui, one=SD15, two=SD15) as [one, two]:
        for path in (one, two):
            shutil.copyfile(LORAS / "style_pastel.safetensors", path)
        _, calls = webui.txt2img(prompt, lcm=ON)
        assert [sorted(names) for names in loras(calls)] == [[SD15, "one", "two"]] * 4
        one.unlink()
        _, calls = webui.txt2img(prompt, lcm=ON)
        assert [sorted(names) for names in loras(calls)] == [[SD15, "two"]] * 4


def test_a_lora_that_the_webui_cannot_match_is_not_passed_off_as_lcm(webui):
    import torch
    from safetensors.torch import load_file, save_file

    if webui.name not in ("a1111-1.10", "a1111-1.9"):
        pytest.skip("this WebUI may know the layers' names")
    tensors = {}
    for layer, shape in targeted_layers("small_sd15").items():
        for half, half_shape in zip("AB", lora_shapes(shape, 4), strict=True):
            tensors[f"base_model.model.{layer}.lora_{half}.weight"] = torch.zeros(half_shape)
    with files(webui, peft=SD15) as [path]:
        save_file(tensors, path)
        assert load_file(path).keys() == tensors.keys()
        with pytest.raises(ApiError) as error:
            webui.txt2img(PROMPT, lcm={**ON, "lora": "peft"})
        assert (
            error.value.status == 422 and "peft.safetensors did not take hold" in error.value.body["detail"]
        )


@newest_profiles
def test_a_lora_that_the_webui_fails_to_put_into_the_layers_is_not_passed_off_as_lcm(webui):
    """For layers of another size, as here, A1111 does what it does when memory runs out: it counts them and
    goes on without.
    """
    from safetensors.torch import load_file, save_file

    if webui.is_old_forge:
        pytest.skip("this WebUI only writes to its log that a layer could not be changed")
    plain, _ = webui.txt2img(PROMPT, steps=4, cfg_scale=3)
    auto, _ = webui.txt2img(PROMPT, lcm=ON)
    with files(webui, mine=SD15) as [path]:
        whole = path.read_bytes()
        tensors = load_file(path)
        for name, tensor in tensors.items():
            if "resnets" in name and name.endswith("lora_up.weight"):
                tensors[name] = tensor.repeat(2, *[1] * (tensor.ndim - 1))
        for schedule in ("trailing", "webui") if webui.has_own_lcm else ("trailing",):
            options = {**ON, "lora": "mine", "schedule": schedule}
            save_file(tensors, path)
            for _ in range(2):  # the second time the WebUI takes the layers for done
                with pytest.raises(ApiError) as error:
                    webui.txt2img(PROMPT, lcm=options)
                if webui.is_new_forge and error.value.status == 500:
                    continue  # its own error
                assert (
                    error.value.status == 422
                    and "mine.safetensors did not take hold" in error.value.body["detail"]
                )
            if not webui.is_new_forge:
                webui.txt2img(PROMPT, lcm={**options, "weight": 0})  # at which it changes nothing
            path.write_bytes(whole)
            right, _ = webui.txt2img(PROMPT, lcm=options)
            assert same(right.image, auto.image) == (schedule == "trailing")
    assert same(webui.txt2img(PROMPT, lcm=ON)[0].image, auto.image)
    assert same(webui.txt2img(PROMPT, steps=4, cfg_scale=3)[0].image, plain.image)


# --- never twice --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    [
        "<lora:LCM_LoRA_SD15:0.5>",
        "<lora:lcm-lora-sdv1-5:0.5>",
        "<lora:lcm_lora_sd15:1><lora:lcm_lora_sd15:0.5>",
        "<lyco:lcm_lora_sd15:0.5>",
    ],
)
def test_however_it_is_typed_it_is_applied_once_at_that_weight(webui, typed):
    ticked, _ = webui.txt2img(PROMPT, lcm={**ON, "weight": 0.5})
    made, calls = webui.txt2img(f"{PROMPT} {typed}", lcm=ON)
    assert loras(calls) == [[SD15]] * 4 and same(made.image, ticked.image)
    assert made.infotext.startswith(f"{PROMPT} {typed}\n") and "LCM weight: 0.5" in made.infotext


@pytest.mark.parametrize("metadata", [True, False])
def test_a_copy_under_another_name_that_is_typed_takes_its_place(webui, metadata):
    """As AnimateLCM's LoRA is one, which sd-webui-animatediff has its users type."""
    copy = "AnimateLCM_sd15_t2v_lora"
    ticked, _ = webui.txt2img(PROMPT, lcm={**ON, "weight": 0.8})
    with files(webui, metadata=metadata, **{copy: SD15}):
        listed = {lora["name"]: lora["method"] for lora in webui.loaded().get("/lcm/v1/status")["loras"]}
        assert listed[copy] == listed[SD15] == "lcm"
        for typed, used, chosen in (
            (f"<lora:{copy}:0.8>", copy, "auto"),
            (f"<lora:{copy}:0.8>", copy, SD15),
            (f"<lora:{SD15}:1> <lora:{copy}:0.8>", copy, "auto"),
            (f"<lora:{copy}:1> <lora:{SD15}:0.8>", SD15, "auto"),
        ):
            made, calls = webui.txt2img(f"{PROMPT} {typed}", lcm={**ON, "lora": chosen})
            assert loras(calls) == [[used]] * 4 and same(made.image, ticked.image), (typed, chosen)
            assert f"LCM LoRA: {used}, LCM weight: 0.8" in made.infotext


def test_a_tag_in_a_saved_style_is_a_tag_in_the_prompt(webui):
    ticked, _ = webui.txt2img(PROMPT, lcm={**ON, "weight": 0.55})
    styled = {"styles": ["LCM test style"]}
    made, calls = webui.txt2img(PROMPT, lcm=ON, **styled)
    assert (
        loras(calls) == [[SD15]] * 4
        and same(made.image, ticked.image)
        and "LCM weight: 0.55" in made.infotext
    )
    made, calls = webui.txt2img(f"{PROMPT} <lora:lcm_lora_sd15:1>", lcm=ON, **styled)
    assert loras(calls) == [[SD15]] * 4 and same(made.image, ticked.image)


def test_a_name_from_a_files_metadata_is_that_file(webui):
    from safetensors.torch import load_file, save_file

    ticked, _ = webui.txt2img(PROMPT, lcm={**ON, "weight": 0.5})
    with files(webui, **{"lcm-lora-sdv1-5": SD15}) as [path]:
        save_file(load_file(path), path, {"ss_output_name": "speedy"})
        webui.client.post("/sdapi/v1/refresh-loras")
        for typed in (
            "<lora:speedy:0.5>",
            "<lora:lcm-lora-sdv1-5:1><lora:speedy:0.5>",
            "<lora:speedy:1><lora:lcm_lora_sd15:0.5>",
        ):
            made, calls = webui.txt2img(f"{PROMPT} {typed}", lcm=ON)
            assert [len(names) for names in loras(calls)] == [1] * 4 and same(made.image, ticked.image), typed


@pytest.mark.parametrize("added", [SD15, SDXL, "copy_of_it"])
def test_the_webuis_own_setting_adds_no_second_one(webui, added):
    ticked, _ = webui.txt2img(PROMPT, lcm=ON, n_iter=2)
    with files(webui, copy_of_it=SD15), webui.settings(sd_lora=added):
        made, calls = webui.txt2img(PROMPT, lcm=ON, n_iter=2)
    assert loras(calls) == [[SD15]] * 8
    assert all(same(one, other) for one, other in zip(made.images, ticked.images, strict=True))
    assert made.infotexts == ticked.infotexts


def test_a_detailers_inner_generation_has_it_exactly_once(webui):
    plain, _ = webui.txt2img(PROMPT, steps=4, cfg_scale=3)
    for prompt in (PROMPT, f"{PROMPT} <lora:lcm_lora_sd15:1>"):
        made, calls = webui.txt2img(prompt, lcm=ON, n_iter=2, **disturbed("detail"))
        assert timesteps(calls) == [*TRAILING_4, 499, 379, 259, 139] * 2
        assert loras(calls) == [[SD15]] * 16
        assert made.infotext.startswith(f"{prompt}\n")
    _, calls = webui.txt2img(PROMPT, steps=4, cfg_scale=3, **disturbed("detail"))
    assert not any(loras(calls))
    assert same(webui.txt2img(PROMPT, steps=4, cfg_scale=3)[0].image, plain.image)


def test_an_inner_generation_that_runs_our_script_with_lcm_off_is_off_and_the_outer_one_stays_on(webui):
    _, calls = webui.txt2img(PROMPT, lcm=ON, n_iter=2, **disturbed("detail off"))
    half = len(calls) // 2
    for batch in (calls[:half], calls[half:]):
        assert loras(batch) == [[SD15]] * 4 + [[]] * (half - 4)


# --- one generation, several prompts and checkpoints --------------------------------------------------------


def test_each_batch_has_the_weight_of_its_own_prompt(webui):
    tagged = f"{OTHER} <lora:lcm_lora_sd15:0.5>"
    made, calls = webui.txt2img(PROMPT, lcm=ON, n_iter=3, seed=5, **disturbed([PROMPT, tagged, PROMPT]))
    assert loras(calls) == [[SD15]] * 12
    texts, images = made.infotexts[-3:], made.images[-3:]
    assert [text.split("LCM weight: ")[1].split(",")[0] for text in texts] == ["1", "0.5", "1"]
    for offset, (prompt, image) in enumerate(zip((PROMPT, tagged, PROMPT), images, strict=True)):
        assert same(image, webui.txt2img(prompt, lcm=ON, seed=5 + offset)[0].image)


def test_an_unknown_tag_is_looked_for_once_for_the_plan_and_once_for_the_batch(webui):
    def looks(prompt: str, **how) -> int:
        before = webui.client.get("/lcm-test-probe/looks")
        with suppress(ApiError):  # most WebUIs apply no LoRA at all then
            webui.txt2img(prompt, **how)
        return webui.client.get("/lcm-test-probe/looks") - before

    unknown, known = f"{PROMPT} <lora:nowhere:1>", looks(PROMPT, lcm=ON)
    of_the_host = looks(unknown, steps=4, cfg_scale=3)
    assert known <= 2 and looks(unknown, lcm=ON) <= 2 + of_the_host


def test_the_infotext_of_each_batch_names_the_lora_that_it_was_drawn_with(webui):
    few_step = "Hyper-SD15-8steps-lora"
    other = f"{PROMPT} <lora:{few_step}:1>"
    with files(webui, **{few_step: SD15}):
        made, calls = webui.txt2img(PROMPT, lcm=ON, n_iter=3, seed=5, **disturbed([PROMPT, other, PROMPT]))
        assert loras(calls) == [[SD15]] * 4 + [[few_step]] * 4 + [[SD15]] * 4
        named = [text.split("LCM LoRA: ")[1].split(",")[0] for text in made.infotexts[-3:]]
        assert named == [SD15, few_step, SD15]
        # the other's file, but sampled as the first batch was
        alone, _ = webui.txt2img(other, lcm={**ON, "method": "lcm"}, seed=6)
    assert same(made.images[-2], alone.image) and f"LCM LoRA: {few_step}," in alone.infotext


def test_both_passes_of_hires_have_the_lora_of_the_checkpoint_once(webui):
    for checkpoint, name in ((webui.sd15, SD15), (webui.sdxl, SDXL)):
        _, calls = webui.txt2img(PROMPT, checkpoint=checkpoint, lcm=ON, **webui.hires)
        assert timesteps(calls) == [*TRAILING_4, 499, 379, 259, 139] and loras(calls) == [[name]] * 8


def test_a_picture_that_is_described_meanwhile_changes_nothing(webui):
    webui.needs_task_names()
    request = {"lcm": ON, **webui.hires}
    alone, _ = webui.txt2img(PROMPT, **request)
    webui.disturb_next(at_call=2, do="interrogate")
    made, calls = webui.txt2img(PROMPT, **request)
    assert loras(calls) == [[SD15]] * 8 and rows(calls) == [1] * 8 and same(made.image, alone.image)


def test_a_hires_pass_on_another_checkpoint_gets_that_ones_lora(webui):
    plain, _ = webui.txt2img(PROMPT, steps=4, cfg_scale=3)
    # the second batch begins with the other checkpoint loaded
    made, calls = webui.txt2img(PROMPT, lcm=ON, n_iter=2, hr_checkpoint_name=webui.sdxl, **webui.hires)
    assert timesteps(calls) == [*TRAILING_4, 499, 379, 259, 139] * 2 and rows(calls) == [1] * 16
    assert loras(calls) == ([[SD15]] * 4 + [[SDXL]] * 4) * 2
    assert "LCM LoRA: lcm_lora_sd15" in made.infotext
    assert same(webui.txt2img(PROMPT, steps=4, cfg_scale=3)[0].image, plain.image)


def test_a_tag_in_the_hires_prompt_is_that_passes_own(webui):
    request = {"hr_prompt": f"{OTHER} <lora:{SD15}:0.4>", **webui.hires}
    plan = webui.loaded().post("/lcm/v1/plan", {"prompt": PROMPT, "args": [ON], **request})
    assert (plan["weight"], plan["hires_lora"], plan["hires_weight"]) == (1, SD15, 0.4)
    lighter, calls = webui.txt2img(PROMPT, lcm=ON, **request)
    assert loras(calls) == [[SD15]] * 8
    plain, _ = webui.txt2img(PROMPT, lcm=ON, **{**request, "hr_prompt": OTHER})
    assert not same(lighter.image, plain.image)
    with pytest.raises(ApiError) as error:  # before the first pass, not after it
        webui.txt2img(PROMPT, lcm=ON, **{**request, "hr_prompt": f"{OTHER} <lora:{SD15}:much>"})
    assert error.value.status == 422 and "much" in error.value.body["detail"] and webui.calls() == []


def test_a_tag_in_the_hires_prompt_is_for_the_checkpoint_of_that_pass(webui):
    request = {"hr_prompt": f"{OTHER} <lora:{SDXL}:0.4>", "hr_checkpoint_name": webui.sdxl, **webui.hires}
    _made, calls = webui.txt2img(PROMPT, lcm=ON, **request)
    assert loras(calls) == [[SD15]] * 4 + [[SDXL]] * 4 and SDXL not in webui.comments


def test_a_lora_chosen_by_name_that_does_not_fit_the_hires_checkpoint_is_refused(webui):
    with pytest.raises(ApiError) as error:
        webui.txt2img(PROMPT, lcm={**ON, "lora": SD15}, hr_checkpoint_name=webui.sdxl, **webui.hires)
    assert error.value.status == 422
    for part in (SD15, "SD 1.5", "SDXL"):
        assert part in error.value.body["detail"]


def test_a_missing_lora_beside_it_is_never_passed_off_as_lcm(webui):
    try:
        _, calls = webui.txt2img(f"{PROMPT} <lora:no_such_style:1>", lcm=ON)
        assert loras(calls) == [[SD15]] * 4
    except ApiError as error:
        assert error.status == 422 and "'no_such_style'" in error.body["detail"]


def test_a_request_without_any_lora_is_refused(webui):
    with pytest.raises(ApiError) as error:
        webui.txt2img(PROMPT, lcm=ON, disable_extra_networks=True)
    assert error.value.status == 422 and "disable_extra_networks" in error.value.body["detail"]


def test_a_grid_over_checkpoints_gives_each_picture_its_own_lora(webui):
    script = webui.script("x/y/z plot")
    args = [arg["value"] for arg in script["args"]]
    kinds = script["args"][0]["choices"]
    names = [webui.sd15, webui.sdxl, webui.sd15]
    args[0:3] = [kinds.index("Checkpoint name"), ",".join(names), names]
    args[3] = args[6] = kinds.index("Nothing")
    _, calls = webui.txt2img(PROMPT, lcm=ON, script_name="x/y/z plot", script_args=args)
    assert loras(calls) == [[SD15]] * 4 + [[SDXL]] * 4 + [[SD15]] * 4 and rows(calls) == [1] * 12
