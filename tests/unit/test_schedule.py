"""Timesteps against the reference itself: diffusers' LCMScheduler."""

import pytest
from diffusers import LCMScheduler

from lib_lcm.sampling.schedules import lcm_timesteps, sigma_at, webui_timesteps, webui_unet_timesteps


@pytest.mark.parametrize("original_steps", [50, 100])
def test_timesteps_equal_the_reference_for_every_step_count_and_strength(original_steps):
    scheduler = LCMScheduler()
    for steps in range(1, 51):
        for percent in range(5, 101):
            strength = percent / 100
            ours = lcm_timesteps(steps, original_steps=original_steps, strength=strength)
            try:
                scheduler.set_timesteps(steps, original_inference_steps=original_steps, strength=strength)
            except ValueError:
                # the reference refuses; ours visits every point that is left
                points = int(original_steps * strength)
                skip = 1000 // original_steps
                assert points < steps and ours == [point * skip - 1 for point in range(points, 0, -1)]
            else:
                assert ours == scheduler.timesteps.tolist(), (steps, strength)


def test_strength_zero_visits_nothing():
    assert lcm_timesteps(4, strength=0.0) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"steps": 0},
        {"steps": 4, "strength": 1.01},
        {"steps": 4, "strength": -0.1},
        {"steps": 4, "original_steps": 1001},
    ],
)
def test_arguments_out_of_range_are_refused_with_their_value(arguments):
    with pytest.raises(ValueError, match=str(list(arguments.values())[-1])):
        lcm_timesteps(**arguments)


def test_webui_timesteps_run_evenly_from_999_to_19():
    assert webui_timesteps(4) == pytest.approx([999, 672.33, 345.67, 19], abs=0.01)
    assert webui_timesteps(1) == [999.0]


@pytest.mark.parametrize(
    "steps,on_grid,on_all",
    [
        (1, [999], [999]),
        (3, [999, 499, 19], [999, 509, 19]),  # as told by A1111 1.10.1 and Forge
        (4, [999, 679, 339, 19], [999, 672, 346, 19]),
        (8, [999, 859, 719, 579, 439, 299, 159, 19], [999, 859, 719, 579, 439, 299, 159, 19]),
        (9, [999, 879, 759, 639, 499, 379, 259, 139, 19], [999, 877, 754, 632, 509, 386, 264, 141, 19]),
    ],
)
def test_what_the_webuis_own_sampler_tells_the_unet(steps, on_grid, on_all):
    assert webui_unet_timesteps(steps, is_on_grid=True) == on_grid
    assert webui_unet_timesteps(steps, is_on_grid=False) == on_all


@pytest.mark.parametrize(
    "steps,timesteps",
    [(3, [999, 500, 0]), (4, [999, 666, 333, 0]), (7, [999, 833, 666, 500, 333, 166, 0])],  # as told by Neo
)
def test_an_lcm_sampler_of_the_webui_that_spans_all_timesteps_ends_at_zero(steps, timesteps):
    assert webui_unet_timesteps(steps, is_on_grid=False, original_steps=1000) == timesteps


def test_sigma_between_two_timesteps_is_interpolated_in_the_logarithm():
    sigmas = [0.1 * 1.5**i for i in range(10)]
    assert sigma_at(3, sigmas) == sigmas[3]
    assert sigma_at(3.5, sigmas) == pytest.approx(0.1 * 1.5**3.5)
    assert sigma_at(99.0, sigmas) == sigmas[-1]
    assert sigma_at(0.0, sigmas) == sigmas[0] and sigma_at(0.5, sigmas) == pytest.approx(0.1 * 1.5**0.5)
    assert sigma_at(99.0, sigmas, original_steps=5) == sigmas[-1]
    assert sigma_at(0.0, sigmas, original_steps=5) == sigmas[1]
    assert sigma_at(4.0, sigmas, original_steps=5) == pytest.approx(0.1 * 1.5**4)
