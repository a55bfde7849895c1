"""The full LCM of small-sd15: the checkpoint's UNet with a guidance input and what its distillation added.

What was added is a LoRA, that of the guidance input among its layers, which starts as zero.
`python -m workbench.train --stage latents --stage guided-sd15 --stage full-lcm-sd15` makes it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from lib_lcm.checkpoints.guidance_input import guidance_embedding
from lib_lcm.distill.model import Cond
from workbench.distil import SmallCheckpoint
from workbench.small_models import CHECKPOINTS
from workbench.train.common import Run
from workbench.train.evaluate import MergedLoras
from workbench.train.lora import add_guidance_input

BASE = CHECKPOINTS / "small-sd15.safetensors"
ADDED = Run().lora("sd15", "full-lcm")


class FullLcm(SmallCheckpoint):
    """Told the CFG scale `told`."""

    def __init__(self, added: Path = ADDED) -> None:
        super().__init__(BASE, torch.device("cpu"), torch.float32)
        add_guidance_input(self.unet)
        MergedLoras(self.small, {"full": added}).apply(full=1.0)
        self.told = 1.0

    def predict(self, sample: Tensor, timesteps: Tensor, cond: Cond) -> Tensor:
        guidance = guidance_embedding(self.told).repeat(len(sample), 1)
        return self.small.predict(sample, timesteps, (cond[0], None), guidance)
