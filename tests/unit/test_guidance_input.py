"""What a full latent consistency model takes of the guidance scale, against diffusers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import LatentConsistencyModelPipeline
from safetensors.torch import save_file

from lib_lcm.checkpoints import PROJECTION_KEY
from lib_lcm.checkpoints.guidance_input import guidance_embedding, guidance_offset, read_projection
from tests.full_lcm import build_full_lcm


@pytest.mark.parametrize("cfg", [1.0, 1.1, 7.3, 8.0, 15.0])
def test_the_embedding_is_that_of_diffusers_to_the_bit(cfg: float) -> None:
    reference = LatentConsistencyModelPipeline.get_guidance_scale_embedding(
        None, torch.tensor(cfg - 1).repeat(1), embedding_dim=256
    )
    assert torch.equal(guidance_embedding(cfg), reference[0])


def test_a_batch_is_embedded_as_each_of_it() -> None:
    scales = [1.0, 1.1, 7.3]
    together = guidance_embedding(torch.tensor(scales))
    assert torch.equal(together, torch.stack([guidance_embedding(torch.tensor(one)) for one in scales]))
    assert torch.equal(together[0], guidance_embedding(1.0))


def test_the_offset_is_what_the_time_embedding_of_diffusers_adds() -> None:
    embedding = build_full_lcm("sd15").time_embedding
    sinusoid, condition = torch.randn(2, 80), guidance_embedding(8.0).repeat(2, 1)
    offset = guidance_offset(embedding.cond_proj.weight, 8.0)
    assert torch.allclose(embedding(sinusoid + offset), embedding(sinusoid, condition), atol=1e-6)


def test_the_projection_of_a_converted_checkpoint_is_read_in_full_precision(tmp_path: Path) -> None:
    projection = torch.randn(320, 256).half()
    save_file({"a": torch.zeros(1), PROJECTION_KEY: projection}, tmp_path / "full.safetensors")
    read = read_projection(tmp_path / "full.safetensors")
    assert read is not None and read.dtype == torch.float32 and torch.equal(read, projection.float())


def test_any_other_file_has_none(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "plain.safetensors", {"note": PROJECTION_KEY})
    save_file({PROJECTION_KEY: torch.zeros(4, 8)}, tmp_path / "other.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"\x40" + bytes(7) + f'{{"{PROJECTION_KEY}"'.encode())
    (tmp_path / "old.ckpt").write_bytes(b"PK\x03\x04")
    for name in ("plain.safetensors", "other.safetensors", "damaged.safetensors", "old.ckpt", "gone.ckpt"):
        assert read_projection(tmp_path / name) is None
