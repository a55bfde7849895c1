"""What a LoRA is taken for, whatever it is called and whatever was done to it: by hash, by our metadata, by
its name, by its layers; and what a generation makes of that.

The files are small and real. The table of published files is a stand-in whose rows have the hashes and sizes
of such small files.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from lib_lcm.families import FLUX, SD2, SD3, SD15, SDXL, SSD1B, VEGA, Family
from lib_lcm.lora import catalog, choice
from lib_lcm.lora.catalog import PUBLISHED
from lib_lcm.lora.choice import BEST_FIRST
from lib_lcm.lora.entries import ListedLora, entries
from lib_lcm.lora.file import BY_HASH, BY_LAYERS, BY_METADATA, BY_NAME, BY_YOU
from lib_lcm.lora.hashes import sha256_of_file
from lib_lcm.lora.library import LoraLibrary
from lib_lcm.lora.remembered import RememberedMethods
from lib_lcm.lora.tags import find_tags
from lib_lcm.lora.use import few_step_tags, lora_for, option_name
from lib_lcm.methods import METHODS, method_named, named_in
from lib_lcm.options import LcmOptions, lora_option, option_of
from lib_lcm.plan.make import HostFacts, make_plan
from lib_lcm.plan.request import PassRequest, Request
from lib_lcm.plan.status import as_dict, status_line
from tests.unit.lora_fixtures import (
    ATTENTION_TARGETS,
    kohya_lora,
    official_lora_tensors,
    peft_lora,
    targeted_layers,
    write_lora,
)

FLOW_LAYERS = {
    FLUX: {"double_blocks.0.img_attn.qkv": (9216, 3072)},
    SD3: {"joint_blocks.0.x_block.attn.qkv": (4608, 1536)},
}
SMALL = {SD15: "small_sd15", SDXL: "small_sdxl", SD2: "sd2", SSD1B: "ssd1b", VEGA: "vega"}
TRAINED = {"ss_network_dim": "16", "ss_base_model_version": "sdxl_base_v1-0"}
RESIZED = {"ss_network_dim": "4", "ss_network_alpha": "4.0", "ss_training_comment": "dimension is resized"}
FORMAT = {"format": "pt"}
ON = LcmOptions(enabled=True)


def tensors_of(family: Family, rank: int = 1) -> dict:
    """All layers that distillation trains."""
    if family in FLOW_LAYERS:
        return kohya_lora(FLOW_LAYERS[family], rank)
    return official_lora_tensors(SMALL[family], rank)


def put(folder: Path, name: str, family: Family = SDXL, rank: int = 1, metadata=FORMAT) -> Path:
    """A LoRA of all layers, as every method's is."""
    return write_lora(folder / f"{name}.safetensors", tensors_of(family, rank), metadata)


def put_style(folder: Path, name: str, family: Family = SDXL, metadata=TRAINED) -> Path:
    layers = targeted_layers(SMALL[family], ATTENTION_TARGETS)
    return write_lora(folder / f"{name}.safetensors", kohya_lora(layers, 4), metadata)


def no_hash(path: Path) -> None:
    return None


def library(folder, sha256_of=no_hash, **kwargs) -> LoraLibrary:
    return LoraLibrary([folder], sha256_of, **kwargs)


def known(loras: LoraLibrary, name: str) -> tuple[str | None, str | None]:
    """The method's name, and how it is known."""
    file = loras.find(name)
    assert file is not None and file.problem is None
    method, known_by = loras.method_of(file)
    return (None if method is None else method.name), known_by


def plan_of(loras, prompt="a cat", family=SDXL, *, asked=(20, 7.0), negative="", hires=None, **options):
    """The plan with these LCM options; `asked` are the WebUI's own steps and CFG scale."""
    request = Request(PassRequest(asked[0], prompt=prompt, negative_prompt=negative), asked[1], hires)
    return make_plan(LcmOptions(enabled=True, **options), request, HostFacts(family, loras))


# --- by hash ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """(the rows with the hashes and sizes of the small files, [(row, upload, file)])."""
    folder = tmp_path_factory.mktemp("published")
    rows, files = [], []
    for number, row in enumerate(PUBLISHED):
        paths = [
            put(folder, f"{number}-{upload}", row.family, metadata={"upload": f"{number}-{upload}"})
            for upload in range(len(row.sha256))
        ]
        sizes = [path.stat().st_size for path in paths]
        fake = replace(
            row,
            sha256=tuple(sha256_of_file(path) for path in paths),
            size=sizes[0],
            other_sizes=tuple(sizes[1:]),
            short=(f"{number:012x}",) if row.short else (),
        )
        rows.append(fake)
        files += [(fake, upload, path) for upload, path in enumerate(paths)]
    return tuple(rows), files


@pytest.fixture
def small_catalog(published, monkeypatch):
    use_catalog(monkeypatch, published[0])
    return published


def use_catalog(monkeypatch, rows):
    for module in (catalog, choice):
        monkeypatch.setattr(module, "PUBLISHED", tuple(rows))


def expected_of(row) -> tuple[str | None, str | None]:
    return (None, None) if row.method == "none" else (row.method, BY_HASH)


@pytest.mark.parametrize("name", ["x", "lcm_lora_sdxl", "sdxl_lightning_2step_lora", "Turbo 4 steps"])
def test_every_published_file_is_known_by_its_hash_whatever_its_name(small_catalog, tmp_path, name):
    for number, (_, _, path) in enumerate(small_catalog[1]):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copyfile(path, folder / f"{name}.safetensors")
    loras = LoraLibrary([tmp_path])  # which reads the files themselves
    found = {
        (row.name, upload): known(loras, f"{number}/{name}")
        for number, (row, upload, _) in enumerate(small_catalog[1])
    }
    assert found == {(row.name, upload): expected_of(row) for row, upload, _ in small_catalog[1]}


def test_every_row_names_a_method_and_its_family_is_read_from_the_file(small_catalog, tmp_path):
    rows, files = small_catalog
    assert {row.method for row in rows} <= {"none", *(method.name for method in METHODS)}
    loras = LoraLibrary([files[0][2].parent])
    assert {row.name: loras.at(path).family for row, _, path in files} == {
        row.name: row.family for row in rows
    }


def test_an_edited_file_is_known_by_the_webuis_hash_of_its_tensors(small_catalog, tmp_path):
    shorts = {}
    rows = [row for row in small_catalog[0] if row.short]
    assert {row.name for row in rows} >= {"lcm_lora_sd15", "hyper_sdxl_unified", "tcd_sdxl", "spo_sdxl"}
    for row in rows:
        edited = {"ss_output_name": "renamed", "modelspec.title": "My LCM"}
        shorts[put(tmp_path, f"lcm_lora_{row.name}", row.family, metadata=edited)] = row.short[0].upper()
    loras = LoraLibrary([tmp_path], short_hashes=lambda: shorts)
    assert {row.name: known(loras, f"lcm_lora_{row.name}") for row in rows} == {
        row.name: expected_of(row) for row in rows
    }


def test_animatelcms_lora_is_the_lcm_lora_and_used_once_also_beside_it(small_catalog, tmp_path):
    name, usual = "AnimateLCM_sd15_t2v_lora", "lcm_lora_sd15"
    row, original = next((row, path) for row, _, path in small_catalog[1] if row.name == usual)
    path = Path(shutil.copyfile(original, tmp_path / f"{name}.safetensors"))
    loras = LoraLibrary([tmp_path])
    assert known(loras, name) == ("lcm", BY_HASH)
    assert loras.choose(SD15).file.path == path and loras.published() == {row: loras.find(name)}
    beside = Path(shutil.copyfile(original, tmp_path / f"{usual}.safetensors"))
    assert loras.choose(SD15).file.path == beside
    assert [(file.name, method.name, known_by) for file, method, known_by in loras.few_step_loras()] == [
        (name, "lcm", BY_HASH), (usual, "lcm", BY_HASH)
    ]  # fmt: skip
    for lora in ("auto", "best", usual):
        plan = plan_of(loras, f"a cat <lora:{name}:0.8>", SD15, steps=4, cfg=1.0, lora=lora)
        use = plan.first.lora
        assert (plan.problem, plan.messages) == (None, ())
        assert (use.file.path, use.weight, [tag.name for tag in use.replaces]) == (path, 0.8, [name])
    use = plan_of(loras, f"a cat <lora:{usual}:1> <lora:{name}:0.8>", SD15).first.lora
    assert (use.file.path, use.weight, [tag.name for tag in use.replaces]) == (path, 0.8, [usual, name])


def test_a_hash_of_another_family_says_nothing(small_catalog, tmp_path):
    row = next(row for row in small_catalog[0] if row.name == "tcd_sdxl")
    path = put(tmp_path, "x", SD15)
    loras = LoraLibrary([tmp_path], no_hash, short_hashes=lambda: {path: row.short[0]})
    assert known(loras, "x") == ("lcm", BY_LAYERS)


def test_lightning_called_lcm_is_sampled_as_lightning(small_catalog, tmp_path):
    path = next(path for row, _, path in small_catalog[1] if row.name == "sdxl_lightning_4step")
    shutil.copyfile(path, tmp_path / "lcm_lora_sdxl.safetensors")
    loras = LoraLibrary([tmp_path])
    problem = loras.choose(SDXL).problem
    assert "lcm_lora_sdxl.safetensors is a Lightning LoRA, not an LCM-LoRA" in problem
    for plan in (
        plan_of(loras, lora="lcm_lora_sdxl"),
        plan_of(loras, prompt="a cat <lora:lcm_lora_sdxl:0.8>"),
    ):
        assert plan.problem is None
        assert (plan.method.name, plan.sampler, plan.first.timesteps) == (
            "lightning-4", "Euler trailing", (999, 749, 499, 249)
        )  # fmt: skip


@pytest.mark.parametrize(
    "row", [row for row in PUBLISHED if row.method in ("flow", "sdxl-flash")], ids=lambda row: row.name
)
def test_what_lcm_cannot_sample_is_refused_with_its_method(published, monkeypatch, tmp_path, row):
    use_catalog(monkeypatch, published[0])
    path = next(path for fake, _, path in published[1] if fake.name == row.name)
    shutil.copyfile(path, tmp_path / "x.safetensors")
    plan = plan_of(LoraLibrary([tmp_path]), family=row.family, lora="x")
    assert f"x is a {method_named(row.method).group} LoRA, which LCM cannot sample" in plan.problem


def test_a_size_known_in_megabytes_alone_is_enough_to_be_hashed(tmp_path, monkeypatch):
    """Of Flash Diffusion no size in bytes is known."""
    row = next(row for row in PUBLISHED if row.name == "flash_sd15")
    assert row.size is None
    path = put_style(tmp_path, "x", SD15, metadata=FORMAT)  # Flash is on attention and feed-forward alone
    size = path.stat().st_size
    use_catalog(monkeypatch, [replace(row, megabytes=round(size / 1e6) + 1)])
    assert known(library(tmp_path, lambda path: row.sha256[0]), "x") == (None, None)
    use_catalog(monkeypatch, [replace(row, megabytes=round(size / 1e6))])
    assert known(library(tmp_path, lambda path: row.sha256[0].upper()), "x") == ("flash", BY_HASH)


@pytest.fixture
def hashes(monkeypatch):
    """`sha256_of` for a library, by names of files: an answer is there only after `choice` has begun to wait
    for some. `waited` has how many it waited for each time.
    """

    class Hashes(dict):
        def __init__(self):
            self.asked, self.waited, self.gate = [], [], threading.Event()

        def __call__(self, path):
            self.asked.append(path.stem)
            assert self.gate.wait(60)
            return self.get(path.stem)

        def wait(self, futures):
            self.waited.append(len(list(futures)))
            if futures:
                self.gate.set()
            return real(futures)

    real, made = choice.wait, Hashes()
    monkeypatch.setattr(choice, "wait", made.wait)
    yield made
    made.gate.set()


def row_like(path, name, **changes):
    row = next(row for row in PUBLISHED if row.name == name)
    return replace(row, size=path.stat().st_size, other_sizes=(), **changes)


@pytest.mark.parametrize("hash_of,used", [("lcm_lora_sdxl", True), ("sdxl_lightning_4step", False)])
@pytest.mark.parametrize("name", ["lcm_lora_sdxl", "x", "SDXL Turbo"])
def test_a_hash_is_waited_for_where_it_decides_whether_a_file_is_an_lcm_lora(
    tmp_path, monkeypatch, hashes, name, hash_of, used
):
    path = put(tmp_path, name)
    rows = [row_like(path, "lcm_lora_sdxl"), row_like(path, "sdxl_lightning_4step")]
    use_catalog(monkeypatch, rows)
    hashes[name] = next(row for row in rows if row.name == hash_of).sha256[0]
    found = library(tmp_path, hashes).choose(SDXL)
    assert (found.file is not None) == used and sum(hashes.waited) == 1
    assert found.known_by == (BY_HASH if used else None)


def test_no_hash_is_waited_for_that_cannot_change_the_choice(tmp_path, monkeypatch, hashes):
    path = put(tmp_path, "lcm_lora_sdxl")
    style = put_style(tmp_path, "style", metadata=FORMAT)
    use_catalog(monkeypatch, [row_like(path, "lcm_lora_sdxl"), row_like(style, "flash_sdxl")])
    loras = library(tmp_path, hashes)
    assert loras.choose(SDXL).file.path == path
    assert sum(hashes.waited) == 0 and not hashes.gate.is_set()


def test_styles_of_about_the_size_of_a_published_file_are_not_hashed(tmp_path, monkeypatch):
    """Flash Diffusion has the layers, and so the size, of many a style of its rank: gigabytes of them in one
    folder would be read.
    """
    styles = [put_style(tmp_path, "of kohya"), put_style(tmp_path, "of diffusers", metadata=FORMAT)]
    megabytes = round(styles[0].stat().st_size / 1e6)
    row = next(row for row in PUBLISHED if row.name == "flash_sdxl")
    use_catalog(monkeypatch, [replace(row, megabytes=megabytes)])
    asked = []
    loras = library(tmp_path, lambda path: asked.append(path.stem))
    assert known(loras, "of kohya") == known(loras, "of diffusers") == (None, None)
    assert asked == ["of diffusers"]


# --- by our metadata, by name, by layers --------------------------------------------------------------------


@pytest.mark.parametrize(
    "said,method",
    [
        ({"method": "tcd", "rank": 8}, "tcd"),
        ({"rank": 8}, "lcm"),
        ({"method": "of a later version"}, "lcm"),
        ([1], "lcm"),
    ],
)
def test_our_distillers_metadata_say_the_method(tmp_path, said, method):
    put(tmp_path, "dmd2 lightning 4 steps", metadata={"lcm_distillation": json.dumps(said)})
    assert known(library(tmp_path), "dmd2 lightning 4 steps") == (method, BY_METADATA)


NAMES = {
    # as published
    "Hyper-SD15-1step-lora": "hyper",
    "Hyper-SD15-2steps-lora": "hyper-2",
    "Hyper-SDXL-4steps-lora": "hyper-4",
    "Hyper-SDXL-8steps-lora": "hyper-8",
    "Hyper-SD15-8steps-CFG-lora": "hyper-cfg-8",
    "Hyper-SDXL-12steps-CFG-lora": "hyper-cfg-12",
    "sdxl_hyper_sd_4step_lora": "hyper-4",
    "sdxl_lightning_2step_lora": "lightning-2",
    "sdxl_lightning_4step_lora": "lightning-4",
    "sdxl_lightning_8step_lora": "lightning-8",
    "dmd2_sdxl_4step_lora_fp16": "dmd2",
    "dmd2_sdxl_4step_lora": "dmd2",
    "TCD-SDXL-LoRA/pytorch_lora_weights": "tcd",
    "sdxl/pcm_sdxl_smallcfg_2step_converted": "pcm-small-2",
    "sdxl/pcm_sdxl_smallcfg_16step_converted": "pcm-small-16",
    "pcm_sd15_normalcfg_4step_converted": "pcm-normal-4",
    "pcm_sdxl_normalcfg_16step_converted": "pcm-normal-16",
    "pcm_sdxl_lcmlike_lora_converted": "pcm-lcm",
    "flash-sdxl/pytorch_lora_weights": "flash",
    "slam-lora-sdxl/pytorch_lora_weights": "slam",
    "sd_xl_turbo_lora_v1-64dim": "turbo",
    "sdxl_tdd_lora_weights": "tdd",
    # as under our own conventional names
    "hyper_sdxl_unified": "hyper",
    "hyper_sd15_8steps_cfg": "hyper-cfg-8",
    "flash_sdxl": "flash",
    "slam_sdxl": "slam",
    "turbo_sdxl_rank64": "turbo",
    # as people call them
    "hyperSDXL_4steps": "hyper-4",
    "Hyper SD XL 8 Step": "hyper-8",
    "hyper-sdxl-lora-8steps-r32": "hyper-8",
    "Hyper-SDXL-8steps-CFG-lora_rank32": "hyper-cfg-8",
    "Hyper SDXL CFG": "hyper-cfg-8",
    "SDXL Lightning 8 Steps": "lightning-8",
    "lightning": "lightning-4",
    "Lightning/4step": "lightning-4",
    "DMD2_r16": "dmd2",
    "dmd2_sdxl_4step_lora_rank4": "dmd2",
    "(speed) DMD2 4-step": "dmd2",
    "dmd": "dmd2",
    "tcd_sdxl_r8": "tcd",
    "TCD": "tcd",
    "PCM small CFG 4 step": "pcm-small-4",
    "pcm_sdxl_smallcfg": "pcm-small-4",
    "pcm normal cfg 8step": "pcm-normal-8",
    "SDXL-Turbo-LoRA": "turbo",
    "lcm_turbo_style/dmd2": "dmd2",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_guess_that_is_called_one(tmp_path, name):
    put(tmp_path, name)
    assert known(library(tmp_path), name) == (NAMES[name], BY_NAME)
    assert named_in(f"{name}.safetensors").name == NAMES[name]


@pytest.mark.parametrize("name", ["x", "AnimateLCM_sd15_t2v_lora", "TLCM", "pytorch_lora_weights", "LCM XL"])
def test_layers_come_last(tmp_path, name):
    put(tmp_path, name)
    assert known(library(tmp_path), name) == ("lcm", BY_LAYERS)


@pytest.mark.parametrize(
    "name",
    [
        "calcmania",
        "hyperrealism 4 steps",
        "enlightning",
        "slammed",
        "flash attn",
        "turbocharged",
        "lcms",
    ],
)
def test_parts_of_words_say_nothing(name):
    assert named_in(f"{name}.safetensors") is None


# --- files that were resized, saved in training, or named by their folder -----------------------------------


@pytest.mark.parametrize(
    "name,method,sampler",
    [
        ("tcd_sdxl_r4", "tcd", "TCD"),
        ("dmd2_sdxl_4step_lora_r4", "dmd2", "LCM"),
        ("Hyper-SDXL-8steps-lora_resized_4", "hyper-8", "DDIM trailing"),
    ],
)
@pytest.mark.parametrize("conv_rank", [4, 2])
def test_a_resized_lora_is_what_it_was_and_gets_no_lcm_lora_on_top(
    tmp_path, name, method, sampler, conv_rank
):
    put(tmp_path, "lcm_lora_sdxl")
    resized = kohya_lora(targeted_layers("small_sdxl"), 4, conv_rank=conv_rank)
    path = write_lora(tmp_path / f"{name}.safetensors", resized, RESIZED)
    loras = library(tmp_path)
    assert known(loras, name) == (method, BY_NAME)
    plan = plan_of(loras, prompt=f"a cat <lora:{name}:0.9>")
    use = plan.first.lora
    assert (use.file.path, use.weight, use.reason) == (path, 0.9, "tag")
    assert [tag.name for tag in use.replaces] == [name]
    assert (plan.method.name, plan.sampler, plan.problem) == (method, sampler, None)
    assert all("lcm_lora_sdxl" not in message for message in plan.messages)


@pytest.mark.parametrize(
    "name", ["lcm_lora_sd15_r4", "lcm-lora-sdv1-5-rank4", "lcm_lora_sd15_resized", "my LCM resized to 4"]
)
def test_a_resized_lcm_lora_alone_in_the_folder_is_used(tmp_path, name):
    path = put(tmp_path, name, SD15, rank=4, metadata=RESIZED)
    loras = library(tmp_path)
    assert known(loras, name) == ("lcm", BY_NAME)
    assert loras.choose(SD15).file.path == path
    plan = plan_of(loras, family=SD15)
    assert plan.problem is None and plan.first.lora.file.path == path


@pytest.mark.parametrize(
    "name", ["hypernova-step00001500", "lightning-step00001500", "dmd2-4steps", "lcm-style"]
)
def test_a_style_saved_in_training_is_a_style_and_the_lcm_lora_is_applied_beside_it(tmp_path, name):
    lcm = put(tmp_path, "lcm_lora_sdxl")
    put_style(tmp_path, name)
    loras = library(tmp_path)
    assert known(loras, name) == (None, None)
    plan = plan_of(loras, prompt=f"a cat <lora:{name}:0.7>")
    assert plan.problem is None and plan.first.lora.file.path == lcm and plan.first.lora.replaces == ()
    assert [tag.name for tag in plan.first.lora.left_beside(find_tags(f"<lora:{name}:0.7>"))] == [name]
    assert all(name not in message for message in plan.messages)


def test_a_folder_names_the_method(tmp_path):
    put(tmp_path, "TCD-SD15-LoRA/pytorch_lora_weights", SD15)
    loras = library(tmp_path)
    assert known(loras, "pytorch_lora_weights") == ("tcd", BY_NAME)
    assert "is a TCD LoRA, not an LCM-LoRA" in loras.choose(SD15).problem
    put(tmp_path, "lcm-lora-sdv1-5/pytorch_lora_weights", SD15)
    assert loras.choose(SD15).file.path.parent.name == "lcm-lora-sdv1-5"
    plan = plan_of(loras, family=SD15, prompt="<lora:TCD-SD15-LoRA/pytorch_lora_weights:1>")
    assert (plan.method.name, plan.sampler, plan.first.gamma) == ("tcd", "TCD", 0.3)


def test_the_lora_folders_own_name_says_nothing(tmp_path):
    put(tmp_path / "TCD models", "x")
    assert known(library(tmp_path / "TCD models"), "x") == ("lcm", BY_LAYERS)


# --- which is used ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, method in NAMES.items() if method not in ("tcd", "tdd")])
def test_nothing_advises_the_sampler_tcd(tmp_path, name):
    put(tmp_path, "lcm_lora_sdxl")
    put(tmp_path, name)
    loras = library(tmp_path)
    for plan in (plan_of(loras, prompt=f"a cat <lora:{name}:1>"), plan_of(loras, lora=name)):
        assert plan.problem is None and plan.first.lora.file == loras.find(name)
        assert not any("TCD" in text for text in (*plan.messages, *plan.hints))


@pytest.mark.parametrize("tag", ["lcm", "LCM", "lcm_lora"])
def test_the_tag_lcm_means_the_lcm_lora_of_the_checkpoints_family(tmp_path, tag):
    for family in (SD15, SDXL, SSD1B, VEGA):
        put(tmp_path, f"accelerate {family.label}", family)
    loras = library(tmp_path)
    for family in (SD15, SDXL, SSD1B, VEGA):
        plan = plan_of(loras, prompt=f"a cat <lora:{tag}:0.6>", family=family)
        use = plan.first.lora
        assert plan.problem is None and use.file.family is family and use.weight == 0.6
        assert [one.name for one in use.replaces] == [tag]


def test_a_file_called_lcm_is_what_the_tag_lcm_means(tmp_path):
    put(tmp_path, "lcm", SDXL)
    put(tmp_path, "lcm_lora_sdxl", SDXL)
    assert plan_of(library(tmp_path), prompt="<lora:lcm:0.6>").first.lora.name == "lcm"


@pytest.mark.parametrize("unread,read", [("lcm_lora_sdxl", "zzz"), ("aaa", "lcm_lora_sdxl"), ("a", "b/c/d")])
def test_a_file_whose_keys_no_webui_reads_comes_after_one_whose_keys_it_reads(tmp_path, unread, read):
    tensors = peft_lora(targeted_layers("small_sdxl"), 1, prefix="base_model.model.")
    peft = write_lora(tmp_path / f"{unread}.safetensors", tensors, FORMAT)
    loras = library(tmp_path)
    assert loras.choose(SDXL).file.path == peft
    kohya = put(tmp_path, read)
    assert loras.choose(SDXL).file.path == kohya
    assert plan_of(loras).first.lora.file.path == kohya
    assert [file.path for file in loras.candidates(SDXL)] == [kohya, peft]


# --- names that are not text --------------------------------------------------------------------------------

not_utf8 = pytest.mark.skipif(sys.platform != "linux", reason="names of files are text on this system")


def put_under_bytes(folder: Path, name: bytes, family: Family = SDXL) -> Path:
    path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
    put(folder, "temporary", family).rename(path)
    return path


@not_utf8
@pytest.mark.parametrize(
    "name,listed",
    [
        (b"lcm \xff\xfe.safetensors", "lcm \\udcff\\udcfe"),
        ("lcm-\u00fcber".encode("latin-1") + b".safetensors", "lcm-\\udcfcber"),
        ("lcm-\u65e5\u672c".encode("shift-jis") + b".safetensors", None),
        ("lcm-\U0001f600 \u00fc".encode() + b".safetensors", "lcm-\U0001f600 \u00fc"),
    ],
)
def test_a_name_that_is_not_utf8_can_be_listed_and_chosen(tmp_path, name, listed):
    path = put_under_bytes(tmp_path, name)
    put(tmp_path, "lcm_lora_sdxl")
    loras = library(tmp_path)
    file = loras.at(path)
    shown = loras.name_of(file)
    assert shown.isprintable() and listed in (None, shown)
    *_, entry = entries([ListedLora(option_name(file, loras), SDXL)], SDXL, shown)
    for text in (shown, entry, json.dumps([shown, entry], ensure_ascii=False)):
        text.encode()
    assert option_of(entry) == lora_option(entry) == shown
    for wanted in (shown, f"{shown}.safetensors", shown.upper(), os.fsdecode(name)):
        assert loras.find(wanted) == file
    for plan in (plan_of(loras, lora=lora_option(entry)), plan_of(loras, prompt=f"<lora:{shown}:0.5>")):
        assert plan.problem is None and plan.first.lora.file == file and plan.first.lora.name == shown
        for text in (status_line(plan), *plan.messages, json.dumps(as_dict(plan), ensure_ascii=False)):
            text.encode()


@not_utf8
def test_a_folder_that_is_not_utf8_can_be_listed(tmp_path):
    folder = tmp_path / os.fsdecode(b"\xe4nderungen")
    folder.mkdir()
    path = put(folder, "lcm_lora_sdxl")
    put(tmp_path / "b", "lcm_lora_sdxl")
    loras = library(tmp_path)
    shown = loras.name_of(loras.at(path))
    assert shown == "\\udce4nderungen/lcm_lora_sdxl" and loras.find(shown).path == path
    assert loras.find("b/lcm_lora_sdxl").path.parent.name == "b"


@not_utf8
def test_a_name_that_spells_such_an_escape_means_the_file_of_that_name(tmp_path):
    put_under_bytes(tmp_path, b"lcm \xff.safetensors")
    path = put(tmp_path, "lcm \\udcff")
    loras = library(tmp_path)
    assert loras.name_of(loras.at(path)) == "lcm \\udcff" and loras.find("lcm \\udcff").path == path


def test_what_macos_puts_beside_a_file_is_not_looked_at(tmp_path):
    path = put(tmp_path, "lcm_lora_sdxl")
    (tmp_path / "._lcm_lora_sdxl.safetensors").write_bytes(b"\0\5\x16\7")
    (tmp_path / "._lcm_lora_sdxl").write_bytes(b"\0\5\x16\7")
    loras = library(tmp_path)
    assert [file.path for file in loras.scan()] == [path]
    assert loras.find("._lcm_lora_sdxl") is None
    path.unlink()
    assert "._" not in loras.choose(SDXL).problem


# --- steps and CFG scale ------------------------------------------------------------------------------------

EXACT = [name for name in NAMES if method_named(NAMES[name]).needs_steps is not None]
KEEPING_CFG = ["Hyper-SDXL-8steps-CFG-lora", "Hyper-SDXL-12steps-CFG-lora"]


@pytest.mark.parametrize("options", [{"steps": 3}, {}], ids=["option", "request"])
@pytest.mark.parametrize("name", EXACT)
def test_a_method_for_n_steps_gets_n_steps_and_that_is_told_once(tmp_path, name, options):
    put(tmp_path, name)
    loras, method = library(tmp_path), method_named(NAMES[name])
    needed, before = method.needs_steps, options.get("steps", 20)
    cfg = method.recipe.cfg[2]
    for plan in (
        plan_of(loras, lora=name, asked=(20, cfg), **options),
        plan_of(loras, prompt=f"<lora:{name}:1>", asked=(20, cfg), **options),
        plan_of(loras, lora=name, asked=(20, cfg), hires=PassRequest(3, 0.5), **options),
    ):
        assert plan.problem is None and plan.method is method
        assert plan.first.steps == len(plan.first.timesteps) == needed
        told = [message for message in plan.messages if f"Steps {before} → {needed}" in message]
        assert len(told) == 1 and f"{method.group} works with {needed} steps" in told[0]
    assert plan.hires.steps == needed // 2
    assert plan_of(loras, lora=name, asked=(20, cfg), steps=needed).messages == ()


@pytest.fixture(scope="module")
def lightning(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lightning")
    put(folder, "lcm_lora_sdxl")
    put(folder, "Hyper-SDXL-2steps-lora")
    put(folder, "lightning 2 steps for SD 1.5", SD15)
    for steps in (2, 4, 8):
        put(folder, f"sdxl_lightning_{steps}step_lora")
    return library(folder)


@pytest.mark.parametrize("steps", [2, 8])
def test_the_file_of_its_kind_for_the_wanted_steps_is_taken(lightning, steps):
    used = f"sdxl_lightning_{steps}step_lora"
    for options, asked in (({"steps": steps}, 20), ({}, steps)):
        plan = plan_of(lightning, lora="sdxl_lightning_4step_lora", asked=(asked, 1.0), **options)
        assert (plan.first.lora.name, plan.method.name) == (used, f"lightning-{steps}")
        assert plan.first.steps == steps and plan.problem is None
        assert plan.messages == (f"sdxl_lightning_4step_lora is for 4 steps: {used} is used for {steps}.",)


def test_the_file_for_the_wanted_steps_is_known_by_its_hash_too(tmp_path, monkeypatch, hashes):
    put(tmp_path, "sdxl_lightning_4step_lora", rank=2)
    row = row_like(put(tmp_path, "x"), "sdxl_lightning_2step")
    use_catalog(monkeypatch, [row])
    hashes["x"] = row.sha256[0]
    loras = library(tmp_path, hashes)
    use = lora_for(
        "a cat", LcmOptions(True, lora="sdxl_lightning_4step_lora"), SDXL, loras, wish=choice.Wish(2)
    )
    assert (use.name, use.method.name, use.known_by) == ("x", "lightning-2", BY_HASH)


def test_without_a_file_for_the_wanted_steps_the_named_one_stays(lightning):
    plan = plan_of(lightning, lora="sdxl_lightning_4step_lora", steps=3, cfg=1.0)
    assert plan.first.lora.name == "sdxl_lightning_4step_lora" and plan.first.steps == 4
    assert len(plan.messages) == 1 and plan.messages[0].startswith(
        "Steps 3 → 4: Lightning works with 4 steps"
    )


def test_what_is_remembered_for_the_checkpoint_follows_the_steps_too(lightning):
    use = lora_for("a cat", ON, SDXL, lightning, "sdxl_lightning_4step_lora", choice.Wish(2))
    assert (use.name, use.reason) == ("sdxl_lightning_2step_lora", "remembered")


@pytest.mark.parametrize("steps", [2, 3, 8])
def test_a_typed_tag_stays_the_file_that_it_names(lightning, steps):
    prompt = "a cat <lora:sdxl_lightning_4step_lora:1>"
    plan = plan_of(lightning, prompt=prompt, steps=steps, cfg=1.0)
    assert (plan.first.lora.name, plan.first.steps) == ("sdxl_lightning_4step_lora", 4)
    assert len(plan.messages) == 1 and f"Steps {steps} → 4" in plan.messages[0]


@pytest.mark.parametrize("name", KEEPING_CFG)
def test_cfg_1_of_the_sliders_becomes_the_usual_one_of_a_cfg_keeping_file(tmp_path, name):
    put(tmp_path, name)
    loras = library(tmp_path)
    needed = named_in(f"{name}.safetensors").needs_steps
    plan = plan_of(loras, lora=name, steps=4, cfg=1.0, negative="blurry")
    assert plan.problem is None and plan.cfg == 5.0 and not plan.first.guided.ignores_negative_prompt
    assert plan.messages == (
        f"Steps 4 → {needed}, CFG 1 → 5: Hyper-SD CFG works with {needed} steps and a CFG scale of 3 to 8.",
    )
    for given in (3.0, 5.0, 8.0):
        assert plan_of(loras, lora=name, steps=needed, cfg=given).cfg == given
    # of the request's own, any is brought into the range
    assert [plan_of(loras, lora=name, asked=(needed, cfg)).cfg for cfg in (1.0, 2.5, 7.0, 12.0)] == [
        5,
        5,
        7,
        8,
    ]


@pytest.mark.parametrize("cfg", [0.5, 2.5, 8.5, 20.0])
def test_a_cfg_scale_that_is_in_neither_range_is_refused(tmp_path, cfg):
    put(tmp_path, KEEPING_CFG[0])
    plan = plan_of(library(tmp_path), lora=KEEPING_CFG[0], steps=8, cfg=cfg)
    assert plan.problem == f"LCM option 'cfg' is {cfg}; it must be a number from 3 to 8."


def test_steps_and_cfg_that_no_lcm_lora_works_with_are_refused_for_one(tmp_path):
    put(tmp_path, "lcm_lora_sdxl")
    loras = library(tmp_path)
    assert plan_of(loras, steps=9, cfg=1.0).problem == (
        "LCM option 'steps' is 9; it must be a whole number from 1 to 8."
    )
    assert plan_of(loras, steps=4, cfg=5.0).problem == (
        "LCM option 'cfg' is 5.0; it must be a number from 1 to 2."
    )


# --- the best that is there ---------------------------------------------------------------------------------

BEST_NAMES = {
    "hyper": "Hyper-SDXL-1step-lora",
    "dmd2": "dmd2_sdxl_4step_lora",
    **{f"hyper-{steps}": f"Hyper-SDXL-{steps}steps-lora" for steps in (8, 4, 2)},
    **{f"lightning-{steps}": f"sdxl_lightning_{steps}step_lora" for steps in (8, 4, 2)},
    "tcd": "TCD-SDXL-LoRA",
    "lcm": "lcm_lora_sdxl",
}


@pytest.mark.parametrize("steps", [1, 2, 4, 6, 8])
def test_best_takes_the_first_of_its_order_that_is_there_and_made_for_the_steps(tmp_path, steps):
    assert tuple(BEST_NAMES) == BEST_FIRST
    for name in BEST_NAMES.values():
        put(tmp_path, name)
    put(tmp_path, "Turbo SDXL")  # in no order
    put(tmp_path, "Hyper-SD15-1step-lora", SD15)
    needed = {name: method_named(name).needs_steps for name in BEST_FIRST}
    usable = [name for name in BEST_FIRST if needed[name] in (None, steps)]
    others = [name for name in BEST_FIRST if name not in usable]
    others.sort(key=lambda name: abs(needed[name] - steps))  # nothing else is there: the nearest, told
    for name in (*usable, *others):
        plan = plan_of(library(tmp_path), lora="best", steps=steps, cfg=1.0)
        assert plan.problem is None and plan.method.name == name
        assert plan.first.steps == (needed[name] or steps)
        assert any(" → " in message for message in plan.messages) == (name in others)
        plan.first.lora.file.path.unlink()
    problem = plan_of(library(tmp_path), lora="best", steps=steps, cfg=1.0).problem
    assert problem.startswith("No LCM-LoRA for SDXL was found")


@pytest.mark.parametrize(
    "negative,cfg,used",
    [
        ("blurry", 5.0, "Hyper-SDXL-8steps-CFG-lora"),
        ("", 5.0, None),
        ("  ", 1.0, "Hyper-SDXL-1step-lora"),
        ("blurry", 1.0, "Hyper-SDXL-1step-lora"),
        ("blurry", 2.0, "Hyper-SDXL-1step-lora"),
    ],
)
def test_best_takes_a_file_that_keeps_cfg_only_for_a_negative_prompt_that_may_work(
    tmp_path, negative, cfg, used
):
    for name in (*BEST_NAMES.values(), "Hyper-SDXL-8steps-CFG-lora"):
        put(tmp_path, name)
    plan = plan_of(library(tmp_path), lora="best", steps=8, cfg=cfg, negative=negative)
    if used is None:
        assert "'cfg' is 5.0; it must be a number from 1 to 2" in plan.problem
    else:
        assert plan.problem is None and plan.first.lora.name == used
        assert plan.first.guided.ignores_negative_prompt == (negative == "blurry" and cfg == 1.0)


def test_auto_never_takes_another_method_silently(tmp_path):
    for name in BEST_NAMES.values():
        put(tmp_path, name)
    assert plan_of(library(tmp_path)).first.lora.name == "lcm_lora_sdxl"
    (tmp_path / "lcm_lora_sdxl.safetensors").unlink()
    plan = plan_of(library(tmp_path))
    assert plan.first.lora.file is None and plan.problem.startswith("No LCM-LoRA for SDXL was found")


# --- corrected by the user ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lcm_lora_sdxl", "dmd2_sdxl_4step_lora"])
@pytest.mark.parametrize("metadata", [FORMAT, {"lcm_distillation": '{"method": "tcd"}'}, RESIZED])
def test_a_correction_counts_over_everything_and_outlives_a_new_name(tmp_path, monkeypatch, name, metadata):
    path = put(tmp_path / "Lora", name, metadata=metadata)
    digest, size = sha256_of_file(path), path.stat().st_size
    row = next(row for row in PUBLISHED if row.name == "slam_sdxl")
    use_catalog(monkeypatch, [*PUBLISHED, replace(row, sha256=(digest,), size=size, short=("0" * 12,))])
    corrections = RememberedMethods(tmp_path / "methods.json")
    loras = LoraLibrary([tmp_path / "Lora"], short_hashes=lambda: {path: "0" * 12}, corrections=corrections)
    assert known(loras, name) == ("slam", BY_HASH)

    corrections.remember(digest.upper(), method_named("lightning-4"), size=size, name=name)
    loras.scan()
    assert known(loras, name) == ("lightning-4", BY_YOU)
    (tmp_path / "Lora" / "sub").mkdir()
    path.rename(tmp_path / "Lora" / "sub" / "Hyper 8 steps.safetensors")
    loras.scan()
    assert known(loras, "Hyper 8 steps") == ("lightning-4", BY_YOU)
    again = LoraLibrary([tmp_path / "Lora"], corrections=RememberedMethods(tmp_path / "methods.json"))
    plan = plan_of(again, prompt="<lora:Hyper 8 steps:1>", asked=(4, 1.0))
    assert (plan.method.name, plan.first.lora.known_by) == ("lightning-4", BY_YOU)
    assert plan.messages == ()

    corrections.forget(digest)
    loras.scan()
    assert known(loras, "Hyper 8 steps") == ("slam", BY_HASH)


def test_another_file_of_the_same_size_is_not_corrected(tmp_path):
    one = put(tmp_path, "one", metadata={"n": "1"})
    other = put(tmp_path, "two", metadata={"n": "2"})
    assert one.stat().st_size == other.stat().st_size
    corrections = RememberedMethods(tmp_path / "methods.json")
    corrections.remember(sha256_of_file(one), method_named("tcd"), size=one.stat().st_size, name="one")
    loras = LoraLibrary([tmp_path], corrections=corrections)
    assert (known(loras, "one"), known(loras, "two")) == (("tcd", BY_YOU), ("lcm", BY_LAYERS))
    assert loras.choose(SDXL).file.path == other
    assert [(file.path, method.name) for file, method, _ in loras.few_step_loras()] == [
        (one, "tcd"),
        (other, "lcm"),
    ]


def test_a_style_that_was_taken_for_an_lcm_lora_can_be_told_of_another_method(tmp_path):
    path = put_style(tmp_path, "x")
    corrections = RememberedMethods(tmp_path / "methods.json")
    corrections.remember(sha256_of_file(path), method_named("dmd2"), size=path.stat().st_size, name="x")
    loras = LoraLibrary([tmp_path], corrections=corrections)
    assert [item.method.name for item in few_step_tags("<lora:x:1>", loras)] == ["dmd2"]
