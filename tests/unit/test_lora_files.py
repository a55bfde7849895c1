"""A LoRA file's header tells its family, whether it is an LCM-LoRA, and whether it is whole; no file makes
the reader raise.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib_lcm.families import SD15, SDXL, SSD1B, VEGA, Family, family_named
from lib_lcm.lora import file as lora_files
from lib_lcm.lora import header as safetensors_header
from lib_lcm.lora.catalog import published_lcm
from lib_lcm.lora.file import MAX_HEADER_BYTES, LoraFile, inspect_lora
from lib_lcm.lora.key_names import split_key
from tests.unit.lora_fixtures import (
    ATTENTION_TARGETS,
    LCM_TARGETS,
    LDM_OUTSIDE_BLOCKS,
    STYLE_TARGETS,
    header_bytes,
    kohya,
    kohya_lora,
    ldm,
    lora_shapes,
    official_lora_tensors,
    paired_lora,
    peft_lora,
    targeted_layers,
    text_encoder_layers,
    unet_layers,
    write_header,
    write_lora,
)

FORMAT = {"format": "pt"}


def inspect(tmp_path: Path, tensors, metadata=FORMAT, dtype="F16") -> LoraFile:
    result = inspect_lora(write_lora(tmp_path / "lora.safetensors", tensors, metadata, dtype))
    assert result.problem is None, result.problem
    return result


# --- LCM-LoRAs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "official, modules",
    [(published_lcm(family), modules) for family, modules in ((SD15, 278), (SDXL, 788), (SSD1B, 423))],
    ids=lambda x: getattr(x, "name", x),
)
def test_published_lcm_loras_are_recognised(tmp_path, official, modules):
    path = write_lora(tmp_path / "x.safetensors", official_lora_tensors(official.family.name), FORMAT)
    result = inspect_lora(path)
    assert (result.family, result.is_lcm, result.rank, result.modules) == (official.family, True, 64, modules)
    assert (result.has_text_encoder, result.problem, result.name) == (False, None, "x")
    # The published files have exactly these names and shapes, so the stand-ins have exactly their sizes,
    # header included (for SDXL, the upload before the one whose metadata hold a description).
    assert path.stat().st_size == result.size == official.size - (600 if official.family is SDXL else 0)


@pytest.mark.parametrize("model, family", [("small_sd15", "sd15"), ("small_sdxl", "sdxl")])
def test_small_models_of_the_same_layout_count(tmp_path, model, family):
    result = inspect(tmp_path, official_lora_tensors(model, rank=8), {"lcm_distillation": "{}"})
    assert (result.family, result.is_lcm, result.rank) == (family_named(family), True, 8)
    assert inspect(tmp_path, official_lora_tensors(model, rank=8), None).is_lcm


@pytest.mark.parametrize("model", ["sd15", "sdxl", "ssd1b"])
@pytest.mark.parametrize(
    "tensors_of",
    [
        lambda layers: peft_lora(layers, 32),
        lambda layers: peft_lora(layers, 32, adapter=".default"),
        lambda layers: peft_lora(layers, 32, prefix="unet."),
        lambda layers: peft_lora(layers, 32, prefix="diffusion_model."),
        lambda layers: paired_lora(layers, 32, ".lora.down.weight", ".lora.up.weight", "unet."),
        lambda layers: paired_lora(
            layers, 32, ".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight", "unet."
        ),
        lambda layers: kohya_lora(layers, 32),
    ],
)
def test_lcm_loras_in_every_key_style_and_rank_are_recognised(tmp_path, model, tensors_of):
    result = inspect(tmp_path, tensors_of(targeted_layers(model)), None)
    assert (result.family, result.is_lcm, result.rank) == (family_named(model), True, 32)
    assert result.modules == len(targeted_layers(model))


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32"])
def test_precision_does_not_matter(tmp_path, dtype):
    assert inspect(tmp_path, official_lora_tensors("sd15"), dtype=dtype).is_lcm


def test_our_distillers_metadata_stand_in_for_coverage(tmp_path):
    attention = kohya_lora(targeted_layers("sdxl", ATTENTION_TARGETS), 8)
    assert not inspect(tmp_path, attention).is_lcm
    assert inspect(tmp_path, attention, {"lcm_distillation": json.dumps({"rank": 8})}).is_lcm
    with_text = {**attention, **kohya_lora(text_encoder_layers(), 8, "lora_te1")}
    assert not inspect(tmp_path, with_text, {"lcm_distillation": "{}"}).is_lcm


def without(tensors, *parts):
    return {name: shape for name, shape in tensors.items() if not any(part in name for part in parts)}


@pytest.mark.parametrize(
    "change",
    [
        lambda t: without(t, "time_emb_proj"),
        lambda t: without(t, "conv1"),
        lambda t: without(t, "conv_shortcut"),
        lambda t: without(t, "downsamplers_0"),
        lambda t: without(t, "up_blocks_1_upsamplers"),
        lambda t: without(t, "ff_net_0"),
        lambda t: without(t, "proj_out"),
        lambda t: without(t, "attn1"),
        lambda t: without(t, "mid_block"),
        lambda t: without(t, "down_blocks_1_attentions_1"),
        lambda t: without(t, "up_blocks_0_resnets_2"),
        lambda t: without(t, "up_blocks_1_attentions_0_transformer_blocks_0_attn2_to_v"),
        lambda t: {**t, "bundle_emb.cat.emb_params": (2, 768)},
        lambda t: {**t, "lora_unet_mid_block_attentions_0_proj_in.dora_scale": (1280, 1)},
        lambda t: {**t, **kohya_lora(text_encoder_layers(layers=1), 64, "lora_te")},
        lambda t: {**t, **kohya_lora({"mid_block.attentions.0.proj_in": (1280, 1280)}, 32)},
    ],
)
@pytest.mark.parametrize("model", ["sd15", "sdxl"])
def test_anything_short_of_the_whole_unet_at_one_rank_is_not_lcm(tmp_path, model, change):
    tensors = official_lora_tensors(model)
    changed = change(tensors)
    assert changed != tensors
    result = inspect(tmp_path, changed)
    assert (result.family, result.is_lcm) == (family_named(model), False)


@pytest.mark.parametrize("key", ["ss_network_module", "sshs_model_hash", "ss_tag_frequency"])
def test_a_style_trainers_metadata_speak_against_lcm(tmp_path, key):
    metadata = {**FORMAT, key: "x" * 5000}
    result = inspect(tmp_path, official_lora_tensors("sd15"), metadata)
    assert (result.family, result.is_lcm) == (SD15, False)
    assert result.metadata == FORMAT  # long values are not kept
    assert not inspect(tmp_path, official_lora_tensors("sd15"), {**metadata, "lcm_distillation": "{}"}).is_lcm


# --- style LoRAs --------------------------------------------------------------------------------------------


def ldm_layers(model, targets=LCM_TARGETS):
    return {ldm(path): shape for path, shape in targeted_layers(model, targets).items()}


CLIP_G = {"width": 1280, "layers": 32}
STYLES = {
    "sd15 kohya": (
        "sd15",
        lambda: {
            **kohya_lora(targeted_layers("sd15", STYLE_TARGETS), 32),
            **kohya_lora(text_encoder_layers(), 32, "lora_te"),
        },
    ),
    "sd15 kohya, unet only": ("sd15", lambda: kohya_lora(targeted_layers("sd15", STYLE_TARGETS), 64)),
    "sd2 kohya": ("sd2", lambda: kohya_lora(targeted_layers("sd2", STYLE_TARGETS), 8)),
    "sdxl kohya": (
        "sdxl",
        lambda: {
            **kohya_lora(ldm_layers("sdxl", STYLE_TARGETS), 16),
            **kohya_lora(text_encoder_layers(), 16, "lora_te1"),
            **kohya_lora(text_encoder_layers(**CLIP_G), 16, "lora_te2"),
        },
    ),
    # the hard case: all the layers of an LCM-LoRA at one rank, its metadata taken away; only LDM names give
    # it away
    "sdxl kohya LoCon, unet only, one rank": ("sdxl", lambda: kohya_lora(ldm_layers("sdxl"), 64)),
    "sd15 kohya LoCon, two ranks": ("sd15", lambda: kohya_lora(targeted_layers("sd15"), 64, conv_rank=32)),
    "ssd1b kohya LoCon": ("ssd1b", lambda: kohya_lora(ldm_layers("ssd1b"), 16)),
    "sdxl peft, attention": (
        "sdxl",
        lambda: peft_lora(targeted_layers("sdxl", ATTENTION_TARGETS), 4, prefix="unet."),
    ),
    "ssd1b peft, attention": (
        "ssd1b",
        lambda: peft_lora(targeted_layers("ssd1b", ATTENTION_TARGETS), 4, prefix="unet."),
    ),
    "sdxl refiner": ("sdxl_refiner", lambda: kohya_lora(ldm_layers("sdxl_refiner", STYLE_TARGETS), 16)),
    "sd15, first diffusers format": (
        "sd15",
        lambda: {
            name.replace(f".to_{x}_lora", f".processor.to_{x}_lora").replace(
                ".to_out.0_lora", ".processor.to_out_lora"
            ): shape
            for name, shape in paired_lora(
                targeted_layers("sd15", ATTENTION_TARGETS), 4, "_lora.down.weight", "_lora.up.weight", "unet."
            ).items()
            for x in "qkv"
            if f"to_{x}_" in name or (x == "q" and "to_out" in name)
        },
    ),
    "sd15, one attention layer": (
        "sd15",
        lambda: kohya_lora({"mid_block.attentions.0.transformer_blocks.0.attn2.to_k": (1280, 768)}, 4),
    ),
}


@pytest.mark.parametrize("style", STYLES)
def test_style_loras_have_a_family_and_are_not_lcm(tmp_path, style):
    family, make_tensors = STYLES[style]
    tensors = make_tensors()
    result = inspect(tmp_path, tensors)
    assert (result.family, result.is_lcm) == (family_named(family), False)
    assert result.has_text_encoder == any("lora_te" in name for name in tensors)
    assert result.rank in (4, 8, 16, 32, 64)


def test_a_style_loras_modules_are_counted_once_each(tmp_path):
    _, make_tensors = STYLES["sdxl kohya"]
    result = inspect(tmp_path, make_tensors(), {"ss_base_model_version": "sdxl_base_v1-0"})
    assert (result.modules, result.rank, result.metadata["ss_base_model_version"]) == (
        722 + 72 + 192,
        16,
        "sdxl_base_v1-0",
    )


@pytest.mark.parametrize(
    "kept",
    [
        ("down_blocks",),
        ("up_blocks_0_attentions_1",),
        ("down_blocks_1", "up_blocks_1"),
        ("transformer_blocks_0_", "transformer_blocks_1_"),
        ("attentions_0_transformer_blocks_0_",),
        ("up_blocks", "down_blocks"),  # all but the mid block
    ],
)
def test_an_sdxl_style_lora_that_leaves_blocks_out_is_not_taken_for_ssd1b(tmp_path, kept):
    tensors = kohya_lora(targeted_layers("sdxl", STYLE_TARGETS), 16)
    some = {name: shape for name, shape in tensors.items() if any(part in name for part in kept)}
    assert inspect(tmp_path, some).family is SDXL


def first_blocks_without_mid(targets):
    """SDXL's layers without the mid block's attention, its second residual block, and all but the first
    transformer blocks.
    """
    layers = targeted_layers("sdxl", targets)
    left_out = ("mid_block.attentions", "mid_block.resnets.1")
    return {
        p: s
        for p, s in layers.items()
        if not p.startswith(left_out) and ("transformer_blocks" not in p or "transformer_blocks.0." in p)
    }


def test_few_transformer_blocks_mean_ssd1b_only_beside_a_mid_block_of_one_residual_block(tmp_path):
    small_ssd1b = inspect(tmp_path, kohya_lora(first_blocks_without_mid(LCM_TARGETS), 8))
    assert (small_ssd1b.family, small_ssd1b.is_lcm) == (SSD1B, True)
    assert inspect(tmp_path, kohya_lora(first_blocks_without_mid(STYLE_TARGETS), 8)).family is SDXL


def test_an_ssd1b_lora_with_one_block_too_many_is_sdxl(tmp_path):
    extra = {"down_blocks.2.attentions.0.transformer_blocks.4.attn1.to_q": (1280, 1280)}
    result = inspect(tmp_path, {**official_lora_tensors("ssd1b"), **kohya_lora(extra, 64)})
    assert (result.family, result.is_lcm) == (SDXL, False)


def test_a_lora_of_segmind_vega_is_neither_sdxl_nor_ssd1b(tmp_path):
    # Vega is SSD-1B with fewer blocks still, and has an LCM-LoRA of its own (VegaRT)
    result = inspect(tmp_path, official_lora_tensors("vega"))
    assert (result.family, result.is_lcm) == (VEGA, True)


# --- LyCORIS ------------------------------------------------------------------------------------------------


def lycoris(layers, parts_of):
    return {
        f"{kohya(path)}.{part}": shape
        for path, weight in layers.items()
        for part, shape in {**parts_of(weight), "alpha": ()}.items()
    }


def flat(weight):
    return weight[0], weight[1] * (weight[2] * weight[3] if len(weight) == 4 else 1)


LYCORIS = {
    "loha": lambda w: {
        f"hada_w{i}_{ab}": s for i in "12" for ab, s in (("a", (flat(w)[0], 8)), ("b", (8, flat(w)[1])))
    },
    "lokr": lambda w: {"lokr_w1": (2, 2), "lokr_w2_a": (w[0] // 2, 8), "lokr_w2_b": (8, flat(w)[1] // 2)},
    "full": lambda w: {"diff": w},
    "glora": lambda w: {
        "a1.weight": (8, flat(w)[1]),
        "a2.weight": (flat(w)[1], 8),
        "b1.weight": (8, flat(w)[1]),
        "b2.weight": (flat(w)[0], 8),
    },
}


@pytest.mark.parametrize("kind", LYCORIS)
@pytest.mark.parametrize("model", ["sd15", "sdxl"])
def test_lycoris_networks_have_a_family_and_are_never_lcm(tmp_path, kind, model):
    tensors = lycoris(targeted_layers(model), LYCORIS[kind])
    result = inspect(tmp_path, tensors, {"lcm_distillation": "{}"})
    assert (result.family, result.is_lcm, result.modules) == (
        family_named(model),
        False,
        len(targeted_layers(model)),
    )
    assert result.rank == (None if kind == "full" else 8)


def test_ia3_and_oft_are_loras_even_where_their_shapes_hide_the_family(tmp_path):
    layers = targeted_layers("sd15", ("attn2.to_k", "attn2.to_v", "ff.net.2"))
    ia3 = lycoris(layers, lambda w: {"weight": (w[0], 1), "on_input": ()})
    assert (inspect(tmp_path, ia3).family, inspect(tmp_path, ia3).modules) == (None, len(layers))
    oft = {
        name.replace("lora_unet", "oft_unet"): s
        for name, s in lycoris(layers, lambda w: {"oft_blocks": (4, 8, 8)}).items()
    }
    assert (inspect(tmp_path, oft).family, inspect(tmp_path, oft).modules) == (None, len(layers))
    deep = lycoris(ldm_layers("sdxl", ("attn2.to_k",)), lambda w: {"weight": (w[0], 1), "on_input": ()})
    assert inspect(tmp_path, deep).family is SDXL  # ten transformer blocks in a row


# --- the family from other layers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tensors, family",
    [
        (lambda: kohya_lora(text_encoder_layers(), 8, "lora_te"), "sd15"),
        (lambda: kohya_lora(text_encoder_layers(1024, 23), 8, "lora_te"), "sd2"),
        (lambda: kohya_lora(text_encoder_layers(), 8, "lora_te1"), None),  # SDXL, SD 3 and Flux all have it
        (lambda: kohya_lora(targeted_layers("sd15", ("proj_in",)), 8), "sd15"),
        (lambda: kohya_lora(targeted_layers("sdxl", ("attn1.to_q",)), 8), "sdxl"),
        # too shallow for SDXL's depth to show, but no other family has attention where it has some
        (lambda: kohya_lora(targeted_layers("small_sdxl", ("attn1.to_q",)), 8), "sdxl"),
        (
            lambda: kohya_lora({"up_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q": (64, 64)}, 8),
            "sdxl",
        ),
        (
            lambda: kohya_lora({"down_blocks.1.attentions.1.transformer_blocks.0.attn1.to_q": (64, 64)}, 8),
            None,
        ),
        (lambda: kohya_lora(targeted_layers("sdxl_refiner", ("attn1.to_q",)), 8), None),
        (lambda: kohya_lora(targeted_layers("sd2", ("attn1.to_q", "proj_in")), 8), None),
        (lambda: kohya_lora(targeted_layers("ssd1b", ("attn1.to_q", "conv1")), 8), "ssd1b"),
        (lambda: kohya_lora(targeted_layers("sd15", ("attn1.to_q",)), 8), None),
        (lambda: kohya_lora(targeted_layers("sd15", ("conv1",)), 8), None),
        (
            lambda: {
                **kohya_lora(targeted_layers("sd15", ("attn1.to_q",)), 8),
                **kohya_lora(text_encoder_layers(), 8, "lora_te"),
            },
            "sd15",
        ),
        (lambda: {"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (16, 3072)}, "flux"),
        (lambda: {"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (16, 3072)}, "flux"),
        (lambda: {"lora_unet_joint_blocks_0_context_block_attn_qkv.lora_down.weight": (16, 1536)}, "sd3"),
        (lambda: {"transformer.transformer_blocks.0.attn.add_q_proj.lora_A.weight": (16, 1536)}, "sd3"),
        # a video transformer, as wide as SDXL
        (lambda: {"transformer.transformer_blocks.0.attn2.to_k.lora_A.weight": (16, 2048)}, None),
        (lambda: {"diffusion_model.blocks.0.cross_attn.k.lora_A.weight": (16, 768)}, None),
        (
            lambda: {
                "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, 512)
            },
            None,
        ),
        # as wide as SDXL, but SDXL has no attention there
        (
            lambda: {
                "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (
                    4,
                    2048,
                )
            },
            None,
        ),
        (lambda: {"lora_unet_down_blocks_0_motion_modules_0_proj_in.lora_down.weight": (4, 320)}, None),
    ],
)
def test_the_family_follows_from_what_is_there_or_stays_open(tmp_path, tensors, family):
    downs = tensors()
    ups = {
        name.replace("down.weight", "up.weight").replace("lora_A", "lora_B"): (8, shape[0])
        for name, shape in downs.items()
        if shape
    }
    result = inspect(tmp_path, {**ups, **downs})
    assert result.family == (family and family_named(family))
    assert not result.is_lcm


def test_two_cross_attention_widths_in_one_file_leave_the_family_open(tmp_path):
    tensors = {**official_lora_tensors("sd15"), **official_lora_tensors("sd2")}
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight"
    tensors[name] = (64, 768)
    assert inspect(tmp_path, tensors).family is None


def test_the_naming_of_the_original_unet_is_translated_layer_by_layer():
    for model in ("sd15", "sdxl", "ssd1b"):
        for path in targeted_layers(model):
            assert split_key(f"{kohya(ldm(path))}.lora_down.weight").module == path.replace(".", "_")
            assert split_key(f"diffusion_model.{ldm(path)}.lora_A.weight").module == path.replace(".", "_")
    for path, name in LDM_OUTSIDE_BLOCKS.items():
        assert split_key(f"model.diffusion_model.{name}.weight").module == path.replace(".", "_")
        assert split_key(f"{path}.weight").component == "unet"
    # SD 1.5's first upsampler follows no attention
    assert (
        split_key("lora_unet_output_blocks_2_1_conv.lora_up.weight").module == "up_blocks_0_upsamplers_0_conv"
    )


# --- bad files ----------------------------------------------------------------------------------------------


def bad(path: Path, content: bytes) -> LoraFile:
    path.write_bytes(content)
    return inspect_lora(path)


def safetensors_bytes(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(begin, end, shape=None, dtype="F16"):
    return {
        "dtype": dtype,
        "shape": [(end - begin) // 2] if shape is None else shape,
        "data_offsets": [begin, end],
    }


A = "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight"
B = "lora_unet_mid_block_attentions_0_proj_in.lora_up.weight"
HALF = json.dumps(tensor(0, 4))
BAD = {
    "empty": (b"", "is empty"),
    "three bytes": (b"abc", "is cut off after 3 bytes"),
    "web page": (b"\n<!DOCTYPE html><html>" + b"x" * 100, "is a web page"),
    "web page with a byte order mark": (b"\xef\xbb\xbf<html lang='en'>", "is a web page"),
    "Git LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:8f90\nsize 134621556\n",
        "is a Git LFS pointer",
    ),
    "server's error": (b'{"error": "Unauthorized"}', "server's error message"),
    "PyTorch file under a wrong name": (b"PK\x03\x04" + b"\0" * 100, "PyTorch or zip file"),
    "old PyTorch file under a wrong name": (
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
        "PyTorch or zip file",
    ),
    "header too long": ((MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{}", "is not a safetensors file"),
    "header longer than the file": ((1000).to_bytes(8, "little") + b"{}", "is cut off"),
    "zeros": (b"\0" * 1000, "not valid JSON"),
    "no JSON": (safetensors_bytes(b"hello"), "not valid JSON"),
    "half a JSON": (safetensors_bytes(b'{"a":'), "not valid JSON"),
    "no UTF-8": (safetensors_bytes(b'{"\xff":1}'), "not valid JSON"),
    "array": (safetensors_bytes([1]), "not a JSON object"),
    "number": (safetensors_bytes(3), "not a JSON object"),
    "deep nesting": (safetensors_bytes(b"[" * 200_000), "not valid JSON"),
    "deep nesting of objects": (safetensors_bytes(b'{"a":' * 100_000), "not valid JSON"),
    "NaN": (safetensors_bytes(b'{"a":NaN}'), "not valid JSON"),
    "huge number": (safetensors_bytes(b'{"a":' + b"9" * 10_000 + b"}"), "not valid JSON"),
    "no tensors": (safetensors_bytes({}), "has no weights"),
    "metadata alone": (safetensors_bytes({"__metadata__": {"a": "b"}}), "has no weights"),
    "metadata no object": (
        safetensors_bytes({"__metadata__": ["a"], A: tensor(0, 4)}, b"1234"),
        "metadata is not text",
    ),
    "metadata no text": (
        safetensors_bytes({"__metadata__": {"a": 1}, A: tensor(0, 4)}, b"1234"),
        "metadata is not text",
    ),
    "late metadata no text": (
        safetensors_bytes({A: tensor(0, 4), "__metadata__": {"a": 1}}, b"1234"),
        "metadata is not text",
    ),
    "broken after metadata": (safetensors_bytes(b'{"__metadata__":{}]'), "not valid JSON"),
    "tensor no object": (safetensors_bytes({A: [1]}), "describes"),
    "no shape": (safetensors_bytes({A: {"dtype": "F16", "data_offsets": [0, 4]}}, b"1234"), "describes"),
    "shape no list": (safetensors_bytes({A: tensor(0, 4, {})}, b"1234"), "describes"),
    "shape a float": (safetensors_bytes({A: tensor(0, 4, [2.0])}, b"1234"), "describes"),
    "shape true": (safetensors_bytes({A: tensor(0, 4, [True, 2])}, b"1234"), "describes"),
    "shape negative": (safetensors_bytes({A: tensor(0, 4, [-1, -2])}, b"1234"), "describes"),
    "dtype no text": (safetensors_bytes({A: tensor(0, 4, dtype=16)}, b"1234"), "describes"),
    "three offsets": (
        safetensors_bytes({A: {"dtype": "F16", "shape": [2], "data_offsets": [0, 4, 8]}}, b"1234"),
        "describes",
    ),
    "offset negative": (safetensors_bytes({A: tensor(-4, 0)}, b"1234"), "describes"),
    "offset a float": (
        safetensors_bytes({A: {"dtype": "F16", "shape": [2], "data_offsets": [0.0, 4]}}, b"1234"),
        "describes",
    ),
    "shape and length disagree": (safetensors_bytes({A: tensor(0, 4, [3])}, b"1234"), "disagree"),
    "offsets backwards": (safetensors_bytes({A: tensor(4, 0, [0])}, b"1234"), "disagree"),
    "weights cut off": (
        safetensors_bytes({A: tensor(0, 4), B: tensor(4, 8)}, b"1234"),
        "is cut off: 4 of 8 bytes",
    ),
    "bytes too many": (safetensors_bytes({A: tensor(0, 4)}, b"123456"), "2 bytes follow"),
    "overlap": (safetensors_bytes({A: tensor(0, 4), B: tensor(2, 6)}, b"123456"), "overlap"),
    "the same place twice": (safetensors_bytes({A: tensor(0, 4), B: tensor(0, 4)}, b"1234"), "overlap"),
    "gap": (safetensors_bytes({A: tensor(0, 4), B: tensor(6, 10)}, b"1234567890"), "gaps"),
    "name twice": (safetensors_bytes(f'{{"{A}":{HALF},"{A}":{HALF}}}'.encode(), b"1234"), "twice"),
    "name twice, once in escapes": (
        safetensors_bytes(f'{{"{A}":{HALF},"\\u006c{A[1:]}":{HALF}}}'.encode(), b"1234"),
        "twice",
    ),
    "entry twice": (safetensors_bytes(f'{{"{A}":{HALF[:-1]},"dtype":"F16"}}}}'.encode(), b"1234"), "twice"),
    "metadata entry twice": (
        safetensors_bytes(f'{{"__metadata__":{{"a":"1","a":"2"}},"{A}":{HALF}}}'.encode(), b"1234"),
        "twice",
    ),
    "half of the layers": (
        safetensors_bytes({A: tensor(0, 4, [1, 2])}, b"1234"),
        "lack half of their weights",
    ),
    "checkpoint": (
        safetensors_bytes({"model.diffusion_model.out.2.weight": tensor(0, 4)}, b"1234"),
        "is a checkpoint",
    ),
    "embedding": (safetensors_bytes({"emb_params": tensor(0, 4)}, b"1234"), "is an embedding"),
    "VAE": (safetensors_bytes({"decoder.conv_in.weight": tensor(0, 4)}, b"1234"), "is not a LoRA"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_described_in_one_sentence_that_names_it(tmp_path, kind):
    content, what = BAD[kind]
    result = bad(tmp_path / "my lora.safetensors", content)
    assert what in result.problem
    assert (
        result.problem.startswith("my lora.safetensors ")
        and result.problem.endswith(".")
        and "\n" not in result.problem
    )
    assert not result.is_lcm
    assert result.size == len(content)


@pytest.mark.parametrize("ending", [".pt", ".ckpt", ".bin", ".PT"])
def test_pickles_are_never_opened(tmp_path, ending, monkeypatch):
    path = tmp_path / f"lcm_lora_sdxl{ending}"
    path.write_bytes(b"\x80\x02}q\x00.")
    monkeypatch.setattr("builtins.open", lambda *args, **kwargs: pytest.fail("opened"))
    result = inspect_lora(path)
    assert "was not checked" in result.problem and (result.family, result.is_lcm) == (None, False)


def test_a_cut_off_published_file_names_both_sizes_and_is_not_lcm(tmp_path):
    path = write_lora(tmp_path / "lcm_lora_sd15.safetensors", official_lora_tensors("sd15"), FORMAT)
    os.truncate(path, 100_000_000)
    result = inspect_lora(path)
    assert "is cut off: 99,883,448 of 134,505,004 bytes of weights" in result.problem
    assert (result.family, result.is_lcm) == (SD15, False)


def test_files_that_cannot_be_read_are_described(tmp_path):
    assert "is a folder" in inspect_lora(tmp_path).problem
    assert "is not there" in inspect_lora(tmp_path / "gone.safetensors").problem
    assert "is not there" in inspect_lora(str(tmp_path / "gone.safetensors")).problem
    assert "cannot be read" in inspect_lora(tmp_path / "a\0b.safetensors").problem
    assert "cannot be read" in inspect_lora(tmp_path / ("x" * 5000)).problem


def test_a_dangling_link_is_described(tmp_path):
    link = tmp_path / "link.safetensors"
    try:
        link.symlink_to(tmp_path / "gone")
    except OSError:
        pytest.skip("this system allows no links")
    assert "link to a file that is gone" in inspect_lora(link).problem


def test_a_file_without_permission_is_described(tmp_path, monkeypatch):
    path = write_lora(tmp_path / "x.safetensors", {A: (1, 1), B: (1, 1)})

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    assert "allow the WebUI's user to read it" in inspect_lora(path).problem


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("left", [0, 5, 1000])
def test_a_file_that_is_replaced_while_it_is_read_is_described(tmp_path, monkeypatch, left):
    path = write_lora(tmp_path / "x.safetensors", official_lora_tensors("sd15", 4))
    real = os.fstat

    def fstat(descriptor):
        status = real(descriptor)
        os.truncate(path, left)
        return status

    monkeypatch.setattr(safetensors_header.os, "fstat", fstat)
    result = inspect_lora(path)
    assert not result.is_lcm and result.problem.startswith("x.safetensors ") and "\n" not in result.problem


def test_a_named_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    assert "is not an ordinary file" in inspect_lora(tmp_path / "pipe.safetensors").problem


def test_a_name_with_unprintable_characters_stays_on_one_line(tmp_path):
    result = inspect_lora(tmp_path / "a\nb\x1b[31m'\"😀.safetensors")
    assert "a\\nb\\x1b[31m'\"😀.safetensors is not there" in result.problem
    if sys.platform == "linux":
        undecodable = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.safetensors")
        inspect_lora(undecodable).problem.encode("utf-8")


def test_metadata_may_stand_last_or_be_null_and_types_may_be_new(tmp_path):
    whole = {A: tensor(0, 4, [1, 2]), B: tensor(4, 8, [2, 1])}
    assert bad(
        tmp_path / "a.safetensors", safetensors_bytes({**whole, "__metadata__": {"k": "v"}}, b"12345678")
    ).metadata == {"k": "v"}
    assert (
        bad(
            tmp_path / "b.safetensors", safetensors_bytes({"__metadata__": None, **whole}, b"12345678")
        ).problem
        is None
    )
    new = {A: {**whole[A], "dtype": "F4"}, B: {**whole[B], "dtype": "F6_E2M3"}}
    assert bad(tmp_path / "c.safetensors", safetensors_bytes(new, b"12345678")).problem is None
    colon = {A: {**whole[A], "note": "a:b"}, B: whole[B]}
    assert bad(tmp_path / "d.safetensors", safetensors_bytes(colon, b"12345678")).problem is None


def test_the_weights_are_never_read(tmp_path, monkeypatch):
    path = write_lora(tmp_path / "x.safetensors", official_lora_tensors("sdxl"), FORMAT)
    header, _ = header_bytes(official_lora_tensors("sdxl"), FORMAT)
    read = []
    real_open = open

    class Spy:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *args):
            self.file.close()

        def read(self, size):
            data = self.file.read(size)
            read.append(len(data))
            return data

        def __getattr__(self, name):
            return getattr(self.file, name)

    monkeypatch.setattr("builtins.open", lambda *args, **kwargs: Spy(real_open(*args, **kwargs)))
    assert inspect_lora(path).is_lcm
    assert sum(read) <= len(header) + 64


def test_results_can_be_compared_and_hashed(tmp_path):
    path = write_lora(tmp_path / "x.safetensors", official_lora_tensors("sd15"), FORMAT)
    assert inspect_lora(path) == inspect_lora(path)
    assert len({inspect_lora(path), inspect_lora(path)}) == 1


def test_tables_seen_before_are_forgotten_when_they_are_many(tmp_path, monkeypatch):
    many = {number.to_bytes(2, "big"): None for number in range(4096)}
    monkeypatch.setattr(lora_files, "_layers_by_digest", many)
    assert inspect(tmp_path, official_lora_tensors("sd15")).is_lcm and len(many) == 1


# --- mutations ----------------------------------------------------------------------------------------------

EXAMPLES = int(os.environ.get("LORA_FILES_EXAMPLES", "300"))
SMALL_LAYERS = {
    f"mid_block.attentions.0.transformer_blocks.0.attn{n}.to_{x}": (64, 64 if n == 1 else 768)
    for n in (1, 2)
    for x in "qkv"
}
SMALL_HEADER, SMALL_DATA = header_bytes(kohya_lora(SMALL_LAYERS, 1), {"ss_x": "1", "lcm_distillation": "{}"})
TOKENS = (b"{", b"}", b"[", b'"', b",", b":", b"NaN", b"-1", b"1e9", b"null", b"\\u0000", b"\xff")
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mutated_headers(draw):
    """The header of a small LoRA with a few bytes or a few JSON values changed."""
    if draw(st.booleans()):
        header = bytearray(SMALL_HEADER)
        for _ in range(draw(st.integers(1, 6))):
            at = draw(st.integers(0, len(header) - 1))
            change = draw(st.sampled_from(("set", "delete", "insert", "repeat")))
            if change == "set":
                header[at] = draw(st.integers(0, 255))
            elif change == "delete":
                del header[at : at + draw(st.integers(1, 40))]
            elif change == "insert":
                header[at:at] = draw(st.sampled_from(TOKENS))
            else:
                header[at:at] = header[at : at + draw(st.integers(1, 200))]
            if not header:
                break
        return bytes(header)
    content = json.loads(SMALL_HEADER)
    for _ in range(draw(st.integers(1, 4))):
        name = draw(st.sampled_from(sorted(content)))
        info = content[name]
        if isinstance(info, dict) and info and draw(st.booleans()):
            info[draw(st.sampled_from(sorted(info)) | st.text(max_size=5))] = draw(JSON_VALUES)
        elif draw(st.booleans()):
            content[name] = draw(JSON_VALUES)
        else:
            content[
                draw(st.text(max_size=40))
                + draw(st.sampled_from(("", ".lora_down.weight", ".alpha", ".diff")))
            ] = content.pop(name)
    return json.dumps(content).encode()


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=mutated_headers(),
    length=st.none() | st.integers(0, 2**64 - 1) | st.integers(0, 3000),
    data=st.just(SMALL_DATA) | st.integers(0, 40000),
)
def test_no_header_makes_the_reader_raise(tmp_path, header, length, data):
    path = tmp_path / "x.safetensors"
    write_header(path, header, data)
    if length is not None:
        with open(path, "r+b") as file:
            file.write(length.to_bytes(8, "little"))
    check(path)


@pytest.mark.parametrize("count", [4_000, pytest.param(20_000, marks=pytest.mark.long)])
def test_no_mutated_header_makes_the_reader_raise(tmp_path, count):
    """Many more than above, without the search for the smallest example that makes each of those slow."""
    path, random = tmp_path / "x.safetensors", Random(1)
    for _ in range(count):
        header = bytearray(SMALL_HEADER)
        for _ in range(random.randint(1, 6)):
            at, end = random.randrange(len(header)), random.randrange(len(header) + 1)
            header[at : random.choice((at, at + 1, end))] = random.choice(
                (b"", random.randbytes(1), random.choice(TOKENS), header[at : at + random.randint(1, 200)])
            )
            if not header:
                break
        length = random.choice(
            (len(header),) * 4 + (random.randrange(3000), random.getrandbits(random.randint(1, 64)))
        )
        path.write_bytes(length.to_bytes(8, "little") + header)
        os.truncate(path, 8 + len(header) + random.choice((SMALL_DATA, SMALL_DATA, random.randrange(40_000))))
        check(path)


def check(path: Path) -> None:
    """What is said of the file is well formed, and what is said to be whole can be opened."""
    result = inspect_lora(path)
    assert result.path == path and isinstance(result.modules, int)
    assert result.family is None or isinstance(result.family, Family)
    if result.problem is None:
        assert result.modules > 0 and loads(path)
    else:
        assert not result.is_lcm and result.problem.endswith(".") and result.problem.isprintable()


def loads(path: Path) -> bool:
    """Whether the safetensors library opens the file. It knows fewer types than a later version may, which is
    no fault of the file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt"):
            return True
    except SafetensorError as error:
        return "unknown variant" in str(error) or "surrogate" in str(error) or "hex escape" in str(error)


def test_the_stand_ins_are_whole_layouts():
    """Guards the fixtures: every layer but the embeddings and the first and last convolution is a target of
    distillation.
    """
    for model in ("sd15", "sdxl", "ssd1b"):
        left_out = set(unet_layers(model)) - set(targeted_layers(model))
        assert {name.split(".")[0] for name in left_out} <= {
            "conv_in",
            "conv_out",
            "time_embedding",
            "add_embedding",
        }
    assert lora_shapes((8, 4, 3, 3), 2) == ((2, 4, 3, 3), (8, 2, 1, 1))
