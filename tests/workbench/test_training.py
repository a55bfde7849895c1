"""Every training stage in miniature: it must lower its loss, write its file, and continue from a saved state."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from lib_lcm.distill import DistillConfig
from workbench import judge, pictures
from workbench.small_models import SmallTextEncoder, build_model, load_checkpoint, save_checkpoint
from workbench.tokenizer import Tokenizer
from workbench.train.attention import cut, skip_padding
from workbench.train.common import Run, learning_rate_factor
from workbench.train.evaluate import Method, load_with_lora, measure
from workbench.train.lora import train_lora
from workbench.train.sampling import evenly_to_lowest, reference_timesteps
from workbench.train.teacher import TeacherSettings, clamped_snr_weights, stratified_timesteps, train_teacher
from workbench.train.vae import VaeSettings, encode_pool, train_vae, tune_decoder


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose stages have all been made once, each for a few seconds: (run, progress of each stage)."""
    folder = tmp_path_factory.mktemp("training")
    run = Run(seed=3, data=folder / "data", models=folder / "models", quick=True)
    settings = VaeSettings(batch=4)
    progress = {"vae": train_vae(dataclasses.replace(run, steps=40), settings)}
    encode_pool(run)
    progress["decoder"] = tune_decoder(dataclasses.replace(run, steps=20), settings)
    teacher = TeacherSettings(batch=16, learning_rate=2e-3, warmup=5)
    for family in ("sd15", "sdxl"):
        progress[f"teacher-{family}"] = train_teacher(dataclasses.replace(run, steps=30), family, teacher)
    lora = DistillConfig.small_model(batch=4, rank=2, learning_rate=5e-3, warmup=2)
    for family in ("sd15", "sdxl"):
        progress[f"lora-{family}"] = train_lora(dataclasses.replace(run, steps=15), family, lora)
    return run, progress


@pytest.mark.parametrize("stage", ["vae", "decoder", "teacher-sd15", "teacher-sdxl", "lora-sd15", "lora-sdxl"])
def test_stage_lowers_its_loss(trained, stage):
    run, progress = trained
    losses = torch.load(run.data / f"{stage}.state.pt", weights_only=True)["losses"]
    assert len(losses) == progress[stage].steps
    third = len(losses) // 3
    assert np.mean(losses[-third:]) < np.mean(losses[:third])


@pytest.mark.parametrize(("family", "width"), [("sd15", 768), ("sdxl", 2048)])
def test_lora_file_has_the_official_layout(trained, family, width):
    run, _ = trained
    with safe_open(str(run.lora(family)), framework="pt") as file:
        keys = set(file.keys())
        assert not any(name.startswith("ss_") for name in file.metadata())
        attn2 = [key for key in keys if key.endswith("attn2_to_k.lora_down.weight")]
        assert {file.get_slice(key).get_shape()[1] for key in attn2} == {width}
    assert {key.split(".", 1)[1] for key in keys} == {"lora_down.weight", "lora_up.weight", "alpha"}
    for part in ("mid_block_attentions_0_", "resnets_0_conv1", "time_emb_proj", "conv_shortcut", "ff_net_0_proj", "ff_net_2",
                 "proj_in", "attn1_to_out_0", "downsamplers_0_conv", "upsamplers_0_conv"):  # fmt: skip
        assert any(part in key for key in keys), part


def test_lora_changes_the_picture_and_recipes_are_json(trained):
    run, _ = trained
    model, adapter = load_with_lora(run.checkpoint("sd15"), run.lora("sd15"))
    method = Method("one step", "reference", 1, 1.0, True)
    assert set(measure(model, method, 4)) == {"background", "colour", "shape", "size", "all"}
    sample, text = torch.randn(1, 4, 8, 8), model.text_encoder(cut(model.tokenizer(["red star"]), model.tokenizer.pad_id))[0]
    with torch.no_grad():
        with_lora = model.unet(sample, 999, encoder_hidden_states=text).sample
        with adapter.disabled():
            without = model.unet(sample, 999, encoder_hidden_states=text).sample
    assert not torch.allclose(with_lora, without)
    recipe = json.loads(run.lora("sd15").with_suffix(".json").read_text(encoding="utf-8"))
    assert recipe["seed"] == 3 and recipe["distillation"]["steps"] == 15


def test_a_finished_stage_continues_from_its_state(trained):
    run, progress = trained
    again = tune_decoder(dataclasses.replace(run, steps=progress["decoder"].steps + 1), VaeSettings(batch=4))
    assert again.steps == progress["decoder"].steps + 1


def test_checkpoint_reloads_to_equal_outputs(tmp_path):
    model = build_model("sdxl", seed=1).eval()
    save_checkpoint(model, tmp_path / "m.safetensors", torch.float32)
    again = load_checkpoint(tmp_path / "m.safetensors")
    hidden, pooled = model.encode_texts(["a big red star"])
    sample = torch.randn(1, 4, 8, 8)
    first, second = (
        m.unet(sample, 500, encoder_hidden_states=hidden, added_cond_kwargs=m.added_conditions(pooled)).sample for m in (model, again)
    )
    assert torch.equal(first, second)
    assert torch.equal(model.encode_texts(["x"])[0], again.encode_texts(["x"])[0])


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_cut_captions_give_the_same_answer_as_padded_ones(family):
    model = build_model(family, seed=0).eval()
    hidden, pooled = model.encode_texts(["a big red star on a blue background", "cat"])
    sample, times = torch.randn(2, 4, 8, 8), torch.tensor([10, 900])
    added = model.added_conditions(pooled)
    padded = model.unet(sample, times, encoder_hidden_states=hidden, added_cond_kwargs=added).sample
    skip_padding(model.unet)
    length = cut(model.tokenizer(["a big red star on a blue background"]), model.tokenizer.pad_id).shape[1]
    short = model.unet(sample, times, encoder_hidden_states=hidden[:, :length], added_cond_kwargs=added).sample
    assert torch.allclose(padded, short, atol=1e-5)


def test_text_after_the_caption_is_zero():
    encoder: SmallTextEncoder = build_model("sd15").text_encoder
    hidden, pooled = encoder(Tokenizer()(["a red star"]))
    assert pooled is None
    assert hidden[0, :5].abs().sum(dim=1).min() > 0
    assert not hidden[0, 5:].any()


@pytest.mark.parametrize("text", ["", "red " * 200, "Ünïcode, 猫 (x:1.3) <lora:y:1>\n\t_", "a big RED star."])
def test_every_text_tokenises(text):
    ids = Tokenizer()(text)
    assert ids.shape == (1, 77)
    assert ids[0, 0] == Tokenizer().bos_id and (ids[0] == Tokenizer().eos_id).sum() == 1


def test_judge_knows_real_pictures_and_refuses_noise():
    rng = np.random.default_rng(9)
    shown, scenes = pictures.random_pictures(300, rng)
    assert judge.agreement(shown, scenes)["all"] >= 0.99
    wrong = [pictures.Scene(s.background, s.colour, s.shape, "big" if s.size == "small" else "small") for s in scenes]
    assert judge.agreement(shown, wrong)["all"] == 0
    assert judge.agreement(rng.integers(0, 256, shown.shape, dtype=np.uint8), scenes)["all"] == 0
    assert judge.scene_of(scenes[0].caption) == scenes[0]


def test_training_arithmetic():
    assert reference_timesteps(4) == [999, 759, 499, 259]
    assert reference_timesteps(3) == [999, 679, 339]
    assert evenly_to_lowest(4) == [999, 672, 345, 19]
    timesteps = stratified_timesteps(50)
    assert sorted((timesteps // 20).tolist()) == list(range(50))
    model = build_model("sd15")
    weights = clamped_snr_weights(model.alphas_cumprod, torch.tensor([0, 500, 999]), 0.25, 5.0)
    assert weights[0] < 0.01 and weights[1] == 1.0 and weights[2] > 50
    assert learning_rate_factor(0, 100, 10) == pytest.approx(0.1)
    assert learning_rate_factor(10, 100, 10) == 1.0
    assert learning_rate_factor(100, 100, 10) == pytest.approx(0.02)
