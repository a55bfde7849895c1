"""A device that is not there: it computes on the CPU, but is as strict as a GPU, and as an Apple one about
doubles.

    with SimulatedDevice() as device:
        x = torch.zeros(3).to(device.name)

A tensor of it meets no tensor of the CPU, numbers (tensors without dimensions) excepted; there is no float64
on it; and what goes to and fro is counted. PyTorch knows the device as "meta", which has all names but no
numbers; here it has numbers.
"""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "meta"


class DeviceTensor(torch.Tensor):
    """A tensor on the simulated device; `numbers` is its content, on the CPU."""

    @staticmethod
    def __new__(cls, numbers):
        tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            numbers.size(),
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=NAME,
        )
        tensor.numbers = numbers
        return tensor

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise RuntimeError(f"{function} of a simulated device's tensor outside the device")

    def __repr__(self):
        return f"DeviceTensor({self.numbers})"


class SimulatedDevice(TorchDispatchMode):
    """While entered, the device exists. `copies` counts tensors that went to it or came from it, `reads`
    numbers that were waited for.
    """

    name = NAME

    def __init__(self):
        super().__init__()
        self.copies = self.reads = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        is_here = any(isinstance(leaf, DeviceTensor) for leaf in leaves)
        target = kwargs.get("device")
        is_moved = function.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_)
        if target is not None:
            kwargs["device"] = torch.device("cpu")
            goes_here = torch.device(target).type == NAME
        else:
            goes_here = isinstance(args[0], DeviceTensor) if is_moved else is_here
        strangers = (
            [leaf for leaf in leaves if leaf.ndim > 0 and not isinstance(leaf, DeviceTensor)]
            if is_here and not is_moved
            else []
        )
        if strangers and function.overloadpacket is torch.ops.aten.index:
            self.copies += len(strangers)  # positions may be on the CPU, from where they are fetched
        elif strangers:
            raise RuntimeError(f"{function}: tensors are on two devices")
        if is_moved:
            source, *_ = reversed(leaves)  # `copy_` has its destination first
            self.copies += isinstance(source, DeviceTensor) != goes_here
        if function.overloadpacket is torch.ops.aten._local_scalar_dense and is_here:
            self.reads += 1
            goes_here = False
        plain_args, plain_kwargs = tree_map(_numbers, (args, kwargs))
        result = function(*plain_args, **plain_kwargs)
        if not goes_here:
            return result
        # what an operation writes in place or returns as it came is the same object still
        known = {id(_numbers(leaf)): leaf for leaf in leaves if isinstance(leaf, DeviceTensor)}
        return tree_map(lambda value: known[id(value)] if id(value) in known else _here(value), result)


def _numbers(value):
    return value.numbers if isinstance(value, DeviceTensor) else value


def _here(value):
    if not isinstance(value, torch.Tensor):
        return value
    if value.dtype is torch.float64:
        raise TypeError("the simulated device has no float64")
    return DeviceTensor(value)
