import pytest

from lib_lcm.sampling.guidance import part_weights


@pytest.mark.parametrize(
    "prompt,weights",
    [
        ("", [1.0]),
        ("a fox", [1.0]),
        ("a fox AND snow", [1.0, 1.0]),
        ("a fox :0.5 AND snow: 2. ", [0.5, 2.0]),
        ("a fox : -.25\n", [-0.25]),
        ("a fox :1:2", [2.0]),
        ("(a fox:1.2)", [1.0]),
        ("a SAND AND ANDERS and snow", [1.0, 1.0]),
        ("a fox :1e3", [1.0]),
        ("a fox :0.5 <lora:style:0.8>", [0.5]),
        ("a fox <lora:this AND that:0.8>", [1.0]),
        ("AND", [1.0, 1.0]),
    ],
)
def test_parts_and_their_weights(prompt, weights):
    assert part_weights(prompt) == weights
