"""SSD-1B is a family of its own: on a checkpoint of it, SDXL's LCM-LoRA is never used, nor its own on
SDXL.
"""

import pytest
import torch
from safetensors.torch import save_file

from tests.prepared import Server
from tests.unit.lora_fixtures import LCM_TARGETS, kohya_lora
from workbench.client import ApiError
from workbench.server import ROOT
from workbench.small_models import build_model, save_checkpoint

ON = {"enabled": True, "steps": 2, "cfg": 1}
FAMILIES = ("ssd1b", "sdxl")


def lcm_lora(model) -> dict[str, torch.Tensor]:
    """A LoRA of rank 1 on every layer that distillation trains."""
    endings = tuple(f".{target}" for target in LCM_TARGETS)
    layers = {
        name: tuple(layer.weight.shape)
        for name, layer in model.unet.named_modules()
        if name.endswith(endings)
    }
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(shape, generator=generator) * 0.1 for name, shape in kohya_lora(layers, 1).items()
    }


@pytest.fixture(scope="module", params=["a1111-1.10", "forge"])
def client(request, tmp_path_factory):
    """A workbench with an untrained checkpoint and an LCM-LoRA of each of the two families. (A1111 1.6 cannot
    load SSD-1B.)
    """
    folder = tmp_path_factory.mktemp("models")
    for family in FAMILIES:
        model = build_model(family)
        save_checkpoint(model, folder / "Stable-diffusion" / f"{family}.safetensors")
        (folder / "Lora").mkdir(exist_ok=True)
        save_file(lcm_lora(model), folder / "Lora" / f"fast_{family}.safetensors")
    arguments = [
        "--profile",
        request.param,
        "--ckpt-dir",
        str(folder / "Stable-diffusion"),
        "--lora-dir",
        str(folder / "Lora"),
    ]
    probe = ["--extension", str(ROOT / "tests" / "live" / "probe")]
    with Server([*arguments, *probe, "--data-dir", str(tmp_path_factory.mktemp("data"))]) as server:
        yield server.client


def txt2img(client, family, prompt="a star", **lcm) -> list[str]:
    """Draws a picture; the LoRAs that were active in all of the UNet's calls."""
    client.request("DELETE", "/lcm-test-probe/calls")
    client.txt2img(
        prompt,
        seed=1,
        width=64,
        height=64,
        override_settings={"sd_model_checkpoint": family},
        lcm={**ON, **lcm},
    )
    calls = [call["loras"] for call in client.get("/lcm-test-probe/calls")]
    assert calls == [calls[0]] * 2
    return calls[0]


@pytest.mark.parametrize("family, other", [FAMILIES, FAMILIES[::-1]])
def test_each_gets_its_own_and_never_the_others(client, family, other):
    assert txt2img(client, family) == [f"fast_{family}"]
    assert client.get("/lcm/v1/status")["family"] == family
    assert txt2img(client, family, f"a star <lora:fast_{other}:0.5>") == [f"fast_{family}"]
    assert txt2img(client, family, lora=f"fast_{family}") == [f"fast_{family}"]
    with pytest.raises(ApiError) as error:
        txt2img(client, family, lora=f"fast_{other}")
    assert (
        error.value.status == 422
        and "SSD-1B" in error.value.body["detail"]
        and "SDXL" in error.value.body["detail"]
    )
