"""Latent consistency distillation: the solver, the loss, what a student learns from a teacher that is known
exactly, and the LoRA file.
"""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lib_lcm.distill import (
    DistillConfig,
    LoraAdapter,
    boundary_scalings,
    consistency,
    ddim_solve,
    distance,
    distillation_loss,
    kohya_name,
    save_lora,
)
from lib_lcm.distill.algorithm import velocity

ALPHAS_CUMPROD = torch.cumprod(
    1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, dim=0
)
CENTRE, SPREAD = 0.8, 0.3
"""The data of the exactly known teacher: a normal distribution in each coordinate."""


def gaussian_noise_prediction(sample, timesteps, cond):
    """The ideal epsilon prediction for x0 ~ N(cond * CENTRE, SPREAD^2): E[eps | x_t]."""
    abar = ALPHAS_CUMPROD[timesteps][:, None].to(sample)
    mean = CENTRE * cond
    variance = abar * SPREAD**2 + 1 - abar
    return (1 - abar).sqrt() * (sample - abar.sqrt() * mean) / variance


def gaussian_teacher(sample, timesteps, cond, uncond):
    return gaussian_noise_prediction(sample, timesteps, cond), gaussian_noise_prediction(
        sample, timesteps, uncond
    )


def gaussian_flow_end(sample, timesteps, cond):
    """Where the probability flow takes `sample` at t = 0, for the same data: Gaussians are transported
    affinely.
    """
    abar, end = (ALPHAS_CUMPROD[t][:, None].to(sample) for t in (timesteps, torch.zeros_like(timesteps)))
    deviation = (sample - abar.sqrt() * CENTRE * cond) / (abar * SPREAD**2 + 1 - abar).sqrt()
    return end.sqrt() * CENTRE * cond + (end * SPREAD**2 + 1 - end).sqrt() * deviation


def test_published_defaults():
    config = DistillConfig()
    assert (config.rank, config.alpha, config.learning_rate, config.hop, config.guidance) == (
        64,
        8.0,
        1e-4,
        (20, 20),
        (5.0, 15.0),
    )
    assert config.grid.tolist() == list(range(19, 1000, 20))
    assert DistillConfig.sdxl().guidance == (3.0, 15.0)


@pytest.mark.parametrize(
    "change",
    [
        {"loss": "l1"},
        {"prediction_type": "x0"},
        {"hop": (30, 20)},
        {"substeps": (0, 1)},
        {"grid_points": 0},
        {"method": "turbo"},
        {"hop": (20, 20), "method": "trailing", "grid_points": 4},
    ],
)
def test_a_bad_value_is_named(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        DistillConfig(**change)


def test_a_consistency_function_keeps_a_clean_sample():
    c_skip, c_out = boundary_scalings(torch.tensor([0, 19]), DistillConfig())
    assert (float(c_skip[0]), float(c_out[0])) == (1.0, 0.0)
    assert float(c_skip[1]) == pytest.approx(0.25 / (190**2 + 0.25), rel=1e-6)


def test_solver_follows_the_exact_flow_ever_closer_with_more_substeps():
    torch.manual_seed(0)
    sample, cond = torch.randn(64, 3, dtype=torch.float64), torch.ones(64, 1, dtype=torch.float64)
    starts, ends = torch.full((64,), 999), torch.zeros(64, dtype=torch.long)
    exact = gaussian_flow_end(sample, starts, cond)

    def error(substeps):
        end = ddim_solve(
            gaussian_teacher, sample, starts, ends, substeps, torch.zeros(64), cond, 0 * cond, ALPHAS_CUMPROD
        )
        return float((end - exact).abs().max())

    assert error(200) < 0.03 < error(10)
    assert error(400) < 0.6 * error(200)


def test_solver_guides_by_one_plus_w():
    sample, cond = torch.randn(8, 3, dtype=torch.float64), torch.ones(8, 1, dtype=torch.float64)
    starts, ends, w = torch.full((8,), 500), torch.full((8,), 480), torch.full((8,), 4.0)

    def guided(sample, timesteps, cond, uncond):
        with_text, without = gaussian_teacher(sample, timesteps, cond, uncond)
        return without + 5.0 * (with_text - without), without

    one = ddim_solve(gaussian_teacher, sample, starts, ends, 1, w, cond, 0 * cond, ALPHAS_CUMPROD)
    other = ddim_solve(guided, sample, starts, ends, 1, 0 * w, cond, 0 * cond, ALPHAS_CUMPROD)
    assert torch.allclose(one, other, atol=1e-12)


def test_v_and_epsilon_predictions_are_the_same_consistency_function():
    sample, cond, timesteps = (
        torch.randn(8, 3, dtype=torch.float64),
        torch.ones(8, 1, dtype=torch.float64),
        torch.full((8,), 499),
    )
    abar = ALPHAS_CUMPROD[499]

    def velocity(sample, timesteps, cond):
        noise = gaussian_noise_prediction(sample, timesteps, cond)
        denoised = (sample - (1 - abar).sqrt() * noise) / abar.sqrt()
        return abar.sqrt() * noise - (1 - abar).sqrt() * denoised

    by_noise = consistency(
        gaussian_noise_prediction, sample, timesteps, cond, ALPHAS_CUMPROD, DistillConfig()
    )
    by_velocity = consistency(
        velocity, sample, timesteps, cond, ALPHAS_CUMPROD, DistillConfig(prediction_type="v_prediction")
    )
    assert torch.allclose(by_noise, by_velocity, atol=1e-12)


def test_huber_is_quadratic_near_zero_and_linear_far_away():
    config = DistillConfig(huber_c=0.1)
    near, far = torch.tensor([1e-3]), torch.tensor([100.0])
    assert float(distance(near, torch.zeros(1), config)) == pytest.approx(1e-6 / 0.2, rel=1e-2)
    assert float(distance(far, torch.zeros(1), config)) == pytest.approx(99.9, rel=1e-4)
    assert float(distance(far, torch.zeros(1), dataclasses.replace(config, loss="l2"))) == pytest.approx(1e4)


class Student(nn.Module):
    """Starts as the exact teacher, and learns a correction, affine in the sample for each grid cell: enough
    for the exact answer.
    """

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells
        self.table = nn.Embedding(cells + 1, 2)
        nn.init.zeros_(self.table.weight)

    def forward(self, sample, timesteps, cond):
        factor, shift = self.table((timesteps + 1) * self.cells // 1000).unsqueeze(-1).unbind(1)
        return gaussian_noise_prediction(sample, timesteps, cond) + factor * sample + shift


def learn(student: Student, config: DistillConfig) -> None:
    alphas_cumprod = ALPHAS_CUMPROD.float()
    # Epsilon's weight in x0 grows to 14 at t = 999, so plain gradient steps need scaling: Adam.
    optimizer = torch.optim.Adam(student.parameters(), lr=0.02)
    steps = 600
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * 0.5 * (1 + math.cos(math.pi * step / steps))
        cond = torch.ones(256, 1)
        latents = CENTRE * cond + SPREAD * torch.randn(256, 3)
        loss = distillation_loss(student, gaussian_teacher, latents, cond, 0 * cond, alphas_cumprod, config)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


TEN_POINTS = DistillConfig(grid_points=10, hop=(100, 100), substeps=(4, 4), guidance=(0.0, 0.0), loss="l2")


def test_a_student_learns_the_exact_consistency_function():
    torch.manual_seed(0)
    config, alphas_cumprod = TEN_POINTS, ALPHAS_CUMPROD.float()
    student = Student(config.grid_points)
    learn(student, config)
    sample, cond, top = torch.randn(512, 3), torch.ones(512, 1), torch.full((512,), 999)
    exact = gaussian_flow_end(sample, top, cond)
    with torch.no_grad():
        learned = consistency(student, sample, top, cond, alphas_cumprod, config)
        before = consistency(gaussian_noise_prediction, sample, top, cond, alphas_cumprod, config)
    # One evaluation of the teacher gives the mean of the data; the student must keep the sample's own
    # deviation.
    assert float((before - exact).std()) > 0.25
    assert float((learned - exact).std()) < 0.08
    assert float((learned - exact).mean().abs()) < 0.08


class GuidedStudent(Student):
    """Of a full LCM: starts as the teacher with the guidance that it is told."""

    def forward(self, sample, timesteps, cond, w):
        return super().forward(sample, timesteps, cond * (1 + w[:, None]))


def test_the_student_of_a_full_lcm_learns_the_flow_of_each_guidance():
    """Of these Gaussians, guidance moves the centre."""
    torch.manual_seed(0)
    config = dataclasses.replace(TEN_POINTS, method="full-lcm", guidance=(0.0, 3.0))
    student = GuidedStudent(config.grid_points)
    learn(student, config)
    sample, cond, top = torch.randn(512, 3), torch.ones(512, 1), torch.full((512,), 999)
    for w in (0.0, 1.5, 3.0):
        exact = gaussian_flow_end(sample, top, cond * (1 + w))
        with torch.no_grad():
            learned = consistency(
                lambda *asked, w=w: student(*asked, torch.full((512,), w)),
                sample, top, cond, ALPHAS_CUMPROD.float(), config,
            )  # fmt: skip
        assert float((learned - exact).std()) < 0.08
        assert float((learned - exact).mean().abs()) < 0.1 < CENTRE


def test_a_full_lcm_begins_with_the_answers_of_its_guided_teacher():
    config = dataclasses.replace(TEN_POINTS, method="guided", guidance=(0.0, 3.0))

    def loss(student):
        torch.manual_seed(0)
        latents, cond = torch.randn(64, 3), torch.ones(64, 1)
        return distillation_loss(
            student, gaussian_teacher, latents, cond, 0 * cond, ALPHAS_CUMPROD.float(), config
        )

    assert loss(GuidedStudent(config.grid_points)) < 1e-8
    assert loss(lambda sample, timesteps, cond, w: gaussian_noise_prediction(sample, timesteps, cond)) > 0.1


def test_the_velocity_of_a_v_prediction_is_that_prediction():
    prediction, sample, abar = torch.randn(4, 3), torch.randn(4, 3), torch.rand(4, 1)
    assert torch.allclose(velocity(prediction, sample, abar, "v_prediction"), prediction, atol=1e-6)


def test_target_has_no_gradient():
    """The student is asked twice: for the target without a gradient, for the prediction with one."""
    torch.manual_seed(0)
    config = DistillConfig(grid_points=10, hop=(100, 100), loss="l2")
    student = Student(10)
    seen = []

    def recording(sample, timesteps, cond):
        seen.append(torch.is_grad_enabled())
        return student(sample, timesteps, cond)

    latents, cond = torch.randn(4, 3), torch.ones(4, 1)
    distillation_loss(recording, gaussian_teacher, latents, cond, 0 * cond, ALPHAS_CUMPROD.float(), config)
    assert sorted(seen) == [False, True]


TRAILING = DistillConfig(
    method="trailing", grid_points=4, hop=(250, 250), substeps=(50, 50), guidance=(0.0, 0.0), loss="l2"
)


def test_a_student_for_exactly_four_steps_learns_to_follow_the_exact_flow_in_them():
    torch.manual_seed(0)
    assert (TRAILING.label, TRAILING.grid.tolist()) == ("trailing-4", [249, 499, 749, 999])
    student, alphas_cumprod = Student(4), ALPHAS_CUMPROD.float()
    optimizer = torch.optim.Adam(student.parameters(), lr=0.02)
    for step in range(150):
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * 0.5 * (1 + math.cos(math.pi * step / 150))
        cond = torch.ones(256, 1)
        latents = CENTRE * cond + SPREAD * torch.randn(256, 3)
        loss = distillation_loss(student, gaussian_teacher, latents, cond, 0 * cond, alphas_cumprod, TRAILING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    sample, cond, top = torch.randn(512, 3), torch.ones(512, 1), torch.full((512,), 999)

    @torch.no_grad()
    def error_of(network):
        end = ddim_solve(
            lambda *asked: (network(*asked[:3]),) * 2, sample, top, 0 * top, 4, torch.zeros(512), cond, cond,
            alphas_cumprod
        )  # fmt: skip
        return float((end - gaussian_flow_end(sample, top, cond)).abs().mean())

    assert error_of(gaussian_noise_prediction) > 0.1
    assert error_of(student) < 0.03


def test_a_student_for_exactly_four_steps_is_asked_once_with_its_teacher_s_end_as_target():
    torch.manual_seed(0)
    latents, cond, asked = torch.randn(4, 3), torch.ones(4, 1), []

    def student(sample, timesteps, cond):
        asked.append((torch.is_grad_enabled(), set(timesteps.tolist()) <= {249, 499, 749, 999}))
        return gaussian_noise_prediction(sample, timesteps, cond)

    # a teacher that takes the very step that the student takes
    config = dataclasses.replace(TRAILING, substeps=(1, 1))
    loss = distillation_loss(student, gaussian_teacher, latents, cond, cond, ALPHAS_CUMPROD.float(), config)
    assert (asked, float(loss)) == ([(True, True)], 0.0)


class Block(nn.Module):
    """Two layers with the names of a diffusers UNet, one of each kind, and one that is no target."""

    def __init__(self) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([nn.ModuleDict({"conv1": nn.Conv2d(4, 6, 3, stride=2, padding=1)})])
        self.to_q = nn.Linear(6, 5)
        self.other = nn.Linear(5, 5)

    def forward(self, x):
        return self.other(self.to_q(self.resnets[0]["conv1"](x).mean(dim=(2, 3))))


def trained_block():
    torch.manual_seed(1)
    block = Block()
    adapter = LoraAdapter(block, rank=4, alpha=2.0)
    for layer in adapter.layers.values():
        nn.init.normal_(layer.up.weight)
    return block, adapter


def test_lora_starts_without_effect_and_adapts_only_its_targets():
    block = Block()
    x = torch.randn(2, 4, 8, 8)
    before = block(x)
    adapter = LoraAdapter(block, rank=4, alpha=2.0)
    assert torch.equal(block(x), before)
    assert sorted(adapter.layers) == ["lora_unet_resnets_0_conv1", "lora_unet_to_q"]
    assert (
        kohya_name("down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0")
        == "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0"
    )


def test_disabled_or_removed_lora_is_the_teacher():
    x = torch.randn(2, 4, 8, 8)
    block, adapter = trained_block()
    with_lora = block(x)
    with adapter.disabled():
        teacher = block(x)
    assert not torch.allclose(with_lora, teacher)
    assert torch.equal(block(x), with_lora)
    adapter.remove()
    assert torch.equal(block(x), teacher)


def test_lora_equals_the_merged_weight():
    """up @ down * alpha / rank, the rule by which a host reads the file."""
    x = torch.randn(2, 4, 8, 8)
    block, adapter = trained_block()
    expected = block(x)
    state = adapter.kohya_state(torch.float32)
    adapter.remove()
    with torch.no_grad():
        for name, layer in (("resnets_0_conv1", block.resnets[0]["conv1"]), ("to_q", block.to_q)):
            up, down, alpha = (
                state[f"lora_unet_{name}.{part}"] for part in ("lora_up.weight", "lora_down.weight", "alpha")
            )
            layer.weight += (
                (up.flatten(1) @ down.flatten(1)).reshape(layer.weight.shape) * alpha / down.shape[0]
            )
    assert torch.allclose(block(x), expected, atol=1e-5)


def test_a_saved_lora_reloads_to_equal_outputs(tmp_path):
    x = torch.randn(2, 4, 8, 8)
    block, adapter = trained_block()
    expected = block(x)
    adapter.remove()
    save_lora(adapter, tmp_path / "lora.safetensors", {"description": "test"})
    assert [path.name for path in tmp_path.iterdir()] == ["lora.safetensors"]
    again = LoraAdapter(block, rank=4, alpha=1.0)
    again.load_kohya_state(load_file(tmp_path / "lora.safetensors"))
    assert torch.allclose(block(x), expected, atol=2e-2)  # fp16 in the file
    with pytest.raises(ValueError, match="missing"):
        again.load_kohya_state({})


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="target"):
        LoraAdapter(nn.Sequential(nn.Linear(2, 2)), rank=4, alpha=4.0)
