"""Every recipe against the scheduler that its source names, diffusers' own: the same model, start and noises,
from the first timestep to the last latent.

How our side is run is that of `webui.sampling.sampler`; tests/workbench/test_recipes_in_the_host.py runs that
very class.
"""

from __future__ import annotations

import diffusers.schedulers.scheduling_euler_discrete as scheduling_euler
import diffusers.schedulers.scheduling_lcm as scheduling_lcm
import diffusers.schedulers.scheduling_tcd as scheduling_tcd
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, LCMScheduler, TCDScheduler

from lib_lcm.methods import EVEN, GRID, METHODS, method_named
from lib_lcm.sampling.samplers import sample_lcm, sample_tcd
from lib_lcm.sampling.schedules import even_timesteps, tcd_jumps, timesteps_by
from tests.unit.test_sampler import network

TRAIN_STEPS = 1000
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SHAPE = (2, 4, 8, 8)

CASES = [
    (method, steps)
    for method in METHODS
    if method.recipe is not None
    for steps in range(method.recipe.steps[0], method.recipe.steps[1] + 1)
]


def recipes(cases):
    return pytest.mark.parametrize(
        "method,steps", cases, ids=[f"{method.name} in {steps}" for method, steps in cases]
    )


ANIMATED = [(method, steps) for method, steps in CASES if method.name.startswith(("lcm", "lightning"))]
"""Those that AnimateDiff is sampled by: AnimateLCM's LoRA and AnimateDiff-Lightning."""


class Network:
    """The stand-in for a UNet, that notes the timesteps it is told."""

    def __init__(self):
        self.timesteps: list[int] = []

    def __call__(self, sample, timestep):
        self.timesteps.append(int(timestep))
        return network(sample, float(timestep))


# --- the references -----------------------------------------------------------------------------------------


class Double:
    """A module whose single precision is double: EulerDiscreteScheduler rounds its levels and every sample to
    float32, whatever it is given.
    """

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        return getattr(self.module, "float64" if name == "float32" else name)


def trailing_euler(steps, prediction, dtype, monkeypatch, strength=1.0):
    scheduler = EulerDiscreteScheduler(**BETAS, prediction_type=prediction, timestep_spacing="trailing")
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(dtype)
    if dtype is torch.float64:
        for name in ("torch", "np"):
            monkeypatch.setattr(scheduling_euler, name, Double(getattr(scheduling_euler, name)))
    if int(steps * strength) == 0:  # as of LCM below
        scheduler.set_timesteps(timesteps=[int(TRAIN_STEPS * strength) - 1])
    else:
        scheduler.set_timesteps(steps)
    return scheduler


def run_euler(scheduler, unet, start, first):
    """From the `first` of its timesteps, as diffusers' img2img begins; the sample is variance-exploding."""
    scheduler.set_begin_index(first)
    sample = start * (1 + scheduler.sigmas[first] ** 2).sqrt()
    for timestep in scheduler.timesteps[first:]:
        scaled = scheduler.scale_model_input(sample, timestep)
        sample = scheduler.step(unet(scaled, timestep), timestep, sample, return_dict=False)[0]
    return sample


def run_ddim(scheduler, unet, start, first):
    sample = start
    for timestep in scheduler.timesteps[first:].tolist():
        sample = scheduler.step(unet(sample, timestep), timestep, sample, return_dict=False)[0]
    return sample


def set_lcm_timesteps(scheduler, rule, steps, strength):
    if rule == GRID:
        scheduler.set_timesteps(steps, strength=strength)
    elif rule != EVEN:  # a model of a single step; strength 0.5 begins at 499 at most
        scheduler.set_timesteps(timesteps=[min(rule, int(TRAIN_STEPS * strength) - 1)])
    elif int(steps * strength) == 0:  # diffusers' img2img refuses; here the strength itself is begun at
        scheduler.set_timesteps(timesteps=[int(TRAIN_STEPS * strength) - 1])
    elif TRAIN_STEPS % steps == 0:  # the grid of the distillation is then the run's own
        scheduler.set_timesteps(int(steps * strength), original_inference_steps=steps, strength=strength)
    else:
        trailing = EulerDiscreteScheduler(**BETAS, timestep_spacing="trailing")
        trailing.set_timesteps(steps)
        last = trailing.timesteps.long().tolist()[steps - int(steps * strength) :]
        scheduler.set_timesteps(timesteps=last)


def reference_run(recipe, steps, strength, prediction, dtype, unet, start, noises, monkeypatch):
    """The last latent, from `start`, the variance-preserving sample at the first timestep."""
    left = int(steps * strength)
    first = steps - left if left else 0
    if recipe.sampler == "euler":
        scheduler = trailing_euler(steps, prediction, dtype, monkeypatch, strength)
        return run_euler(scheduler, unet, start, first)
    if recipe.sampler == "ddim":
        # DDIMScheduler steps down to t - 1000 // steps, which for 12 and 16 steps is one off the next of its
        # own list (999 916 832; 999 937 874); Euler takes the very same ODE step between those of the list
        if TRAIN_STEPS % steps:
            return run_euler(trailing_euler(steps, prediction, dtype, monkeypatch), unet, start, first)
        scheduler = DDIMScheduler(
            **BETAS, prediction_type=prediction, timestep_spacing="trailing",
            clip_sample=False, set_alpha_to_one=True,
        )  # fmt: skip
        scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(dtype)
        scheduler.set_timesteps(steps)
        return run_ddim(scheduler, unet, start, first)

    queue = iter(noises)
    is_lcm = recipe.sampler == "lcm"
    scheduler = (LCMScheduler if is_lcm else TCDScheduler)(**BETAS, prediction_type=prediction)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(dtype)
    module = scheduling_lcm if is_lcm else scheduling_tcd
    monkeypatch.setattr(module, "randn_tensor", lambda shape, **kwargs: next(queue))
    if is_lcm:
        set_lcm_timesteps(scheduler, recipe.timesteps, steps, strength)
    else:
        scheduler.set_timesteps(steps, strength=strength)
    sample = start
    eta = {} if is_lcm else {"eta": recipe.gamma}
    for timestep in scheduler.timesteps.tolist():
        sample = scheduler.step(unet(sample, timestep), timestep, sample, return_dict=False, **eta)[0]
    return sample


# --- ours ---------------------------------------------------------------------------------------------------


def table_of(dtype):
    alphas_cumprod = LCMScheduler(**BETAS).alphas_cumprod.to(dtype)
    return ((1 - alphas_cumprod) / alphas_cumprod).sqrt()


def our_run(recipe, steps, strength, prediction, dtype, unet, start, noises):
    table, timesteps = table_of(dtype), timesteps_by(recipe.timesteps, steps, strength=strength)
    last = table[:1] if recipe.sampler == "tcd" else table.new_zeros(1)
    sigmas = torch.cat([table[timesteps], last])
    queue = iter(noises)

    def denoiser(x, sigma):
        sigma = sigma[0]
        scale = (1 + sigma**2).sqrt()
        output = unet(x / scale, (table - sigma).abs().argmin())
        return x - sigma * output if prediction == "epsilon" else x / scale**2 - output * sigma / scale

    x = start * (1 + sigmas[0] ** 2).sqrt()
    common = {"disable": True, "noise_sampler": lambda *_: next(queue)}
    if recipe.sampler == "lcm":
        return sample_lcm(denoiser, x, sigmas, **common, timesteps=timesteps)
    if recipe.sampler == "tcd":
        jumps = table[tcd_jumps(timesteps, recipe.gamma)].tolist()
    else:
        jumps = sigmas[1:].tolist()
    return sample_tcd(denoiser, x, sigmas, **common, jump_sigmas=jumps)


# --- the tests ----------------------------------------------------------------------------------------------


def assert_equals_the_reference(method, steps, strength, prediction, dtype, tolerance, monkeypatch):
    recipe = method.recipe
    generator = torch.Generator().manual_seed(11)
    start, *noises = torch.randn(steps + 1, *SHAPE, generator=generator, dtype=torch.float64).to(dtype)
    told, ours = Network(), Network()
    arguments = recipe, steps, strength, prediction, dtype
    expected = reference_run(*arguments, told, start, noises, monkeypatch)
    result = our_run(*arguments, ours, start, noises)
    assert ours.timesteps == told.timesteps
    assert result.dtype is expected.dtype is dtype
    assert (result - expected).abs().max() <= tolerance


@pytest.mark.parametrize("dtype,tolerance", [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("strength", [1.0, 0.5])
@recipes(CASES)
def test_the_trajectory_of_every_recipe_equals_the_references(
    method, steps, strength, prediction, dtype, tolerance, monkeypatch
):
    assert_equals_the_reference(method, steps, strength, prediction, dtype, tolerance, monkeypatch)


@pytest.mark.parametrize("strength", [1.0, 0.5])
@recipes(ANIMATED)
def test_so_does_it_with_the_linear_betas_of_animatediff(method, steps, strength, monkeypatch):
    monkeypatch.setitem(BETAS, "beta_schedule", "linear")
    assert_equals_the_reference(method, steps, strength, "epsilon", torch.float64, 1e-12, monkeypatch)


PUBLISHED_RECIPES = {
    "lcm": ("lcm", GRID, (1, 8), (1, 2), None),
    "tcd": ("tcd", GRID, (1, 8), (1, 2), 0.3),
    "hyper": ("tcd", GRID, (1, 8), (1, 2), 1.0),
    **{f"hyper-{steps}": ("ddim", EVEN, (steps, steps), (1, 2), None) for steps in (2, 4, 8)},
    **{f"hyper-cfg-{steps}": ("ddim", EVEN, (steps, steps), (3, 8), None) for steps in (8, 12)},
    **{f"trailing-{steps}": ("ddim", EVEN, (steps, steps), (1, 2), None) for steps in (2, 4, 8)},
    **{f"lightning-{steps}": ("euler", EVEN, (steps, steps), (1, 2), None) for steps in (1, 2, 4, 8)},
    **{f"pcm-small-{steps}": ("ddim", EVEN, (steps, steps), (1, 2), None) for steps in (2, 4, 8, 16)},
    **{f"pcm-normal-{steps}": ("ddim", EVEN, (steps, steps), (2, 9), None) for steps in (4, 8, 16)},
    "pcm-lcm": ("lcm", GRID, (1, 8), (1, 2), None),
    "full-lcm": ("lcm", GRID, (1, 8), (1, 15), None),
    **dict.fromkeys(("dmd2", "flash", "slam"), ("lcm", EVEN, (1, 8), (1, 2), None)),
    "hyper-unet-1": ("lcm", 800, (1, 1), (1, 2), None),
    "dmd2-unet-1": ("lcm", 399, (1, 1), (1, 2), None),
    "turbo": ("lcm", GRID, (1, 8), (1, 2.5), None),
}
"""Sampler, timesteps, steps, CFG scale and gamma as cards, papers and code give them."""


def test_every_method_has_the_recipe_that_its_source_gives():
    recipes = {
        method.name: (
            method.recipe.sampler, method.recipe.timesteps, method.recipe.steps[:2], method.recipe.cfg[:2],
            method.recipe.gamma,
        )
        for method in METHODS
        if method.recipe is not None
    }  # fmt: skip
    assert recipes == PUBLISHED_RECIPES


@pytest.mark.parametrize("steps", [12, 16])
def test_ddim_of_diffusers_misses_its_own_list_where_the_steps_do_not_divide_the_timesteps(steps):
    """Why those are compared with Euler: the day this fails, they can be compared with DDIM itself."""
    scheduler = DDIMScheduler(**BETAS, timestep_spacing="trailing", clip_sample=False)
    scheduler.set_timesteps(steps)
    timesteps = scheduler.timesteps.tolist()
    assert timesteps == even_timesteps(steps)
    assert [t - TRAIN_STEPS // steps for t in timesteps[:-1]] != timesteps[1:]


@pytest.mark.parametrize(
    "name,steps,timesteps",
    [
        ("hyper-cfg-12", 12, [999, 916, 832, 749, 666, 582, 499, 416, 332, 249, 166, 82]),
        ("hyper-cfg-8", 8, [999, 874, 749, 624, 499, 374, 249, 124]),
        ("lightning-1", 1, [999]),
        ("lightning-2", 2, [999, 499]),
        ("lightning-8", 8, [999, 874, 749, 624, 499, 374, 249, 124]),
        ("dmd2", 4, [999, 749, 499, 249]),
        ("dmd2", 1, [999]),
        ("flash", 4, [999, 749, 499, 249]),
        ("slam", 4, [999, 749, 499, 249]),
        ("lcm", 4, [999, 759, 499, 259]),
        ("tcd", 4, [999, 759, 499, 259]),
        ("hyper", 4, [999, 759, 499, 259]),
        ("hyper-unet-1", 1, [800]),
        ("dmd2-unet-1", 1, [399]),
    ],
)
def test_the_timesteps_are_those_that_are_published(name, steps, timesteps):
    assert timesteps_by(method_named(name).recipe.timesteps, steps) == timesteps


@pytest.mark.parametrize("steps", range(1, 41))
def test_even_timesteps_equal_the_references_for_every_step_count(steps):
    for kind in (DDIMScheduler, EulerDiscreteScheduler):
        scheduler = kind(**BETAS, timestep_spacing="trailing")
        scheduler.set_timesteps(steps)
        assert even_timesteps(steps) == scheduler.timesteps.long().tolist()


@pytest.mark.parametrize("percent", range(1, 101))
def test_even_timesteps_leave_out_as_many_as_the_references_img2img(percent):
    from diffusers import StableDiffusionImg2ImgPipeline

    class Pipeline:
        scheduler = DDIMScheduler(**BETAS, timestep_spacing="trailing")

    for steps in (1, 2, 4, 8, 12, 16):
        Pipeline.scheduler.set_timesteps(steps)
        left, _ = StableDiffusionImg2ImgPipeline.get_timesteps(Pipeline, steps, percent / 100, "cpu")
        # of a strength that leaves none there, ours makes one step from the strength itself
        assert even_timesteps(steps, strength=percent / 100) == (left.tolist() or [percent * 10 - 1])


@pytest.mark.parametrize("rule", [800, 399])
def test_a_model_of_a_single_step_starts_no_higher_than_the_strength_leaves(rule):
    assert timesteps_by(rule, 1, strength=0.1) == [99]
    assert timesteps_by(rule, 1, strength=0.95) == [rule]
    assert timesteps_by(rule, 1, strength=0.0) == []


def test_what_the_references_start_from(monkeypatch):
    """The sampler of the WebUI starts so too: tests/workbench/test_recipes_in_the_host.py."""
    assert [kind().init_noise_sigma for kind in (LCMScheduler, TCDScheduler, DDIMScheduler)] == [1.0] * 3
    for steps in (2, 4, 8):
        scheduler = trailing_euler(steps, "epsilon", torch.float32, monkeypatch)
        sigma = table_of(torch.float32)[999]
        assert scheduler.init_noise_sigma.item() == pytest.approx(sigma.item(), rel=1e-6)  # not with 1 + ^2
