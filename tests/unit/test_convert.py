"""Conversion of full latent consistency models to checkpoints for WebUIs."""

from __future__ import annotations

import shutil
import tracemalloc
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from safetensors.torch import load_file, safe_open, save_file

import install
from lib_lcm.checkpoints import PROJECTION_KEY, convert
from lib_lcm.checkpoints.convert import ConversionError
from tests.full_lcm import PROJECTION, build_full_lcm, in_original_names, save_base
from workbench.small_models import LAYOUTS

FAMILIES = ("sd15", "sdxl", "ssd1b")
UNET = "model.diffusion_model."


@pytest.fixture
def published(tmp_path: Path) -> dict[str, torch.Tensor]:
    """A full LCM of SD 1.5 in half precision in lcm.safetensors, and another UNet in base.safetensors."""
    unet = {key: tensor.half() for key, tensor in build_full_lcm("sd15").state_dict().items()}
    save_file(unet, tmp_path / "lcm.safetensors")
    save_base(_without_projection(build_full_lcm("sd15", seed=1).state_dict()), tmp_path / "base.safetensors")
    return unet


def _without_projection(unet: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: tensor for key, tensor in unet.items() if key != PROJECTION}


def converted(folder: Path, source: str = "lcm.safetensors") -> dict[str, torch.Tensor]:
    convert.convert(folder / source, folder / "base.safetensors", folder / "new.safetensors")
    return load_file(folder / "new.safetensors")


def refusal(folder: Path, source: str = "lcm.safetensors") -> str:
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(ConversionError) as refused:
        convert.convert(folder / source, folder / "base.safetensors", folder / "new.safetensors")
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    return str(refused.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_new_unet_stands_in_the_original_layout_as_diffusers_reads_it(
    family: str, tmp_path: Path
) -> None:
    unet = build_full_lcm(family).state_dict()
    save_file(unet, tmp_path / "lcm.safetensors")
    save_base(_without_projection(build_full_lcm(family, seed=1).state_dict()), tmp_path / "base.safetensors")
    new = converted(tmp_path)
    # as diffusers reads an original checkpoint of this layout
    config = {"layers_per_block": 2, "num_class_embeds": None, "class_embed_type": None, **LAYOUTS[family]}
    read = convert_ldm_unet_checkpoint({**new}, config)
    assert read.keys() == _without_projection(unet).keys()
    assert all(torch.equal(read[key], unet[key]) for key in read)
    assert torch.equal(new[PROJECTION_KEY], unet[PROJECTION])


def test_text_encoder_and_vae_are_the_base_s_to_the_bit(published: dict, tmp_path: Path) -> None:
    base, new = load_file(tmp_path / "base.safetensors"), converted(tmp_path)
    rest = [key for key in base if not key.startswith(UNET)]
    assert rest and all(torch.equal(new[key], base[key]) for key in rest)
    assert new.keys() == {*base, PROJECTION_KEY}


def test_each_tensor_keeps_the_precision_that_it_is_published_in(published: dict, tmp_path: Path) -> None:
    new = converted(tmp_path)
    assert {tensor.dtype for key, tensor in new.items() if key.startswith(UNET)} == {torch.float16}
    assert new[PROJECTION_KEY].dtype == torch.float16
    assert new["alphas_cumprod"].dtype == torch.float32


@pytest.mark.parametrize(
    "place",
    [
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "diffusion_pytorch_model.fp16.safetensors",
    ],
)
def test_a_diffusers_folder_will_do(place: str, published: dict, tmp_path: Path) -> None:
    expected = converted(tmp_path)
    target = tmp_path / "folder" / place
    target.parent.mkdir(parents=True)
    shutil.move(tmp_path / "lcm.safetensors", target)
    (tmp_path / "new.safetensors").unlink()
    new = converted(tmp_path, "folder")
    assert all(torch.equal(new[key], expected[key]) for key in expected)


def test_a_whole_checkpoint_with_the_projection_will_do_also_as_its_own_base(
    published: dict, tmp_path: Path
) -> None:
    expected = converted(tmp_path)
    (tmp_path / "new.safetensors").unlink()
    save_base(published, tmp_path / "lcm.safetensors")
    shutil.copy(tmp_path / "lcm.safetensors", tmp_path / "base.safetensors")
    new = converted(tmp_path)
    assert new.keys() == expected.keys()
    assert all(torch.equal(new[key], expected[key]) for key in expected if key.startswith((UNET, "lcm.")))


def test_a_second_copy_of_the_base_s_unet_is_left_out(published: dict, tmp_path: Path) -> None:
    unet = _without_projection(published)
    save_base(unet, tmp_path / "base.safetensors", **{"model_ema.diffusion_modelouts0weight": torch.ones(3)})
    assert "model_ema.diffusion_modelouts0weight" not in converted(tmp_path)


def test_what_the_base_says_of_itself_stays_but_for_title_and_hashes(published: dict, tmp_path: Path) -> None:
    base = load_file(tmp_path / "base.safetensors")
    metadata = {"modelspec.title": "Base", "sshs_model_hash": "1", "note": "fine"}
    save_file(base, tmp_path / "base.safetensors", metadata)
    converted(tmp_path)
    with safe_open(tmp_path / "new.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "note": "fine"}


def test_it_needs_the_memory_of_a_few_megabytes(published: dict, tmp_path: Path) -> None:
    big = {"first_stage_model.big": torch.zeros(2**25)}  # 128 MiB
    save_base(_without_projection(published), tmp_path / "base.safetensors", **big)
    tracemalloc.start()
    convert.convert(tmp_path / "lcm.safetensors", tmp_path / "base.safetensors", tmp_path / "new.safetensors")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * convert.CHUNK_BYTES


# --- what is refused ----------------------------------------------------------------------------------------


def test_a_unet_without_the_projection_is_refused(published: dict, tmp_path: Path) -> None:
    save_file(_without_projection(published), tmp_path / "lcm.safetensors")
    assert "takes the guidance scale" in refusal(tmp_path)


@pytest.mark.parametrize(("family", "label"), [("sdxl", "SDXL"), ("ssd1b", "SSD-1B")])
def test_a_base_of_another_family_is_refused(
    family: str, label: str, published: dict, tmp_path: Path
) -> None:
    save_base(_without_projection(build_full_lcm(family).state_dict()), tmp_path / "base.safetensors")
    sentence = refusal(tmp_path)
    assert "lcm.safetensors is a UNet of SD 1.5" in sentence and f"a checkpoint of {label}" in sentence


def test_a_tensor_of_the_base_that_would_not_be_replaced_is_named(published: dict, tmp_path: Path) -> None:
    del published["mid_block.resnets.1.conv2.bias"], published["conv_out.weight"]
    save_file(published, tmp_path / "lcm.safetensors")
    sentence = refusal(tmp_path)
    assert f"nothing for {UNET}" in sentence and "and 1 more of base.safetensors" in sentence


def test_a_tensor_that_the_base_has_no_place_for_is_named(published: dict, tmp_path: Path) -> None:
    save_file({**published, "conv_extra.weight": torch.zeros(1)}, tmp_path / "lcm.safetensors")
    assert refusal(tmp_path) == "base.safetensors has no place for conv_extra.weight of lcm.safetensors."


def test_a_base_for_inpainting_is_refused_by_the_shape(published: dict, tmp_path: Path) -> None:
    wide = {**_without_projection(published), "conv_in.weight": torch.zeros(16, 9, 3, 3)}
    save_base(wide, tmp_path / "base.safetensors")
    assert f"{UNET}input_blocks.0.0.weight is [" in refusal(tmp_path)


def test_a_projection_of_another_width_is_refused(published: dict, tmp_path: Path) -> None:
    save_file({**published, PROJECTION: torch.zeros(16, 64)}, tmp_path / "lcm.safetensors")
    assert "time_embedding.cond_proj of lcm.safetensors is [16, 64]" in refusal(tmp_path)


def test_a_base_that_is_no_checkpoint_is_refused(published: dict, tmp_path: Path) -> None:
    save_file(_without_projection(published), tmp_path / "base.safetensors")
    assert "base.safetensors is no checkpoint in the original layout" in refusal(tmp_path)


def test_a_file_that_is_no_unet_is_refused(published: dict, tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "lcm.safetensors")
    assert refusal(tmp_path).startswith("lcm.safetensors holds no UNet of a kind that is known: name")


def test_a_file_cut_off_is_refused(published: dict, tmp_path: Path) -> None:
    whole = (tmp_path / "lcm.safetensors").read_bytes()
    (tmp_path / "lcm.safetensors").write_bytes(whole[:-100])
    assert "download it again" in refusal(tmp_path)


def test_a_pointer_in_the_place_of_a_file_is_refused(published: dict, tmp_path: Path) -> None:
    (tmp_path / "lcm.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n" * 3)
    assert "lcm.safetensors is a Git LFS pointer" in refusal(tmp_path)


def test_a_file_that_is_not_there_and_a_folder_without_one_are_refused(
    published: dict, tmp_path: Path
) -> None:
    assert "other.safetensors cannot be read" in refusal(tmp_path, "other.safetensors")
    (tmp_path / "empty").mkdir()
    assert "has none of unet/diffusion_pytorch_model.fp16.safetensors" in refusal(tmp_path, "empty")


def test_a_file_that_is_there_is_never_overwritten(published: dict, tmp_path: Path) -> None:
    (tmp_path / "new.safetensors").write_bytes(b"mine")
    assert "is there already" in refusal(tmp_path)


def test_a_disk_that_is_too_small_is_refused(
    published: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(convert.shutil, "disk_usage", lambda folder: usage(10, 9, 1))
    assert "make room" in refusal(tmp_path)


def test_an_interruption_leaves_nothing_behind(published: dict, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        convert.convert(
            tmp_path / "lcm.safetensors",
            tmp_path / "base.safetensors",
            tmp_path / "new.safetensors",
            interrupt,
        )
    assert sorted(tmp_path.iterdir()) == before


# --- by hand ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "name"),
    [([], "lcm-webui"), (["--output", "mine"], "mine"), (["--output", "v1.5.safetensors"], "v1.5")],
)
def test_the_command_writes_beside_the_base(
    output: list[str], name: str, published: dict, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "models").mkdir()
    base = shutil.move(tmp_path / "base.safetensors", tmp_path / "models" / "base.safetensors")
    done = install.main(["--convert", str(tmp_path / "lcm.safetensors"), "--base", str(base), *output])
    assert done == 0
    assert f"{name}.safetensors is complete: SD 1.5" in capsys.readouterr().out
    assert PROJECTION_KEY in load_file(tmp_path / "models" / f"{name}.safetensors")


def test_the_command_says_in_a_sentence_what_is_wrong(
    published: dict, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    base = str(tmp_path / "base.safetensors")
    assert install.main(["--convert", base, "--base", base]) == 1
    assert "takes the guidance scale" in capsys.readouterr().err


def test_the_command_asks_for_the_base(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        install.main(["--convert", "lcm.safetensors"])
    assert "--convert needs --base" in capsys.readouterr().err


def test_original_names_of_the_tests_are_those_of_the_original_unet() -> None:
    names = in_original_names(build_full_lcm("sd15").state_dict())
    assert {
        "model.diffusion_model.input_blocks.3.0.op.weight",
        "model.diffusion_model.middle_block.2.in_layers.0.bias",
        "model.diffusion_model.output_blocks.2.1.conv.weight",
        "model.diffusion_model.output_blocks.5.2.conv.weight",
        "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.attn2.to_out.0.bias",
    } <= names.keys()
