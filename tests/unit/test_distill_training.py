"""The training loop of distillation: it learns what is known exactly, resumes to the bit, and saves memory
without changing its result.
"""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors import safe_open
from torch import nn

from lib_lcm.distill import (
    Distillation,
    DistillConfig,
    LoraAdapter,
    checkpoint_blocks,
    consistency,
    estimate_memory,
    lora_metadata,
    save_lora,
)
from lib_lcm.families import SD15
from lib_lcm.lora.file import DISTILLATION_METADATA, inspect_lora
from workbench.small_models import build_model

ALPHAS_CUMPROD = torch.cumprod(
    1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, dim=0
).float()
CENTRES, SPREAD = torch.tensor([-1.0, 0.6]), 0.15
"""The data of the exactly known teacher: in one dimension, a mixture of two equally likely normal
distributions.
"""


def mixture_noise_prediction(sample: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """The ideal epsilon prediction for the mixture: E[eps | x_t]. All are [B, 1]."""
    abar = ALPHAS_CUMPROD[timesteps][:, None]
    variance = abar * SPREAD**2 + 1 - abar
    offsets = sample - abar.sqrt() * CENTRES  # [B, 2]
    share = torch.softmax(-(offsets**2) / (2 * variance), dim=1)
    return (1 - abar).sqrt() * (share * offsets).sum(dim=1, keepdim=True) / variance


def mixture_flow_end(sample: torch.Tensor, timestep: int) -> torch.Tensor:
    """Where the probability flow takes `sample` [B, 1] at t = 0. In one dimension a flow keeps the order of
    points, so it takes each quantile of the noisy distribution to the same quantile of the clean one, which
    is found by bisection."""

    def quantile_of(x, abar):
        deviation = (abar * SPREAD**2 + 1 - abar).sqrt()
        return torch.special.ndtr((x - abar.sqrt() * CENTRES.double()) / deviation).mean(dim=1, keepdim=True)

    abar, end = ALPHAS_CUMPROD[timestep].double(), ALPHAS_CUMPROD[0].double()
    wanted = quantile_of(sample.double(), abar)
    low, high = torch.full_like(wanted, -4.0), torch.full_like(wanted, 4.0)
    for _ in range(60):
        middle = (low + high) / 2
        below = quantile_of(middle, end) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return ((low + high) / 2).float()


class Correction(nn.Module):
    """A network with the names of a UNet's layers that answers zero until its LoRA is trained."""

    WIDTH = 32

    def __init__(self) -> None:
        super().__init__()
        self.to_q, self.to_k = nn.Linear(18, self.WIDTH), nn.Linear(self.WIDTH, self.WIDTH)
        self.proj_out = nn.Linear(self.WIDTH, 1)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, sample: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        abar = ALPHAS_CUMPROD[timesteps][:, None]
        # half the logarithm of the signal-to-noise ratio, about -1.3..1.8
        level = (abar / (1 - abar)).log() / 4
        waves = [f(level * k) for k in (1, 2, 3, 5) for f in (torch.sin, torch.cos)]
        ramps = [torch.tanh(3 * (sample - c)) for c in torch.linspace(-1.5, 1.5, 8)]
        x = torch.cat([sample, level, *waves, *ramps], dim=1)
        return self.proj_out(torch.tanh(self.to_k(torch.tanh(self.to_q(x)))))


def mixture_distillation(config: DistillConfig) -> tuple[Distillation, Correction, LoraAdapter]:
    torch.manual_seed(0)
    network = Correction()
    adapter = LoraAdapter(network, config.rank, config.alpha, config.targets)

    def student(sample, timesteps, cond):
        return mixture_noise_prediction(sample, timesteps) + network(sample, timesteps)

    def teacher(sample, timesteps, cond, uncond):
        with adapter.disabled():
            answer = student(sample, timesteps, cond)
        return answer, answer

    def batch(index):
        generator = torch.Generator().manual_seed(index)
        which = torch.randint(2, (config.batch,), generator=generator)
        return (CENTRES[which] + SPREAD * torch.randn(config.batch, generator=generator))[:, None], None, None

    return Distillation(network, adapter, student, teacher, ALPHAS_CUMPROD, batch, config), network, adapter


MIXTURE = DistillConfig(
    grid_points=10, hop=(100, 100), substeps=(2, 2), guidance=(0.0, 0.0), loss="l2", learning_rate=0.01,
    betas=(0.9, 0.99),
    learning_rate_schedule="cosine", warmup=20, batch=128, steps=400, rank=32, alpha=32.0, ema_decay=0.95,
    weight_decay=0.0,
)  # fmt: skip


def test_the_student_approaches_the_true_consistency_function_of_a_mixture():
    """One answer of the teacher is the mean of what is possible; the student must fall for one of the two
    peaks, and for the right one.
    """
    distillation, _, _ = mixture_distillation(MIXTURE)
    torch.manual_seed(1)
    sample, steps = torch.randn(2000, 1), torch.full((2000,), 999)
    exact = mixture_flow_end(sample, 999)

    def error(learned):
        return float((learned - exact).abs().mean()), float(
            ((learned > -0.2) == (exact > -0.2)).float().mean()
        )

    with torch.no_grad():
        before, _ = error(consistency(distillation.student, sample, steps, None, ALPHAS_CUMPROD, MIXTURE))
    distillation.run(say=lambda text: None)
    with torch.no_grad(), distillation.averaged():
        after, right_peak = error(
            consistency(distillation.student, sample, steps, None, ALPHAS_CUMPROD, MIXTURE)
        )
    assert before > 0.7
    assert after < 0.15, (before, after)  # 0.10 to 0.12, by the batches drawn and the processor's rounding
    assert right_peak > 0.95


SHORT = dataclasses.replace(MIXTURE, batch=8, steps=12, rank=4)


def final_weights(distillation: Distillation) -> list[torch.Tensor]:
    with distillation.averaged():
        return [parameter.detach().clone() for parameter in distillation.parameters]


def test_an_interrupted_run_ends_with_the_very_same_weights(tmp_path):
    whole, _, _ = mixture_distillation(SHORT)
    whole.run(say=lambda text: None)
    first, _, _ = mixture_distillation(SHORT)
    first.run(state_path=tmp_path / "state", until=5, say=lambda text: None)
    assert first.step == 5
    torch.manual_seed(999)  # whatever happened in between
    second, _, _ = mixture_distillation(SHORT)
    second.run(state_path=tmp_path / "state", say=lambda text: None)
    assert second.losses == whole.losses
    assert all(torch.equal(a, b) for a, b in zip(final_weights(second), final_weights(whole), strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_state_of_another_lora_is_refused(tmp_path):
    first, _, _ = mixture_distillation(SHORT)
    first.run(state_path=tmp_path / "state", until=1, say=lambda text: None)
    for change in ({"rank": 8}, {"ema_decay": 0.0}):
        other, _, _ = mixture_distillation(dataclasses.replace(SHORT, **change))
        with pytest.raises(ValueError, match="another LoRA"):
            other.run(state_path=tmp_path / "state", say=lambda text: None)


def test_the_moving_average_is_what_is_saved_and_live_weights_come_back():
    distillation, _, _ = mixture_distillation(SHORT)
    distillation.run(say=lambda text: None)
    live = [parameter.detach().clone() for parameter in distillation.parameters]
    averaged = final_weights(distillation)
    assert not all(torch.allclose(a, b, atol=1e-7) for a, b in zip(averaged, live, strict=True))
    assert all(torch.equal(a, b.detach()) for a, b in zip(live, distillation.parameters, strict=True))


def test_accumulation_averages_the_gradients_of_its_batches():
    config = dataclasses.replace(SHORT, accumulation=3, gradient_clip=1e9)
    distillation, _, _ = mixture_distillation(config)
    asked = []
    batch = distillation.batch
    distillation.batch = lambda index: asked.append(index) or batch(index)
    losses = [distillation.train_step() for _ in range(2)]
    assert asked == [0, 1, 2, 3, 4, 5]
    gradient = [parameter.grad.clone() for parameter in distillation.parameters]

    again, _, _ = mixture_distillation(config)
    again.train_step()
    parts = []
    from lib_lcm.distill import distillation_loss

    torch.manual_seed(config.seed * 1_000_003 + 1)
    for index in (3, 4, 5):
        loss = distillation_loss(again.student, again.teacher, *again.batch(index), ALPHAS_CUMPROD, config)
        parts.append((loss.item(), torch.autograd.grad(loss, again.parameters)))
    assert losses[1] == pytest.approx(sum(loss for loss, _ in parts) / 3)
    for index, whole in enumerate(gradient):
        assert torch.allclose(whole, sum(part[1][index] for part in parts) / 3, rtol=1e-4, atol=1e-9)


def test_learning_rate_schedules():
    constant = DistillConfig(warmup=10, steps=100)
    assert [constant.learning_rate_at(step) for step in (0, 9, 10, 99)] == pytest.approx(
        [1e-5, 1e-4, 1e-4, 1e-4]
    )
    cosine = dataclasses.replace(constant, learning_rate_schedule="cosine")
    assert [cosine.learning_rate_at(step) for step in (0, 10, 55, 100)] == pytest.approx(
        [1e-5, 1e-4, 5.1e-5, 2e-6]
    )


class UNetDistillation:
    """A distillation of a small SD 1.5-layout UNet."""

    def __init__(self, **changes):
        self.model = build_model("sd15", seed=2).eval()
        self.config = DistillConfig.small_model(batch=2, steps=2, rank=2, **changes)
        torch.manual_seed(0)
        self.adapter = LoraAdapter(self.model.unet, self.config.rank, self.config.alpha)
        for layer in self.adapter.layers.values():
            nn.init.normal_(layer.up.weight, std=0.02)
        self.text = torch.randn(2, 7, 768)
        self.run = Distillation(
            self.model.unet, self.adapter, self.student, self.teacher, ALPHAS_CUMPROD, self.batch, self.config
        )  # fmt: skip

    def student(self, sample, timesteps, cond):
        return self.model.unet(sample, timesteps, encoder_hidden_states=cond).sample

    def teacher(self, sample, timesteps, cond, uncond):
        with self.adapter.disabled():
            return self.student(
                torch.cat([sample] * 2), timesteps.repeat(2), torch.cat([cond, uncond])
            ).chunk(2)

    def batch(self, index):
        return (
            torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(index)),
            self.text,
            0 * self.text,
        )

    def gradients(self):
        self.run.train_step()
        return torch.cat([parameter.grad.flatten() for parameter in self.run.parameters])


def test_checkpointing_gives_the_same_gradients_and_is_undone():
    plain = UNetDistillation().gradients()
    saving = UNetDistillation()
    calls = []
    undo = checkpoint_blocks(saving.model.unet)
    saving.model.unet.down_blocks[0].resnets[0].conv1.register_forward_hook(
        lambda *_: calls.append(torch.is_grad_enabled())
    )
    assert torch.allclose(saving.gradients(), plain, rtol=1e-4, atol=1e-6)
    assert calls.count(True) == 2  # once forwards, once again in the backward pass
    undo()
    assert all("forward" not in vars(module) for module in saving.model.unet.modules())
    with pytest.raises(ValueError, match="blocks"):
        checkpoint_blocks(Correction())


def test_bf16_computes_in_half_precision_and_trains_in_full():
    far = {"hop": (600, 600)}  # so far that the two answers differ by more than bf16 rounds
    half = UNetDistillation(precision="bf16", **far)
    seen = []
    half.model.unet.conv_out.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    gradient, exact = half.gradients(), UNetDistillation(**far).gradients()
    assert set(seen) == {torch.bfloat16}
    assert {parameter.dtype for parameter in half.run.parameters} == {torch.float32} == {gradient.dtype}
    # of this network, rounding to bf16 leaves 0.94
    assert float(torch.cosine_similarity(gradient, exact, dim=0)) > 0.9


def test_precisions_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="'fp16' needs a GPU"):
        UNetDistillation(precision="fp16")
    network = Correction()
    adapter = LoraAdapter(network, 2, 2.0)
    with pytest.raises(ValueError, match="bf16"):
        Distillation(network.half(), adapter, None, None, ALPHAS_CUMPROD, None, DistillConfig())


@pytest.fixture(scope="module")
def finished():
    """A distillation that has ended, and what it said at which step."""
    run, said = UNetDistillation(gradient_checkpointing=True), []
    run.run.run(say=lambda text: said.append((run.run.step, text)))
    return run, said


def test_the_file_says_how_it_was_made_and_is_recognised(finished, tmp_path):
    run, _ = finished
    path = tmp_path / "any_name.safetensors"
    made = {"base_model": "mine", "base_model_sha256": "ab" * 32, "description": "of a test"}
    save_lora(run.adapter, path, lora_metadata(run.config, steps=run.run.step, **made))
    lora = inspect_lora(path)
    assert (lora.is_lcm, lora.family, lora.rank, lora.problem) == (True, SD15, 2, None)
    with safe_open(str(path), framework="pt") as file:
        made = json.loads(file.metadata()[DISTILLATION_METADATA])
        assert not any(key.startswith("ss_") for key in file.metadata())
    assert made["base_model_sha256"] == "ab" * 32
    assert (made["steps"], made["planned_steps"], made["hop"], made["huber_c"]) == (2, 2, [200, 240], 0.03)
    assert "method" not in made


def test_metadata_name_a_method_that_is_not_lcm():
    config = DistillConfig(method="trailing", grid_points=8, hop=(125, 125))
    made = lora_metadata(config, base_model="", base_model_sha256="", steps=1, description="")[
        DISTILLATION_METADATA
    ]
    assert json.loads(made)["method"] == "trailing-8"


def middle_distillation(checkpointing: bool) -> Distillation:
    """A distillation of a UNet with SD 1.5's layout, 15 million parameters and 24x24 latents."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=24,
        block_out_channels=(48, 96, 160, 160),
        cross_attention_dim=768,
        attention_head_dim=8,
        norm_num_groups=16,
    )
    config = DistillConfig(batch=4, rank=16, gradient_checkpointing=checkpointing, ema_decay=0.95)
    adapter = LoraAdapter(unet, config.rank, config.alpha)
    text = torch.randn(4, 77, 768)

    def student(sample, timesteps, cond):
        return unet(sample, timesteps, encoder_hidden_states=cond).sample

    def teacher(sample, timesteps, cond, uncond):
        with adapter.disabled():
            answer = student(sample, timesteps, cond)
        return answer, answer

    return Distillation(
        unet, adapter, student, teacher, ALPHAS_CUMPROD, lambda index: (torch.randn(4, 4, 24, 24), text,
        text), config
    )  # fmt: skip


@pytest.fixture(scope="module")
def middle_runs():
    """Without and with checkpointing: (distillation, its memory estimate)."""
    runs = {checkpointing: middle_distillation(checkpointing) for checkpointing in (False, True)}
    latents, cond, _ = runs[False].batch(0)
    return {
        checkpointing: (run, estimate_memory(run.unet, run.adapter, run.student, latents, cond, run.config))
        for checkpointing, run in runs.items()
    }


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_memory_estimate_is_what_training_takes(checkpointing, middle_runs, tmp_path):
    """Against torch's own account of its allocations in the first step (where Adam's moments come after the
    activations have gone).
    """
    run, estimate = middle_runs[checkpointing]
    if checkpointing:
        checkpoint_blocks(run.unet)
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        run.train_step()
    profile.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    allocated = [event["args"]["Total Allocated"] for event in events if event.get("name") == "[memory]"]
    peak = max(allocated) - allocated[0]
    assert 0.75 < peak / estimate.activations < 1.35


def test_the_memory_estimate_is_printed_before_the_first_step(finished):
    _, ((step, text),) = finished
    assert step == 0 and text.startswith("Distillation needs about ") and "activations" in text


def test_checkpointing_is_estimated_to_keep_less(middle_runs):
    (run, whole), (_, saving) = middle_runs[False], middle_runs[True]
    assert saving.activations < 0.5 * whole.activations
    trained = sum(parameter.numel() for parameter in run.adapter.parameters()) * 4
    assert (whole.lora, whole.optimizer, whole.average) == (trained, 2 * trained, trained)
