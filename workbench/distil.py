"""`python -m workbench.distil CHECKPOINT`: lib_lcm.distill's command for the small checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lib_lcm.distill.__main__ import main
from lib_lcm.distill.model import Cond
from lib_lcm.families import family_named
from workbench.scenes import TEACHER_CFG
from workbench.train.attention import cut
from workbench.train.lora import CONFIGS
from workbench.train.sampling import load_for_cut_captions


class SmallCheckpoint:
    """A `lib_lcm.distill.model.Model` of one of the small checkpoints."""

    latent_shape = (4, 8, 8)
    cfg = TEACHER_CFG

    def __init__(self, path: Path, device: torch.device, dtype: torch.dtype) -> None:
        self.small = load_for_cut_captions(path, device)
        self.small.to(dtype=dtype)
        self.unet = self.small.unet
        self.family = family_named(self.small.family)
        self.alphas_cumprod = self.small.alphas_cumprod
        self.config = CONFIGS[self.small.family]
        self.prediction_type = self.small.prediction_type

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Cond:
        ids = cut(self.small.tokenizer(texts), self.small.tokenizer.pad_id).to(self.small.device)
        hidden, pooled = (None if part is None else part.cpu() for part in self.small.text_encoder(ids))
        if pooled is None:
            return (hidden,)
        said = torch.tensor([float(bool(text)) for text in texts])
        return hidden * said[:, None, None], pooled * said[:, None]

    def predict(self, sample: Tensor, timesteps: Tensor, cond: Cond) -> Tensor:
        return self.small.predict(sample, timesteps, (cond[0], cond[1] if len(cond) > 1 else None))

    @torch.no_grad()
    def latents(self, pictures: Tensor) -> Tensor:
        return self.small.encode_pictures(pictures.to(self.small.device, self.small.dtype))

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        return self.small.decode_latents(latents.to(self.small.device, self.small.dtype))


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    raise SystemExit(main(load=SmallCheckpoint, prog="python -m workbench.distil"))
