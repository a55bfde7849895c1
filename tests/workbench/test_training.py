"""Every training stage in miniature: it must lower its loss, write its file, and continue from a saved state.

Daily, one family's are trained until that shows, and the others' for two steps.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import time

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from lib_lcm.distill import DistillConfig, LoraAdapter
from lib_lcm.distill.optimisation import warm_up_and_cosine
from lib_lcm.families import SD15, family_named
from lib_lcm.lora.file import DISTILLATION_METADATA, inspect_lora
from workbench.scenes import prompts
from workbench.small_models import MODELS, SmallTextEncoder, build_model, load_checkpoint, save_checkpoint
from workbench.tokenizer import Tokenizer
from workbench.train import __main__ as main
from workbench.train import common
from workbench.train import teacher as teacher_stage
from workbench.train.attention import cut, skip_padding
from workbench.train.classifier import ClassifierSettings, train_classifier
from workbench.train.common import Run
from workbench.train.evaluate import Method, load_with_loras, measure
from workbench.train.lora import FULL, GUIDED, STYLE, TRAILING, sha256, train_lora, train_style
from workbench.train.sampling import evenly_to_lowest, load_for_cut_captions, reference_timesteps
from workbench.train.teacher import (
    TeacherSettings,
    assemble_model,
    clamped_snr_weights,
    stratified_timesteps,
    train_teacher,
)
from workbench.train.text import load_text, train_text
from workbench.train.vae import VaeSettings, encode_pools, load_vae, train_vae, tune_decoder

STAGES = (
    "teacher-sd15-v",
    "text-sd15", "text-sdxl", "vae", "decoder", "classifier", "teacher-sd15", "teacher-sd15-lit",
    "teacher-sdxl", "teacher-ssd1b",
    "style-sd15", "lora-sd15", "guided-sd15", "full-lcm-sd15", "trailing-4-sd15", "lora-sdxl", "lora-ssd1b",
)  # fmt: skip


DAILY = {"text-sd15": 18, "vae": 24, "decoder": 18, "classifier": 30, "teacher-sd15": 12, "lora-sd15": 15}
"""How many steps show that the stages of one family learn."""
LONG = {
    **dict.fromkeys(("text-sd15", "text-sdxl", "vae"), 36),
    **dict.fromkeys(("classifier", "teacher-sd15", "teacher-sdxl"), 30),
    **dict.fromkeys(("teacher-sd15-lit", "teacher-ssd1b", "lora-sd15", "lora-sdxl", "lora-ssd1b"), 15),
    "guided-sd15": 30,
    "full-lcm-sd15": 15,
    "decoder": 18,
    "style-sd15": 24,
}


def train_stages(folder, steps):
    """A run whose stages have all been made once: (run, progress of each stage)."""
    run = Run(seed=3, data=folder / "data", models=folder / "models", quick=True)
    settings, teacher = VaeSettings(batch=4), TeacherSettings(batch=16, warmup=5)
    lora = DistillConfig.small_model(batch=4, rank=2, learning_rate=5e-3, warmup=2)
    progress = {}

    def train(stage, function, *arguments):
        progress[stage] = function(dataclasses.replace(run, steps=steps.get(stage, 2)), *arguments)

    for family in ("sd15", "sdxl"):
        train(f"text-{family}", train_text, family)
    train("vae", train_vae, settings)
    train("decoder", tune_decoder, settings)
    encode_pools(run, settings)
    train("classifier", train_classifier, ClassifierSettings(batch=16, warmup=5))
    for name in ("sd15", "sd15-lit", "sdxl", "ssd1b"):
        train(f"teacher-{name}", train_teacher, name, teacher)
    train("style-sd15", train_style, teacher)
    for family in ("sd15", "sdxl", "ssd1b"):
        train(f"lora-{family}", train_lora, family, lora)
    changes = {"batch": 4, "rank": 2, "learning_rate": 5e-3, "warmup": 2}
    for stage, config in (("guided-sd15", GUIDED), ("full-lcm-sd15", FULL)):
        train(stage, train_lora, "sd15", dataclasses.replace(config, **changes))
    train("trailing-4-sd15", train_lora, "sd15", dataclasses.replace(TRAILING, **changes))
    return run, progress


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_stages(tmp_path_factory.mktemp("training"), DAILY)


@pytest.fixture(scope="module")
def trained_longer(tmp_path_factory):
    return train_stages(tmp_path_factory.mktemp("training"), LONG)


@pytest.mark.parametrize("stage", DAILY)
def test_stage_lowers_its_loss(trained, stage):
    look_for_a_fall(*trained, stage)


@pytest.mark.long
@pytest.mark.parametrize("stage", [s for s in STAGES if s not in ("style-sd15", "trailing-4-sd15")])
def test_every_stage_lowers_its_loss(trained_longer, stage):
    """But for the LoRA for four steps: where so short a training takes a teacher, four of its own steps lead
    to the same place as sixteen, and there is no loss to lower. tests/unit/test_distill.py shows that it
    learns.
    """
    look_for_a_fall(*trained_longer, stage)


def look_for_a_fall(run, progress, stage):
    losses = torch.load(run.data / f"{stage}.state.pt", weights_only=True)["losses"]
    assert len(losses) == progress[stage].steps
    third = len(losses) // 3
    assert np.mean(losses[-third:]) < np.mean(losses[:third])


@pytest.mark.long
def test_the_style_lora_lowers_its_loss(trained_longer, tmp_path, monkeypatch):
    """Against the losses of the same draws with a LoRA that does not learn: those of so few steps differ by
    more than it learns.
    """
    run, _ = trained_longer
    shutil.copytree(run.data, tmp_path / "data", ignore=shutil.ignore_patterns("*.state.pt"))
    shutil.copytree(run.models, tmp_path / "models")
    still = dataclasses.replace(run, data=tmp_path / "data", models=tmp_path / "models", steps=24)
    monkeypatch.setattr(common, "make_optimizer", lambda parameters, *_: torch.optim.SGD(parameters, lr=0.0))
    monkeypatch.setattr(common, "warm_up_and_cosine", lambda *_: 0.0)
    train_style(still, TeacherSettings(batch=16, warmup=5))
    learning, idle = (
        torch.load(folder / "style-sd15.state.pt", weights_only=True)["losses"]
        for folder in (run.data, still.data)
    )
    assert learning[0] == pytest.approx(idle[0], rel=1e-4)
    assert np.mean(learning[-8:]) < np.mean(idle[-8:])


def test_denoisers_read_the_trained_text_transformer_and_leave_it_as_it_is(trained):
    run, _ = trained
    for family, names in (("sd15", ("sd15", "sd15-lit")), ("sdxl", ("sdxl", "ssd1b"))):
        trained_text = build_model(family, seed=9).text_encoder
        load_text(run, family, trained_text)
        for name in names:
            kept = load_checkpoint(run.checkpoint(name)).text_encoder.clip.state_dict()
            assert all(
                torch.equal(tensor.half().float(), kept[key])
                for key, tensor in trained_text.clip.state_dict().items()
            ), name


def test_sdxl_learns_what_sd15_predicts_of_the_same_noisy_latents(trained, tmp_path, monkeypatch):
    run, _ = trained
    wanted = []

    class Tutor:
        text_encoder = staticmethod(lambda ids: ids)

        @staticmethod
        def predict(noisy, timesteps, ids):
            wanted.append((noisy.shape, timesteps.shape, len(ids)))
            # as the untrained denoiser, whose last layer is zero, says as well
            return torch.zeros_like(noisy)

    asked = []
    monkeypatch.setattr(
        teacher_stage,
        "load_for_cut_captions",
        lambda checkpoint, device: asked.append(checkpoint.stem) or Tutor,
    )
    alone = dataclasses.replace(run, steps=1, models=tmp_path, resume=False)
    progress = train_teacher(alone, "sdxl", TeacherSettings(batch=4, warmup=1))
    assert asked == ["small-sd15"] and wanted == [((4, 4, 8, 8), (4,), 4)]
    assert progress.final_loss == 0.0


def test_every_stage_is_tested_in_short():
    assert {name for name, stage in main.STAGES.items() if stage.share} == set(STAGES)


@pytest.mark.parametrize(("family", "width"), [("sd15", 768), ("sdxl", 2048), ("ssd1b", 2048)])
def test_lora_file_has_the_official_layout(trained, family, width):
    run, _ = trained
    with safe_open(str(run.lora(family)), framework="pt") as file:
        keys = set(file.keys())
        assert not any(name.startswith("ss_") for name in file.metadata())
        attn2 = [key for key in keys if key.endswith("attn2_to_k.lora_down.weight")]
        assert {file.get_slice(key).get_shape()[1] for key in attn2} == {width}
    lora = inspect_lora(run.lora(family))
    assert (lora.is_lcm, lora.family, lora.problem) == (True, family_named(family), None)
    assert {key.split(".", 1)[1] for key in keys} == {"lora_down.weight", "lora_up.weight", "alpha"}
    for part in ("mid_block_resnets_0_", "resnets_0_conv1", "time_emb_proj", "conv_shortcut",
    "ff_net_0_proj", "ff_net_2",
                 "proj_in", "attn1_to_out_0", "downsamplers_0_conv", "upsamplers_0_conv"):  # fmt: skip
        assert any(part in key for key in keys), part


def test_loras_go_into_the_weights_and_come_out_again(trained):
    run, _ = trained
    model, loras = load_with_loras(
        run.checkpoint("sd15"), lcm=run.lora("sd15"), style=run.models / "Lora" / f"{STYLE}.safetensors"
    )
    loras.apply(lcm=1.0)
    sample, text = (
        torch.randn(1, 4, 8, 8),
        model.text_encoder(cut(model.tokenizer(["red cross"]), model.tokenizer.pad_id))[0],
    )
    with torch.no_grad():
        with_lora = model.unet(sample, 999, encoder_hidden_states=text).sample
        loras.apply()
        without = model.unet(sample, 999, encoder_hidden_states=text).sample
        loras.apply(lcm=0.5)
        half = model.unet(sample, 999, encoder_hidden_states=text).sample
        loras.apply(lcm=0.5, style=1.0)
        both = model.unet(sample, 999, encoder_hidden_states=text).sample
        loras.apply(lcm=1.0)
        again = model.unet(sample, 999, encoder_hidden_states=text).sample
        beside = load_for_cut_captions(run.checkpoint("sd15"))
        LoraAdapter(beside.unet, 2, 8.0).load_kohya_state(load_file(run.lora("sd15")))
        as_trained = beside.unet(sample, 999, encoder_hidden_states=text).sample
        original = (
            load_for_cut_captions(run.checkpoint("sd15")).unet(sample, 999, encoder_hidden_states=text).sample
        )
    assert torch.equal(without, original) and torch.equal(again, with_lora)
    assert torch.allclose(with_lora, as_trained, atol=1e-5) and not torch.allclose(
        with_lora, without, atol=1e-3
    )
    assert not torch.allclose(half, with_lora, atol=1e-3) and not torch.allclose(half, without, atol=1e-3)
    assert not torch.allclose(both, half, atol=1e-3)
    with pytest.raises(KeyError):
        load_with_loras(run.checkpoint("sd15"), lcm=run.data / "none.safetensors")[1].apply(lcm=1.0)
    with pytest.raises(ValueError, match="for no layer of this model"):
        load_with_loras(run.checkpoint("ssd1b"), lcm=run.lora("sdxl"))


def test_pictures_are_measured_and_recipes_are_json(trained):
    run, _ = trained
    model, loras = load_with_loras(run.checkpoint("sd15"), lcm=run.lora("sd15"))
    loras.apply(lcm=1.0)
    rows = measure(model, Method("one step", "reference", 1, lora=1.0), prompts(4, 0))
    assert len(rows) == 4 and all({"background", "colour", "shape", "all"} <= set(row) for row in rows)
    recipe = json.loads(run.lora("sd15").with_suffix(".json").read_text(encoding="utf-8"))
    assert recipe["seed"] == 3 and recipe["distillation"]["steps"] == DAILY["lora-sd15"]
    for path in (run.models / "Lora" / f"{STYLE}.safetensors", run.lora("sd15", "trailing-4")):
        other = inspect_lora(path)
        assert (other.is_lcm, other.family, other.problem) == (False, SD15, None)


def test_a_pool_is_encoded_by_a_finished_checkpoint_where_no_autoencoder_was_trained(trained, tmp_path):
    run, _ = trained
    alone = dataclasses.replace(run, data=tmp_path)
    path, *_ = encode_pools(alone)
    own = load_checkpoint(run.checkpoint("sd15"))
    assert load_vae(alone)[1] == own.scaling_factor
    assert load_file(path)["latents"].shape == (256, 4, 8, 8)


def test_ssd1b_starts_from_the_blocks_that_it_shares_with_sdxl(trained):
    run, _ = trained
    parent, child = (
        load_checkpoint(run.checkpoint("sdxl")).unet.state_dict(),
        assemble_model(run, "ssd1b").unet.state_dict(),
    )
    assert set(child) < set(parent)
    assert all(torch.equal(child[name], parent[name]) for name in child)


def test_an_interrupted_stage_ends_with_the_same_weights(trained, tmp_path):
    run, _ = trained
    teacher = TeacherSettings(batch=4, warmup=2)
    ends = []
    for name, lengths in (("whole", (4,)), ("in-two", (2, 4))):
        data = tmp_path / name
        shutil.copytree(run.data, data, ignore=shutil.ignore_patterns("*.state.pt"))
        for steps in lengths:
            # The cosine follows the planned steps, so an interruption is played by a state that was saved
            # half way.
            part = dataclasses.replace(run, data=data, models=data / "models", steps=4)
            train_part(part, teacher, steps)
        ends.append(torch.load(data / "teacher-sd15.state.pt", weights_only=True)["parameters"])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def train_part(run, settings, steps):
    """Trains the sd15 teacher up to `steps`, as if it had been stopped there."""

    class Stopped(Exception):
        pass

    loop = teacher_stage.train_loop

    def stopping(name, run, planned, parameters, loss_of_step, **settings):
        def loss(step):
            if step == steps:
                raise Stopped
            return loss_of_step(step)

        return loop(name, run, planned, parameters, loss, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher_stage, "train_loop", stopping)
        patch.setattr(common, "SAVE_EVERY_SECONDS", 0.0)
        with contextlib.suppress(Stopped):
            train_teacher(run, "sd15", settings)


def test_a_budget_is_spread_over_the_stages_and_an_interrupted_one_goes_on(monkeypatch, tmp_path, capsys):
    asked = []

    def stage(name, fails=False):
        def call(run):
            if fails and name not in asked:
                asked.append(name)
                raise KeyboardInterrupt
            asked.append((name, run.seconds))

        return call

    stages = {
        "vae": main.Stage(stage("vae"), 3),
        "latents": main.Stage(stage("latents")),
        "decoder": main.Stage(stage("decoder", True), 1),
    }
    monkeypatch.setattr(main, "STAGES", stages)
    command = ["--all", "--budget", "10", "--data", str(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        main.main(command)
    main.main(command)
    assert asked == [
        ("vae", pytest.approx(405)),
        ("latents", None),
        "decoder",
        ("decoder", pytest.approx(135)),
    ]
    assert "vae: done before" in capsys.readouterr().out


def test_steps_fit_into_a_time():
    weight = torch.nn.Parameter(torch.zeros(1))

    def slow(step):
        time.sleep(0.01)
        return weight.sum()

    assert 10 <= common.steps_in(1.0, [weight], slow) <= 100
    assert weight.grad is None


def test_training_writes_over_the_shipped_models_only_where_it_is_told_to(tmp_path):
    run = main.run_of(main.parse(["--all", "--data", str(tmp_path)]))
    assert run.models == tmp_path / "models" and run.data == tmp_path
    assert (
        main.run_of(main.parse(["--all", "--quick", "--data", str(tmp_path)])).models
        == tmp_path / "quick" / "models"
    )
    assert main.run_of(main.parse(["--all", "--models", str(MODELS)])).models == MODELS


def test_the_shipped_models_stay_under_40_mb():
    assert sum(path.stat().st_size for path in MODELS.rglob("*.safetensors")) < 40e6


@pytest.mark.parametrize("family", ["sd15", "sdxl", "ssd1b"])
def test_each_shipped_lora_was_distilled_from_the_shipped_checkpoint(family):
    with safe_open(str(MODELS / "Lora" / f"lcm_lora_{family}.safetensors"), framework="pt") as file:
        made = json.loads(file.metadata()[DISTILLATION_METADATA])
    assert made["base_model_sha256"] == sha256(MODELS / "Stable-diffusion" / f"small-{family}.safetensors")


def test_a_finished_stage_continues_from_its_state(trained):
    run, progress = trained
    again = tune_decoder(dataclasses.replace(run, steps=progress["decoder"].steps + 1), VaeSettings(batch=4))
    assert again.steps == progress["decoder"].steps + 1


def test_checkpoint_reloads_to_equal_outputs(tmp_path):
    model = build_model("sdxl", seed=1).eval()
    save_checkpoint(model, tmp_path / "m.safetensors", torch.float32)
    again = load_checkpoint(tmp_path / "m.safetensors")
    hidden, pooled = model.encode_texts(["a big red cross"])
    sample = torch.randn(1, 4, 8, 8)
    first, second = (
        m.unet(sample, 500, encoder_hidden_states=hidden, added_cond_kwargs=m.added_conditions(pooled)).sample
        for m in (model, again)
    )
    assert torch.equal(first, second)
    assert torch.equal(model.encode_texts(["x"])[0], again.encode_texts(["x"])[0])


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_cut_captions_give_the_same_answer_as_padded_ones(family):
    model = build_model(family, seed=0).eval()
    hidden, pooled = model.encode_texts(["a big red cross on a blue mosaic", "cat"])
    sample, times = torch.randn(2, 4, 8, 8), torch.tensor([10, 900])
    added = model.added_conditions(pooled)
    padded = model.unet(sample, times, encoder_hidden_states=hidden, added_cond_kwargs=added).sample
    skip_padding(model.unet)
    length = cut(model.tokenizer(["a big red cross on a blue mosaic"]), model.tokenizer.pad_id).shape[1]
    short = model.unet(
        sample, times, encoder_hidden_states=hidden[:, :length], added_cond_kwargs=added
    ).sample
    assert torch.allclose(padded, short, atol=1e-5)


def test_text_after_the_caption_is_zero():
    encoder: SmallTextEncoder = build_model("sd15").text_encoder
    hidden, pooled = encoder(Tokenizer()(["a red cross"]))
    assert pooled is None
    assert hidden[0, :5].abs().sum(dim=1).min() > 0
    assert not hidden[0, 5:].any()


@pytest.mark.parametrize(
    "text", ["", "red " * 200, "Ünïcode, 猫 (x:1.3) <lora:y:1>\n\t_", "a big RED cross."]
)
def test_every_text_tokenises(text):
    ids = Tokenizer()(text)
    assert ids.shape == (1, 77)
    assert ids[0, 0] == Tokenizer().bos_id and (ids[0] == Tokenizer().eos_id).sum() == 1


def test_training_arithmetic():
    assert reference_timesteps(4) == [999, 759, 499, 259]
    assert reference_timesteps(3) == [999, 679, 339]
    assert evenly_to_lowest(4) == [999, 672, 345, 19]
    timesteps = stratified_timesteps(50)
    assert sorted((timesteps // 20).tolist()) == list(range(50))
    model = build_model("sd15")
    weights = clamped_snr_weights(model.alphas_cumprod, torch.tensor([0, 500, 999]), 0.25, 5.0)
    assert weights[0] < 0.01 and weights[1] == 1.0 and weights[2] > 50
    assert warm_up_and_cosine(0, 100, 10) == pytest.approx(0.1)
    assert warm_up_and_cosine(10, 100, 10) == 1.0
    assert warm_up_and_cosine(100, 100, 10) == pytest.approx(0.02)
