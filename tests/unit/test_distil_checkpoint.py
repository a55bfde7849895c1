"""A WebUI's single-file checkpoint as diffusers' and transformers' networks: those say what is right, with
the same weights, and this file has the way back from their names to the original ones.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import pickle
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.models.clip.tokenization_clip import bytes_to_unicode

from lib_lcm.checkpoints import PROJECTION_KEY
from lib_lcm.distill import checkpoint, networks
from lib_lcm.distill.__main__ import main
from lib_lcm.distill.checkpoint import Checkpoint
from lib_lcm.distill.model import CannotDistill, alphas_cumprod, prediction_type
from lib_lcm.distill.networks import TOKENIZERS
from lib_lcm.families import family_named
from tests.full_lcm import in_original_names
from tests.unit.lora_fixtures import UNET_CONFIGS, write_lora

CPU = torch.device("cpu")
CLIP_WIDTH, OPEN_CLIP_WIDTH = 64, 128
START, END = 49406, 49407
UNET = "model.diffusion_model."
TEXTS = ["a red cat", "", "a small house at night, " * 8]
_LINEAR = {"block_out_channels": (64, 128, 128, 128), "attention_head_dim": (1, 2, 2, 2)}
_XL = {
    "block_out_channels": (64, 64, 128),
    "attention_head_dim": (1, 1, 2),
    "projection_class_embeddings_input_dim": 6 * 256 + OPEN_CLIP_WIDTH,
}
NARROW = {
    "sd15": {"block_out_channels": (32, 64, 64, 64)},
    "sd2": _LINEAR,
    "sdxl": _XL,
    "ssd1b": _XL,
    "vega": _XL,
    "sdxl_refiner": _LINEAR,
}
"""What makes the families' own layouts small; how many heads there are follows from the widths as it does in
them.
"""


# --- networks with weights of their own, and the original names of these ------------------------------------


def shaken(network: nn.Module) -> nn.Module:
    """With norms and biases that tell one layer from another, too."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    return network.eval().requires_grad_(False)


@cache
def unet(family: str) -> UNet2DConditionModel:
    torch.manual_seed(1)
    return shaken(UNet2DConditionModel(**{**UNET_CONFIGS[family], **NARROW[family]}))


@cache
def vae(blocks: int = 2) -> AutoencoderKL:
    torch.manual_seed(2)
    return shaken(
        AutoencoderKL(
            block_out_channels=(32, 32, 64, 64),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=blocks,
        )
    )


def text_config(width: int, layers: int, **others) -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
        num_attention_heads=width // 64, bos_token_id=START, eos_token_id=END, **others
    )  # fmt: skip


@cache
def clip_encoder() -> CLIPTextModel:
    torch.manual_seed(3)
    return shaken(CLIPTextModel(text_config(CLIP_WIDTH, 3)))


@cache
def open_clip_encoder(layers: int = 3) -> CLIPTextModelWithProjection:
    torch.manual_seed(4)
    config = text_config(OPEN_CLIP_WIDTH, layers, hidden_act="gelu", projection_dim=OPEN_CLIP_WIDTH)
    return shaken(CLIPTextModelWithProjection(config))


def renamed(name: str, *pairs: tuple[str, str]) -> str:
    for pattern, new in pairs:
        name = re.sub(pattern, new, name)
    return name


def vae_in_original_names(network: AutoencoderKL) -> dict[str, Tensor]:
    def original(name: str, tensor: Tensor) -> tuple[str, Tensor]:
        name = re.sub(r"up_blocks\.(\d)", lambda found: f"up.{3 - int(found[1])}", name)
        name = re.sub(
            r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name
        )  # fmt: skip
        name = renamed(
            name, (r"down_blocks", "down"), (r"\.resnets\.", ".block."), (r"samplers\.0\.", "sample."),
            (r"conv_shortcut", "nin_shortcut"), (r"conv_norm_out", "norm_out"),
            (r"mid_block\.attentions\.0", "mid.attn_1"), (r"attn_1\.group_norm", "attn_1.norm"),
            (r"\.to_([qkv])\.", r".\1."), (r"\.to_out\.0\.", ".proj_out."),
        )  # fmt: skip
        is_projection = re.search(r"attn_1\.(q|k|v|proj_out)\.weight", name)
        return f"first_stage_model.{name}", tensor[:, :, None, None] if is_projection else tensor

    return dict(original(*item) for item in network.state_dict().items())


def clip_in_original_names(prefix: str, network: CLIPTextModel | None = None) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in (network or clip_encoder()).named_parameters()}


def open_clip_in_original_names(
    prefix: str, network: CLIPTextModelWithProjection | None = None
) -> dict[str, Tensor]:
    state = dict((network or open_clip_encoder()).named_parameters())
    result = {f"{prefix}text_projection": state.pop("text_projection.weight").T}
    for name, tensor in state.items():
        name = renamed(
            name, (r"^text_model\.", ""), (r"embeddings\.token_embedding", "token_embedding"),
            (r"embeddings\.position_embedding\.weight", "positional_embedding"),
            (r"encoder\.layers\.", "transformer.resblocks."), (r"layer_norm(\d)", r"ln_\1"),
            (r"mlp\.fc1", "mlp.c_fc"), (r"mlp\.fc2", "mlp.c_proj"), (r"self_attn\.", "attn."),
            (r"final_layer_norm", "ln_final"),
        )  # fmt: skip
        head, third, tail = re.fullmatch(r"(.*?)(?:\.([qkv])_proj\.)?(\w*)", name).groups()
        if third == "q":
            name = f"{head}.in_proj_{tail}"
            own = f"text_model.encoder.layers.{re.search(r'[0-9]+', head)[0]}.self_attn."
            tensor = torch.cat([state[f"{own}{part}_proj.{tail}"] for part in "qkv"])
        if third not in ("k", "v"):
            result[prefix + name] = tensor
    return result


def whole(family: str) -> dict[str, Tensor]:
    """All tensors of a checkpoint of this family."""
    texts = {
        "sd15": lambda: clip_in_original_names("cond_stage_model.transformer."),
        "sd2": lambda: open_clip_in_original_names("cond_stage_model.model."),
    }.get(
        family,
        lambda: {
            **clip_in_original_names("conditioner.embedders.0.transformer."),
            **open_clip_in_original_names("conditioner.embedders.1.model."),
        },
    )()
    return {**in_original_names(unet(family).state_dict()), **vae_in_original_names(vae()), **texts}


def without(tensors: dict[str, Tensor], *starts: str) -> dict[str, Tensor]:
    kept = {key: tensor for key, tensor in tensors.items() if not key.startswith(starts)}
    assert len(kept) < len(tensors)
    return kept


@pytest.fixture
def load(tmp_path: Path) -> Callable[[dict[str, Tensor]], Checkpoint]:
    """Writes tensors as a checkpoint, and loads that."""

    path = tmp_path / "my model.safetensors"

    def load(tensors: dict[str, Tensor]) -> Checkpoint:
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
        return Checkpoint(path, CPU, torch.float32)

    yield load
    # dozens of megabytes each, and pytest keeps folders
    with contextlib.suppress(OSError):
        path.unlink()


def write_tokenizer(folder: Path, vocabulary: dict[str, int], merges: str = "") -> None:
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}", encoding="utf-8")


@pytest.fixture
def webui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a WebUI that has this extension, and no tokenizer yet."""
    monkeypatch.setattr(networks, "WEBUI", tmp_path / "webui")
    networks.clip_tokenizer.cache_clear()
    yield tmp_path / "webui"
    networks.clip_tokenizer.cache_clear()


LETTERS = [letter + ending for ending in ("", "</w>") for letter in bytes_to_unicode().values()]


@pytest.fixture
def tokenizer(webui: Path) -> CLIPTokenizer:
    """Of single letters, with CLIP's own first and last token."""
    vocabulary = {letter: number for number, letter in enumerate(LETTERS)}
    write_tokenizer(webui / TOKENIZERS[0], {**vocabulary, "<|startoftext|>": START, "<|endoftext|>": END})
    return CLIPTokenizer.from_pretrained(str(webui / TOKENIZERS[0]))


def padded(tokenizer: CLIPTokenizer, after_end: int) -> Tensor:
    rows = [tokenizer(text, truncation=True, max_length=77)["input_ids"] for text in TEXTS]
    assert {len(row) for row in rows} > {2, 77}
    return torch.tensor([row + [after_end] * (77 - len(row)) for row in rows])


# --- the UNet -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl", "ssd1b", "vega"])
def test_a_unet_answers_as_diffusers_own_does(family: str, load) -> None:
    found = load(whole(family))
    assert found.family is family_named(family)
    own, width = unet(family), family_named(family).width
    sample, hidden = torch.randn(2, 4, 16, 16), torch.randn(2, 77, width)
    timesteps, cond, added = torch.tensor([999, 259]), (hidden,), None
    if width == 2048:
        pooled = torch.randn(2, OPEN_CLIP_WIDTH)
        sizes = torch.tensor([[1024.0, 1024.0, 0.0, 0.0, 1024.0, 1024.0]] * 2)
        cond, added = (hidden, pooled), {"text_embeds": pooled, "time_ids": sizes}
    with torch.no_grad():
        expected = own(sample, timesteps, encoder_hidden_states=hidden, added_cond_kwargs=added).sample
        answer = found.predict(sample, timesteps, cond)
    assert expected.std() > 0.1
    torch.testing.assert_close(answer, expected, rtol=0, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in found.unet.parameters())
    assert found.unet.state_dict().keys() == own.state_dict().keys()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn], ids=str)
def test_files_in_other_precisions_are_read(dtype: torch.dtype, load) -> None:
    rounded = {key: tensor.to(dtype) for key, tensor in whole("vega").items()}
    found = load(rounded)
    own = in_original_names(found.unet.state_dict())
    assert all(torch.equal(tensor, rounded[key].float()) for key, tensor in own.items())
    again = vae_in_original_names(found._vae)
    assert all(torch.equal(tensor, rounded[key].float()) for key, tensor in again.items())
    clip, open_clip = found._text_encoders()
    read = {
        **clip_in_original_names("conditioner.embedders.0.transformer.", clip.network),
        **open_clip_in_original_names("conditioner.embedders.1.model.", open_clip.network),
    }
    assert all(torch.equal(tensor, rounded[key].float()) for key, tensor in read.items())


def test_a_unet_in_half_precision(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in whole("sd15").items()}, path)
    found = Checkpoint(path, CPU, torch.bfloat16)
    assert {parameter.dtype for parameter in found.unet.parameters()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in found._vae.parameters()} == {torch.float32}


def test_what_else_a_file_may_hold_changes_nothing(load) -> None:
    tensors = whole("sd15")
    averaged = {
        f"model_ema.{key.removeprefix('model.').replace('.', '')}": torch.randn_like(tensor)
        for key, tensor in tensors.items()
        if key.startswith(UNET)
    }
    found = load(
        {
            **tensors, **averaged, "model_ema.decay": torch.tensor(0.9999),
            "alphas_cumprod": torch.rand(1000),
            "first_stage_model.loss.logvar": torch.tensor(0.0), "v_pred": torch.empty(0),
            "first_stage_model.loss.discriminator.main.0.weight": torch.randn(2, 2),
            "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.rand(1, 77).half(),
            f"{UNET}a_trainers_own": torch.tensor(0.0),
        }
    )  # fmt: skip
    own = in_original_names(found.unet.state_dict())
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in own.items())


# --- pictures and texts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("family, scale", [("sd15", 0.18215), ("vega", 0.13025)])
@pytest.mark.parametrize("blocks", [1, 2])
def test_pictures_and_latents_are_diffusers(family: str, scale: float, blocks: int, load) -> None:
    found = load({**without(whole(family), "first_stage_model."), **vae_in_original_names(vae(blocks))})
    pictures, latents = torch.rand(2, 3, 64, 96) * 2 - 1, torch.randn(2, 4, 8, 12)
    own = vae(blocks)
    # one by one, as here
    expected = torch.cat([own.encode(picture[None]).latent_dist.mean for picture in pictures]) * scale
    torch.testing.assert_close(found.latents(pictures), expected, rtol=0, atol=1e-6)
    expected = torch.cat([own.decode(one[None] / scale).sample for one in latents])
    torch.testing.assert_close(found.decode(latents), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.decode(latents.half()), found.decode(latents.half().float()))


def test_a_vae_whose_attention_is_linear_is_read(load) -> None:
    tensors = whole("sd15")
    flat = {
        key: tensor[:, :, 0, 0]
        for key, tensor in tensors.items()
        if ".attn_1." in key and key.endswith("weight") and tensor.ndim == 4
    }
    assert len(flat) == 8
    latents = torch.randn(1, 4, 8, 8)
    assert torch.equal(load({**tensors, **flat}).decode(latents), load(tensors).decode(latents))


def test_texts_of_sd_1_are_what_clip_says_at_the_end(tokenizer, load) -> None:
    (hidden,) = load(whole("sd15")).encode(TEXTS)
    expected = clip_encoder()(padded(tokenizer, END)).last_hidden_state
    torch.testing.assert_close(hidden, expected, rtol=0, atol=1e-5)


def test_the_names_of_clip_in_files_of_the_first_year(tokenizer, load) -> None:
    tensors = {key.replace(".text_model.", "."): tensor for key, tensor in whole("sd15").items()}
    assert torch.equal(load(tensors).encode(TEXTS)[0], load(whole("sd15")).encode(TEXTS)[0])


@pytest.mark.parametrize("prefix", ["cond_stage_model.model.", "conditioner.embedders.0.model."])
def test_texts_of_sd_2_are_what_open_clip_says_before_its_last_layer(prefix: str, tokenizer, load) -> None:
    tensors = without(whole("sd2"), "cond_stage_model.")
    (hidden,) = load({**tensors, **open_clip_in_original_names(prefix)}).encode(TEXTS)
    network = open_clip_encoder()
    said = network(padded(tokenizer, 0), output_hidden_states=True).hidden_states[-2]
    expected = network.text_model.final_layer_norm(said)
    torch.testing.assert_close(hidden, expected, rtol=0, atol=1e-5)


def test_a_file_of_sd_2_may_end_before_open_clips_last_layer(tokenizer, load) -> None:
    prefix = "cond_stage_model.model."
    tensors = {**without(whole("sd2"), prefix), **open_clip_in_original_names(prefix, open_clip_encoder(24))}
    short = without(tensors, f"{prefix}transformer.resblocks.23.", f"{prefix}text_projection")
    assert torch.equal(load(short).encode(TEXTS)[0], load(tensors).encode(TEXTS)[0])


def test_texts_of_sdxl_are_what_both_say_before_their_last_layer(tokenizer, load) -> None:
    hidden, pooled = load(whole("sdxl")).encode(TEXTS)
    clip = clip_encoder()(padded(tokenizer, END), output_hidden_states=True)
    open_clip = open_clip_encoder()(padded(tokenizer, 0), output_hidden_states=True)
    expected = torch.cat([clip.hidden_states[-2], open_clip.hidden_states[-2]], dim=-1)
    empty = TEXTS.index("")
    assert not hidden[empty].any() and not pooled[empty].any()
    said = [number for number in range(len(TEXTS)) if number != empty]
    torch.testing.assert_close(hidden[said], expected[said], rtol=0, atol=1e-5)
    torch.testing.assert_close(pooled[said], open_clip.text_embeds[said], rtol=0, atol=1e-5)


def test_a_projection_that_stands_as_a_linear_layer_does(tokenizer, load) -> None:
    tensors = whole("vega")
    linear = {**tensors, "conditioner.embedders.1.model.text_projection.weight": None}
    linear["conditioner.embedders.1.model.text_projection.weight"] = linear.pop(
        "conditioner.embedders.1.model.text_projection"
    ).T
    assert torch.equal(load(linear).encode(TEXTS)[1], load(tensors).encode(TEXTS)[1])


def test_many_texts_are_encoded_in_batches(tokenizer, load, monkeypatch) -> None:
    found = load(whole("vega"))
    at_once = found.encode(TEXTS)
    monkeypatch.setattr(checkpoint, "TEXTS_AT_ONCE", 2)
    for part, expected in zip(found.encode(TEXTS), at_once, strict=True):
        torch.testing.assert_close(part, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("place", TOKENIZERS, ids=lambda path: path.parts[0])
def test_the_tokenizer_counts_as_clips_own(place: Path, webui: Path) -> None:
    pytest.importorskip("clip", reason="the newest Python's environment has no clip")
    import clip
    from clip.simple_tokenizer import default_bpe

    merges = gzip.open(default_bpe()).read().decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    words = [*LETTERS, *("".join(pair.split()) for pair in merges), "<|startoftext|>", "<|endoftext|>"]
    write_tokenizer(webui / place, {word: number for number, word in enumerate(words)}, "\n".join(merges))
    texts = [
        "", "a red cat", "A Café at NIGHT, 8k; (masterpiece:1.2)", "it's  two\twords", "<3 \N{CAT FACE} 猫",
        "very " * 200,
    ]  # fmt: skip
    expected = clip.tokenize(texts, truncate=True)
    ids = networks.clip_tokenizer()(texts, padding="max_length", truncation=True, max_length=77)["input_ids"]
    for row, clips in zip(ids, expected.tolist(), strict=True):
        end = clips.index(END) + 1
        assert row[:end] == clips[:end] and set(row[end:]) <= {END}


# --- the noise schedule and what the UNet answers -----------------------------------------------------------

SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def test_the_noise_schedule_is_diffusers() -> None:
    table = alphas_cumprod()
    assert table.shape == (1000,) and table.dtype == torch.float32
    torch.testing.assert_close(table, DDIMScheduler(**SCHEDULE).alphas_cumprod, rtol=1e-4, atol=0)


def test_a_schedule_that_ends_in_noise_alone_is_diffusers(load) -> None:
    expected = DDIMScheduler(**SCHEDULE, rescale_betas_zero_snr=True).alphas_cumprod
    table = load({**whole("vega"), "ztsnr": torch.empty(0)}).alphas_cumprod
    torch.testing.assert_close(table, expected, rtol=1e-4, atol=1e-7)
    assert 0 < table[-1] < 1e-7
    assert torch.equal(load(whole("vega")).alphas_cumprod, alphas_cumprod())


@pytest.mark.parametrize("ends_in_noise", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_what_a_unet_answers_is_found_by_asking(ends_in_noise: bool, dtype: torch.dtype) -> None:
    abar = alphas_cumprod(ends_in_noise)
    picture = torch.linspace(-2, 2, 4 * 64 * 64).reshape(1, 4, 64, 64)

    def model(answer: Callable[[Tensor, Tensor], Tensor]) -> SimpleNamespace:
        def predict(sample: Tensor, timesteps: Tensor, cond: tuple[Tensor, ...]) -> Tensor:
            assert sample.dtype == cond[0].dtype == dtype
            return answer(sample, abar[timesteps]).to(dtype)

        return SimpleNamespace(unet=nn.Linear(1, 1).to(dtype), predict=predict)

    blank = (torch.zeros(1, 77, 8),)
    noise = model(lambda sample, a: (sample - a.sqrt() * picture) / (1 - a).sqrt())
    assert prediction_type(noise, blank, CPU) == "epsilon"
    v = model(lambda sample, a: a.sqrt() * sample - (1 - a).sqrt() * picture)
    assert prediction_type(v, blank, CPU) == "v_prediction"


@pytest.mark.parametrize(
    "layout, kind, side", [("sd2", "epsilon", 64), ("sd2", "v_prediction", 96), ("vega", "epsilon", 128)]
)
def test_pictures_have_the_size_that_the_checkpoint_was_trained_on(
    load, layout: str, kind: str, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoint, "prediction_type", kind)
    assert load(whole(layout)).latent_shape == (4, side, side)


# --- what cannot be distilled -------------------------------------------------------------------------------


def refusal(call: Callable[..., object], *arguments) -> str:
    with pytest.raises(CannotDistill) as refused:
        call(*arguments)
    sentence = str(refused.value)
    assert "\n" not in sentence and sentence.endswith(".")
    return sentence


def refusal_of_file(path: Path) -> str:
    return refusal(Checkpoint, path, CPU, torch.float32)


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    pickled, empty = tmp_path / "old.ckpt", tmp_path / "empty.safetensors"
    pickled.write_bytes(pickle.dumps({"state_dict": {}}))
    empty.touch()
    for path in (pickled, empty, tmp_path, tmp_path / "missing.safetensors"):
        sentence = refusal_of_file(path)
        assert str(path) in sentence and "name a .safetensors file" in sentence


def test_what_holds_no_such_unet_is_refused(tmp_path: Path, load) -> None:
    lora = write_lora(tmp_path / "style.safetensors", {"lora_unet_mid_block_attentions_0_proj_in.alpha": ()})
    whole_one = whole("sd15")
    flux = "double_blocks.0.img_attn.qkv.weight"
    sentences = [
        refusal_of_file(lora),
        refusal(load, vae_in_original_names(vae())),
        refusal(load, {key.removeprefix(UNET): whole_one[key] for key in whole_one if key.startswith(UNET)}),
        refusal(load, {f"unet.{key}": tensor for key, tensor in unet("sd15").state_dict().items()}),
        refusal(load, {**without(whole_one, UNET), f"{UNET}{flux}": torch.zeros(3, 3)}),
        refusal(load, {**whole_one, **in_original_names(unet("sdxl_refiner").state_dict())}),
        # as 4 bits are packed
        refusal(load, {key: tensor.flatten().byte() for key, tensor in whole_one.items()}),
    ]
    for sentence in sentences:
        assert (
            "SD 1.5, SDXL, SSD-1B, Segmind-Vega, SD 2.x" in sentence and "name a whole checkpoint" in sentence
        )


@pytest.mark.parametrize("channels", [5, 8, 9])
def test_a_unet_for_inpainting_is_refused(channels: int, load) -> None:
    sentence = refusal(
        load, {**whole("sd15"), f"{UNET}input_blocks.0.0.weight": torch.zeros(32, channels, 3, 3)}
    )
    assert (
        f"takes {channels} channels" in sentence and "distil the checkpoint that it was made from" in sentence
    )


def test_a_full_lcm_is_refused(load) -> None:
    sentence = refusal(load, {**whole("sd15"), PROJECTION_KEY: torch.zeros(32, 256)})
    assert "is a full LCM" in sentence and "distil the checkpoint that it was made from" in sentence


MORE = {
    f"{UNET}time_embed.cond_proj.weight": "sd15",  # a full LCM as others convert it
    f"{UNET}label_emb.0.0.weight": "sd2",  # unCLIP
    f"{UNET}input_blocks.1.1.transformer_blocks.0.attn1.to_q.scale_weight": "sd15",  # of weights in 8 bits
    f"{UNET}input_blocks.9.0.in_layers.2.weight": "sdxl",
    f"{UNET}middle_block.1.transformer_blocks.10.ff.net.2.weight": "sdxl",
    "edm_vpred.sigma_max": "vega",  # CosXL
    "edm_mean": "vega",  # Playground 2.5
}


@pytest.mark.parametrize("key", MORE)
def test_a_checkpoint_that_is_more_than_its_family_is_refused(key: str, load) -> None:
    sentence = refusal(load, {**whole(MORE[key]), key: torch.zeros(2, 2)})
    assert "my model.safetensors" in sentence


LACKING = [
    ("sd15", f"{UNET}input_blocks.0.", "UNet"),
    ("sd15", f"{UNET}time_embed.2.bias", "UNet"),
    ("sd15", f"{UNET}input_blocks.2.0.out_layers.3.", "UNet"),
    ("sd15", f"{UNET}input_blocks.1", "UNet"),
    ("sd15", f"{UNET}input_blocks", "UNet"),
    ("sd15", f"{UNET}middle_block.1", "UNet"),
    ("sd15", f"{UNET}output_blocks.11.1.proj_out", "UNet"),
    ("vega", f"{UNET}label_emb", "UNet"),
    ("sdxl", f"{UNET}middle_block.1.transformer_blocks.9", "UNet"),
    ("sd15", "first_stage_model.encoder.", "VAE"),
    ("sd15", "first_stage_model.encoder.down.0.block.0.conv1", "VAE"),
    ("sd15", "first_stage_model.decoder.", "VAE"),
    ("sd15", "first_stage_model.decoder.mid.attn_1.k.bias", "VAE"),
    ("sd15", "first_stage_model.post_quant_conv", "VAE"),
    ("sd15", "cond_stage_model.transformer.text_model.encoder.", "text encoder"),
    ("sd15", "cond_stage_model.transformer.text_model.final_layer_norm.bias", "text encoder"),
    ("sd15", "cond_stage_model.transformer.text_model.encoder.layers.1", "text encoder"),
    ("sd2", "cond_stage_model.model.transformer.", "text encoder"),
    ("sd2", "cond_stage_model.model.transformer.resblocks.0.attn.in_proj_bias", "text encoder"),
    ("vega", "conditioner.embedders.1.model.text_projection", "text encoder"),
    ("vega", "conditioner.embedders.1.model.positional_embedding", "text encoder"),
]


@pytest.mark.parametrize("family, start, part", LACKING, ids=lambda value: value)
def test_a_checkpoint_that_lacks_a_layer_is_refused(
    family: str, start: str, part: str, load, tokenizer
) -> None:
    sentence = refusal(lambda: load(without(whole(family), start)).encode(["a"]))
    assert f" of its {part}, or has it in another shape: name a checkpoint that is whole" in sentence


@pytest.mark.parametrize(
    "key, part",
    [
        (f"{UNET}out.2.bias", "UNet"),
        ("first_stage_model.decoder.conv_out.bias", "VAE"),
        ("cond_stage_model.transformer.text_model.embeddings.token_embedding.weight", "text encoder"),
    ],
)
def test_a_layer_in_another_shape_is_refused(key: str, part: str, load, tokenizer) -> None:
    sentence = refusal(lambda: load({**whole("sd15"), key: torch.zeros(7)}).encode(["a"]))
    assert f" of its {part}, or has it in another shape" in sentence


def test_a_checkpoint_without_vae_is_refused_before_anything_is_done(load) -> None:
    sentence = refusal(load, without(whole("sd15"), "first_stage_model."))
    assert "has no VAE" in sentence and "Bake in VAE" in sentence


@pytest.mark.parametrize(
    "family, start",
    [
        ("sd15", "cond_stage_model."),
        ("vega", "conditioner.embedders.0."),
        ("vega", "conditioner.embedders.1."),
    ],
)
def test_a_checkpoint_without_its_text_encoder_is_refused(family: str, start: str, load) -> None:
    sentence = refusal(load(without(whole(family), start)).encode, ["a"])
    assert "lacks its text encoder: name a checkpoint that is whole" in sentence


def test_without_a_library_it_is_said_how_to_get_one(load, monkeypatch) -> None:
    tensors = whole("sd15")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    sentence = refusal(load, tensors)
    assert "cannot import UNet2DConditionModel from diffusers" in sentence
    assert sys.executable in sentence and f'--target "{networks.PACKAGES}" diffusers==' in sentence


@pytest.mark.parametrize("problem", [RuntimeError("Failed to import:\nsee above"), AttributeError("no such")])
def test_a_library_that_is_too_old_or_broken_is_like_none(problem: Exception, monkeypatch) -> None:
    class Lazy(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise problem

    monkeypatch.setitem(sys.modules, "diffusers", Lazy("diffusers"))
    sentence = refusal(networks.library, "diffusers", "AutoencoderKL")
    assert " ".join(str(problem).split()) in sentence and "pip install" in sentence


def test_what_was_put_into_the_extension_comes_before_the_webuis_own(tmp_path: Path, monkeypatch) -> None:
    own, webuis = tmp_path / "packages", tmp_path / "site-packages"
    for folder in (own, webuis):
        folder.mkdir()
        (folder / "some_library_of_tests.py").write_text(f"FOLDER = {folder.name!r}")
    monkeypatch.setattr(sys, "path", [str(webuis), *sys.path])
    monkeypatch.setattr(networks, "PACKAGES", own)
    assert networks.library("some_library_of_tests", "FOLDER") == "packages"
    del sys.modules["some_library_of_tests"]


def test_the_command_takes_the_tokenizer_of_the_webui_that_is_named(webui: Path, tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "other" / TOKENIZERS[1], {"<|startoftext|>": 0, "<|endoftext|>": 1})
    assert main([str(tmp_path / "none.safetensors"), "--webui", str(tmp_path / "other")]) == 1
    assert len(networks.clip_tokenizer()) == 2


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--webui", "nowhere", "--webui nowhere is no folder"),
        ("--device", "nothing", "--device nothing: this torch"),
        pytest.param(
            "--device", "cuda", "--device cuda: this torch",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_used_is_refused_in_a_sentence(option, value, sentence, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["none.safetensors", option, value])
    assert sentence in capsys.readouterr().err


def test_without_a_tokenizer_it_is_said_how_to_get_one(webui: Path, monkeypatch, load) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(networks, "TOKENIZER", "nobody/has-this")
    sentence = refusal(load(whole("sd15")).encode, ["a"])
    assert "nobody/has-this" in sentence and "be online once" in sentence
    (webui / TOKENIZERS[0]).mkdir(parents=True)
    assert str(webui / TOKENIZERS[0]) in refusal(networks.clip_tokenizer)
