"""How much memory a distillation will need, told before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map

from lib_lcm.distill.algorithm import Student
from lib_lcm.distill.checkpointing import blocks_of
from lib_lcm.distill.config import DistillConfig
from lib_lcm.distill.lora import LoraAdapter

MARGIN = 1.05
"""For what is not counted: gradients of activations on their way back, workspaces, the allocator's own
losses.
"""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on the device: the frozen UNet, the LoRA, its gradients, Adam's two moments, the moving average,
    and what the forward pass keeps for the backward pass."""

    unet: int
    lora: int
    gradients: int
    optimizer: int
    average: int
    activations: int

    @property
    def total(self) -> int:
        parts = (self.unet, self.lora, self.gradients, self.optimizer, self.average, self.activations)
        return int(sum(parts) * MARGIN)

    def __str__(self) -> str:
        training = self.lora + self.gradients + self.optimizer + self.average
        return (
            f"Distillation needs about {self.total / 2**30:.2f} GiB: UNet {self.unet / 2**30:.2f}, LoRA and"
            f" optimiser {training / 2**30:.2f}, activations {self.activations / 2**30:.2f}, and a margin."
            " The teacher, if it is another network than the student, the autoencoder and the text encoder"
            " come on top."
        )


def estimate_memory(
    unet: nn.Module, adapter: LoraAdapter, student: Student, latents: Tensor, cond: Any, config: DistillConfig
) -> MemoryEstimate:
    """What distilling with batches like `latents` [B, ...] and `cond` will take.

    The student's forward pass runs on fake tensors, which have shapes but no contents, so the estimate itself
    costs no memory. What autograd keeps is counted, each storage once. Raises RuntimeError or
    NotImplementedError for a student that needs contents.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    holder = _Holder(unet, adapter)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:

        def fake(value: Any) -> Any:
            return mode.from_tensor(value) if isinstance(value, Tensor) else value

        weights = {
            name: fake(tensor.detach())
            for name, tensor in (*holder.named_parameters(), *holder.named_buffers())
        }
        for name, parameter in holder.named_parameters():
            weights[name].requires_grad_(parameter.requires_grad)
        ledger = _Ledger({tensor.untyped_storage()._cdata for tensor in weights.values()})
        with ledger.watching(unet, config.gradient_checkpointing), autocast(config, latents.device):
            timesteps = fake(torch.zeros(len(latents), dtype=torch.long, device=latents.device))
            functional_call(holder, weights, (student, fake(latents), timesteps, tree_map(fake, cond)))
    trained = sum(parameter.numel() for parameter in adapter.parameters()) * 4
    return MemoryEstimate(
        unet=sum(tensor.numel() * tensor.element_size() for tensor in (*unet.parameters(), *unet.buffers())),
        lora=trained,
        gradients=trained,
        optimizer=2 * trained,
        average=trained if config.ema_decay else 0,
        activations=ledger.total,
    )


def autocast(config: DistillConfig, device: torch.device) -> Any:
    """The arithmetic of `config.precision` on `device`. ValueError for fp16 on a CPU."""
    if config.precision == "fp32":
        return nullcontext()
    if config.precision == "fp16" and device.type == "cpu":
        raise ValueError("precision 'fp16' needs a GPU: use 'bf16' or 'fp32' on a CPU")
    return torch.autocast(device.type, torch.bfloat16 if config.precision == "bf16" else torch.float16)


class _Holder(nn.Module):
    """UNet and LoRA as one module, so that `functional_call` can exchange the weights of both."""

    def __init__(self, unet: nn.Module, adapter: LoraAdapter) -> None:
        super().__init__()
        self.unet, self.adapter = unet, adapter

    def forward(self, student: Student, *args: Any) -> Tensor:
        return student(*args)


class _Ledger:
    """Counts the bytes that autograd keeps, each storage once, those in `known` never."""

    def __init__(self, known: set[int]) -> None:
        self._known = set(known)
        self._alive: list[Tensor] = []  # an address says which storage it is only as long as it lives
        self._outside = 0
        self._inside: list[int] = []  # of each checkpointed block
        self._inputs = 0
        self._in_block = False

    @property
    def total(self) -> int:
        """With checkpointing: what is kept outside of blocks, the blocks' inputs, and the inside of one block
        at a time.
        """
        return self._outside + self._inputs + max(self._inside, default=0)

    def _size_of_new(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        if storage._cdata in self._known:
            return 0
        self._known.add(storage._cdata)
        self._alive.append(tensor)
        return storage.nbytes()

    def _keep(self, tensor: Tensor) -> Tensor:
        if self._in_block:
            self._inside[-1] += self._size_of_new(tensor)
        else:
            self._outside += self._size_of_new(tensor)
        return tensor

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._inputs += sum(self._size_of_new(tensor) for tensor in args if isinstance(tensor, Tensor))
        self._inside.append(0)
        self._in_block = True

    def _leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self._in_block = False

    @contextmanager
    def watching(self, unet: nn.Module, checkpointing: bool) -> Iterator[None]:
        """Inside, the forward pass is counted."""
        handles = []
        for block in blocks_of(unet) if checkpointing else ():
            handles += [
                block.register_forward_pre_hook(self._enter),
                block.register_forward_hook(self._leave),
            ]
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor):
                yield
        finally:
            for handle in handles:
                handle.remove()
