"""Trajectories against the reference itself: diffusers' LCMScheduler.step, with the same model, start and
noises.
"""

import gc

import pytest
import torch
from diffusers import LCMScheduler
from torch.utils._python_dispatch import TorchDispatchMode

from lib_lcm.sampling.samplers import boundary_scalings, sample_lcm, sample_tcd
from lib_lcm.sampling.schedules import lcm_timesteps
from tests.simulated_device import SimulatedDevice


def scheduler_of(prediction):
    return LCMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction" if prediction == "v_prediction_zsnr" else prediction,
        rescale_betas_zero_snr=prediction == "v_prediction_zsnr",
    )


def network(x, timestep):
    """A smooth stand-in for a UNet: any function of the sample and the timestep will do."""
    return torch.tanh(0.7 * x + 0.3 * x.roll(1, -1)) * (1.0 + timestep / 1000.0) - 0.1


def reference_run(scheduler, start, noises, steps, strength):
    """The reference's loop in variance-preserving scaling; `noises` are handed out in order instead of
    drawn.
    """
    scheduler.set_timesteps(steps, strength=strength)
    queue = iter(noises)
    sample = start
    import diffusers.schedulers.scheduling_lcm as module

    original = module.randn_tensor
    module.randn_tensor = lambda shape, **kwargs: next(queue)
    try:
        # as int: from a tensor the reference computes c_out in float32
        for timestep in scheduler.timesteps.tolist():
            result = scheduler.step(network(sample, float(timestep)), timestep, sample, return_dict=False)
            sample = result[0]
    finally:
        module.randn_tensor = original
    return sample


def our_run(alphas_cumprod, prediction, start, noises, steps, strength):
    """The same in k-diffusion's scaling. `start` is variance-preserving."""
    timesteps = lcm_timesteps(steps, strength=strength)
    sigma_max = 1e13  # stands for the infinite sigma of zero terminal SNR
    sigma_table = ((1 - alphas_cumprod) / alphas_cumprod.clamp(min=sigma_max**-2)).sqrt()
    sigmas = torch.cat([sigma_table[timesteps], sigma_table.new_zeros(1)]).to(start.dtype)
    queue = iter(noises)

    def denoiser(x, sigma):
        timestep = int((sigma_table - sigma[0]).abs().argmin())
        scale = (1 + sigma[0] ** 2).sqrt()
        output = network(x / scale, float(timestep))
        if prediction == "epsilon":
            return x - sigma[0] * output
        return x / scale**2 - output * sigma[0] / scale

    x = start * (1 + sigmas[0] ** 2).sqrt()
    return sample_lcm(
        denoiser, x, sigmas, disable=True, noise_sampler=lambda *_: next(queue), timesteps=timesteps
    )


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize("steps", [1, 2, 4, 8])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "v_prediction_zsnr"])
@pytest.mark.parametrize("dtype,tolerance", [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_trajectory_equals_the_reference(dtype, tolerance, prediction, steps, strength, batch):
    scheduler = scheduler_of(prediction)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(dtype)
    generator = torch.Generator().manual_seed(7)
    shape = (batch, 4, 8, 8)
    start = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    noises = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for _ in range(steps)]
    expected = reference_run(scheduler, start, noises, steps, strength)
    ours = our_run(scheduler.alphas_cumprod, prediction, start, noises, steps, strength)
    assert (ours - expected).abs().max() <= tolerance


@pytest.mark.parametrize("timestep", [0, 1, 19, 259, 999])
def test_the_boundary_scalings_equal_the_references(timestep):
    """Near 0 too, where they differ from 0 and 1: no timestep that is visited would show it."""
    expected = LCMScheduler().get_scalings_for_boundary_condition_discrete(
        torch.tensor(timestep, dtype=torch.float64)
    )
    assert boundary_scalings(timestep) == pytest.approx([float(scaling) for scaling in expected], rel=1e-12)


def test_neither_the_start_nor_a_denoised_latent_is_changed_in_place():
    seen = []

    def denoiser(x, sigma):
        denoised = x * 0.5
        seen.append((denoised, denoised.clone()))
        return denoised

    x = torch.randn(2, 4, 8, 8)
    before = x.clone()
    sample_lcm(denoiser, x, torch.tensor([14.6, 4.2, 0.0]), disable=True, timesteps=[999, 759])
    assert torch.equal(x, before)
    assert all(torch.equal(kept, copy) for kept, copy in seen)


def assert_half_precision_is_near(sample, dtype, tolerance, sigmas, **schedule):
    """A sampler's result in `dtype` is finite and within `tolerance` of that in float32."""
    start = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    noises = [torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2 + i)) for i in range(4)]

    def denoiser(x, sigma):
        return torch.tanh(x / torch.hypot(torch.ones(()), sigma[0].float()).item())

    def run(kind):
        queue = iter(noises)
        x = (start * (1 + sigmas[0] ** 2).sqrt()).to(kind)
        noise = {"noise_sampler": lambda *_: next(queue).to(kind)}
        return sample(denoiser, x, sigmas, disable=True, **noise, **schedule)

    low, full = run(dtype), run(torch.float32)
    assert low.dtype is dtype and torch.isfinite(low).all()
    assert (low.float() - full).abs().max() <= tolerance


@pytest.mark.parametrize("dtype,tolerance", [(torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
def test_half_precision_stays_near_float32_and_finite(dtype, tolerance):
    """Measured with this network: 1.4e-3 in float16 and 1.2e-2 in bfloat16 (latents of unit size)."""
    alphas = scheduler_of("epsilon").alphas_cumprod
    timesteps = lcm_timesteps(4)
    sigmas = torch.cat([((1 - alphas) / alphas).sqrt()[timesteps], torch.zeros(1)])
    assert_half_precision_is_near(sample_lcm, dtype, tolerance, sigmas, timesteps=timesteps)


def test_callback_sees_every_step_and_timesteps_must_fit():
    steps = []
    x, sigmas = torch.zeros(1, 4, 2, 2), torch.tensor([2.0, 1.0, 0.0])
    sample_lcm(lambda x, sigma: x, x, sigmas, callback=lambda d: steps.append(d["i"]), disable=True)
    assert steps == [0, 1]
    with pytest.raises(ValueError, match="1 timesteps for 2 steps"):
        sample_lcm(lambda x, sigma: x, x, sigmas, disable=True, timesteps=[999])


class Operations(TorchDispatchMode):
    """Notes the name of every operation."""

    def __init__(self):
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.name())
        return function(*args, **(kwargs or {}))


both_samplers = pytest.mark.parametrize(
    "sample, last, schedule",
    [
        (sample_lcm, 0.0, {"timesteps": [999, 759, 499, 259]}),
        (sample_tcd, 0.03, {"jump_sigmas": [2.0, 1.0, 0.5, 0.03]}),
    ],
    ids=["lcm", "tcd"],
)


@both_samplers
def test_of_all_latents_only_the_start_and_the_sample_are_in_memory_while_the_model_runs(
    sample, last, schedule
):
    shape = (1, 4, 7, 9)  # no other test's
    others = []

    def model(x, sigma):
        latents = [o for o in gc.get_objects() if type(o) is torch.Tensor and o.shape == shape]
        others.append(len(latents) - len({id(start), id(x)}))
        return x * 0.5

    start = torch.randn(shape)
    sample(model, start, torch.tensor([14.6, 4.3, 1.6, 0.7, last]), disable=True, **schedule)
    assert others == [0] * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@both_samplers
def test_latents_stay_on_their_device_and_nothing_is_copied_or_double(sample, last, schedule, dtype):
    """As in the WebUI, the noise levels are on the CPU."""
    x = torch.randn(2, 4, 8, 8).to(dtype)
    sigmas = torch.tensor([14.6, 4.3, 1.6, 0.7, last])

    def run(x):
        model, noise = (lambda x, sigma: x * 0.5), (lambda *_: torch.ones_like(x))
        return sample(model, x, sigmas, disable=True, noise_sampler=noise, **schedule)

    with SimulatedDevice() as device:
        there = x.to(device.name)
        device.copies = 0
        result = run(there)
        assert device.copies == device.reads == 0 and result.dtype is dtype
        assert torch.equal(result.cpu(), run(x))


def test_a_step_costs_a_handful_of_operations_on_latents():
    x = torch.zeros(1, 4, 8, 8)
    counts = []
    for steps in (2, 6):
        with Operations() as operations:
            sample_lcm(
                lambda x, sigma: x, x, torch.linspace(14.0, 0.0, steps + 1), disable=True,
                noise_sampler=lambda *_: x, timesteps=list(range(999, 999 - steps, -1)),
            )  # fmt: skip
        counts.append(
            len(
                [
                    name
                    for name in operations.names
                    if name.startswith(("aten::mul", "aten::add", "aten::div"))
                ]
            )
        )
    # the level of each image, c_out and c_skip with their sum, the new noise with its sum
    assert (counts[1] - counts[0]) / 4 <= 6
