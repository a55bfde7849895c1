"""Steps in which the CFG scale acts, and steps in which it does not."""

from functools import partial

import pytest
import torch

from lib_lcm.sampling.guidance import in_some_steps, middle_steps
from lib_lcm.sampling.samplers import sample_lcm, sample_tcd

SIGMAS = torch.tensor([14.0, 5.0, 2.0, 0.7, 0.0])


class Guided:
    """A denoiser with a CFG scale, that notes the scale of each call. The negative prompt pulls towards -1,
    the prompt towards 1.
    """

    def __init__(self):
        self.scales = []

    def __call__(self, x, sigma, cond_scale=1.0):
        self.scales.append(cond_scale)
        uncond, cond = ((x + pull) / (1 + sigma.view(-1, 1, 1, 1)) for pull in (-1, 1))
        return uncond + (cond - uncond) * cond_scale


@pytest.mark.parametrize("sample", [sample_lcm, sample_tcd])
def test_the_scale_acts_in_those_steps_alone(sample):
    x, noise = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    jumps = {} if sample is sample_lcm else {"jump_sigmas": SIGMAS[1:].tolist()}
    common = {"disable": True, "noise_sampler": lambda *_: noise, **jumps}
    model, by_hand = Guided(), Guided()
    scales = iter([1.0, 2.0, 2.0, 1.0])
    result = sample(in_some_steps(partial(model, cond_scale=2.0), model, (1, 2)), x, SIGMAS, **common)
    expected = sample(lambda x, sigma: by_hand(x, sigma, next(scales)), x, SIGMAS, **common)
    assert model.scales == by_hand.scales == [1.0, 2.0, 2.0, 1.0] and torch.equal(result, expected)


def test_the_first_of_several_steps_is_never_one_of_them():
    for steps in range(1, 17):
        middle = middle_steps(steps)
        assert set(middle) <= set(range(steps > 1, steps)) and middle == tuple(sorted(middle))


def test_the_last_is_one_of_them_only_where_there_are_no_more_than_two():
    chosen = {steps: middle_steps(steps) for steps in range(1, 9)}
    assert {steps: steps - 1 in middle for steps, middle in chosen.items()} == {
        steps: steps < 3 for steps in chosen
    }
    assert [len(middle) for middle in chosen.values()] == [1, 1, 1, 2, 2, 3, 3, 3]
