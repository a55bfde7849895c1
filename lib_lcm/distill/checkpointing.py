"""Gradient checkpointing for any UNet with diffusers' block names: less memory for more time, the same
gradients.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

_BLOCK = re.compile(r"(?:.*\.)?(?:resnets|attentions)\.\d+")


def blocks_of(unet: nn.Module) -> list[nn.Module]:
    """The residual and attention blocks of `unet`. ValueError when it has none under diffusers' names."""
    blocks = [module for name, module in unet.named_modules() if _BLOCK.fullmatch(name)]
    if not blocks:
        raise ValueError(
            "this network has no blocks named `resnets` or `attentions`, which gradient checkpointing"
            " works on"
        )
    return blocks


def checkpoint_blocks(unet: nn.Module) -> Callable[[], None]:
    """Makes every block of `unet` compute its inside again in the backward pass; call what is returned to
    undo it.
    """
    blocks = blocks_of(unet)
    for block in blocks:
        block.forward = _checkpointed(block.forward)

    def undo() -> None:
        for block in blocks:
            del block.forward  # the class's own shows again

    return undo


def _checkpointed(forward: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(forward)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return call
