"""Trajectories against the reference itself: diffusers' TCDScheduler.step, with the same model, start and
noises.
"""

import diffusers.schedulers.scheduling_tcd as scheduling_tcd
import pytest
import torch
from diffusers import TCDScheduler
from hypothesis import given
from hypothesis import strategies as st

from lib_lcm.sampling.samplers import sample_tcd
from lib_lcm.sampling.schedules import lcm_timesteps, tcd_jumps
from tests.unit.test_sampler import assert_half_precision_is_near, network

SIGMA_MAX = 1e13
"""Stands for the infinite noise level of zero terminal SNR."""


def scheduler_of(prediction, dtype=torch.float64):
    scheduler = TCDScheduler(
        prediction_type="v_prediction" if prediction == "v_prediction_zsnr" else prediction,
        rescale_betas_zero_snr=prediction == "v_prediction_zsnr",
    )
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(dtype)
    return scheduler


def reference_run(monkeypatch, scheduler, start, noises, steps, strength, gamma):
    """The reference's loop in variance-preserving scaling; `noises` are handed out in order instead of
    drawn.
    """
    queue = iter(noises)
    monkeypatch.setattr(scheduling_tcd, "randn_tensor", lambda shape, **kwargs: next(queue))
    scheduler.set_timesteps(steps, strength=strength)
    sample = start
    for timestep in scheduler.timesteps.tolist():
        sample = scheduler.step(
            network(sample, float(timestep)), timestep, sample, eta=gamma, return_dict=False
        )[0]
    return sample


def our_run(alphas_cumprod, prediction, start, noises, steps, strength, gamma):
    """The same in k-diffusion's scaling. `start` and the result are variance-preserving."""
    timesteps = lcm_timesteps(steps, strength=strength)
    table = ((1 - alphas_cumprod) / alphas_cumprod.clamp(min=SIGMA_MAX**-2)).sqrt()
    sigmas = table[[*timesteps, 0]].to(start.dtype)
    queue = iter(noises)

    def denoiser(x, sigma):
        timestep = int((table - sigma[0]).abs().argmin())
        scale = (1 + sigma[0] ** 2).sqrt()
        output = network(x / scale, float(timestep))
        if prediction == "epsilon":
            return x - sigma[0] * output
        return x / scale**2 - output * sigma[0] / scale

    x = start * (1 + sigmas[0] ** 2).sqrt()
    jumps = sigmas.new_tensor(table[tcd_jumps(timesteps, gamma)].tolist()).tolist()
    return sample_tcd(
        denoiser, x, sigmas, disable=True, noise_sampler=lambda *_: next(queue), jump_sigmas=jumps
    )


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize("steps", [1, 2, 4, 8])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "v_prediction_zsnr"])
@pytest.mark.parametrize("dtype,tolerance", [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_trajectory_equals_the_reference(
    monkeypatch, dtype, tolerance, prediction, steps, strength, batch, gamma
):
    scheduler = scheduler_of(prediction, dtype)
    generator = torch.Generator().manual_seed(7)
    shape = (batch, 4, 8, 8)
    start = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    noises = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for _ in range(steps)]
    expected = reference_run(monkeypatch, scheduler, start, noises, steps, strength, gamma)
    ours = our_run(scheduler.alphas_cumprod, prediction, start, noises, steps, strength, gamma)
    assert (ours - expected).abs().max() <= tolerance


def test_timesteps_are_those_of_the_reference():
    scheduler = TCDScheduler()
    for steps in range(1, 51):
        for strength in (1.0, 0.75, 0.5):
            if int(50 * strength) >= steps:
                scheduler.set_timesteps(steps, strength=strength)
                assert lcm_timesteps(steps, strength=strength) == scheduler.timesteps.tolist()


@given(
    gamma=st.one_of(st.floats(0, 1), st.integers(0, 1000).map(lambda n: n / 1000)),
    timestep=st.integers(0, 999),
)
def test_jumps_are_those_of_the_reference_for_every_gamma(gamma, timestep):
    # as `TCDScheduler.step` has it
    expected = int(torch.floor((1 - gamma) * torch.tensor(timestep)).to(dtype=torch.long))
    assert tcd_jumps([999, timestep], gamma) == [expected, 0]


@pytest.mark.parametrize("gamma", [-0.1, 1.1, float("nan")])
def test_a_gamma_out_of_range_is_refused_with_its_value(gamma):
    with pytest.raises(ValueError, match=str(gamma)):
        tcd_jumps([999, 499], gamma)


def test_a_schedule_that_ends_at_zero_ends_with_the_denoised_latent():
    x, sigmas = torch.randn(1, 4, 2, 2), torch.tensor([14.6, 4.2, 0.0])
    result = sample_tcd(
        lambda x, sigma: torch.full_like(x, 0.25), x, sigmas, disable=True, jump_sigmas=[2.0, 0.0]
    )
    assert torch.equal(result, torch.full_like(x, 0.25))


def test_a_level_to_jump_to_above_the_next_one_counts_as_that_one():
    x, sigmas = torch.randn(1, 4, 2, 2), torch.tensor([14.6, 4.2, 0.03])

    def run(jumps):
        return sample_tcd(lambda x, sigma: x * 0.5, x, sigmas, disable=True, jump_sigmas=jumps)

    assert torch.equal(run([4.3, 0.1]), run(sigmas[1:].tolist()))
    with pytest.raises(ValueError, match="1 levels to jump to for 2 steps"):
        run([2.0])


def test_without_randomness_no_noise_is_drawn():
    def refuse(*args):
        raise AssertionError("noise was drawn")

    sigmas = torch.tensor([14.6, 4.2, 0.03])
    deterministic = {"noise_sampler": refuse, "jump_sigmas": sigmas[1:].tolist()}
    sample_tcd(lambda x, sigma: x * 0.5, torch.zeros(1, 4, 2, 2), sigmas, disable=True, **deterministic)


def test_neither_the_start_nor_what_others_hold_is_changed_in_place():
    held = []

    def hold(tensor):
        held.append((tensor, tensor.clone()))
        return tensor

    x = hold(torch.randn(2, 4, 8, 8))
    sample_tcd(
        lambda x, sigma: hold(x * 0.5), x, torch.tensor([14.6, 4.2, 1.6, 0.03]), disable=True,
        jump_sigmas=[2.0, 1.0, 0.03],
        callback=lambda step: hold(step["x"]), noise_sampler=lambda *_: hold(torch.randn(2, 4, 8, 8)),
    )  # fmt: skip
    assert len(held) == 1 + 3 * 2 + 2
    assert all(torch.equal(tensor, copy) for tensor, copy in held)


@pytest.mark.parametrize("dtype,tolerance", [(torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
def test_half_precision_stays_near_float32_and_finite(dtype, tolerance):
    """Measured with this network: 1.1e-3 in float16 and 9e-3 in bfloat16 (latents of unit size)."""
    alphas = scheduler_of("epsilon", torch.float32).alphas_cumprod
    timesteps = lcm_timesteps(4)
    table = ((1 - alphas) / alphas).sqrt()
    jumps = table[tcd_jumps(timesteps, 0.3)].tolist()
    assert_half_precision_is_near(sample_tcd, dtype, tolerance, table[[*timesteps, 0]], jump_sigmas=jumps)
