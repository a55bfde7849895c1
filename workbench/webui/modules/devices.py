"""Devices and precisions. The workbench runs on the CPU in float32."""

from __future__ import annotations

import contextlib

import torch

cpu = torch.device("cpu")
device = device_interrogate = device_gfpgan = device_esrgan = device_codeformer = cpu
dtype = dtype_vae = dtype_unet = dtype_inference = torch.float32
unet_needs_upcast = False
fp8 = False


class NansException(Exception):
    """A picture came out as nothing but NaN."""


def get_optimal_device_name() -> str:
    return "cpu"


def get_optimal_device() -> torch.device:
    return cpu


def get_device_for(task) -> torch.device:
    return cpu


def torch_gc() -> None:
    """Free unused accelerator memory: nothing to do on a CPU."""


def cond_cast_unet(value):
    return value


def cond_cast_float(value):
    return value


def autocast(disable: bool = False):
    return contextlib.nullcontext()


def without_autocast(disable: bool = False):
    return contextlib.nullcontext()


def test_for_nans(x: torch.Tensor, where: str) -> None:
    """Raises NansException if x holds nothing but NaN."""
    if torch.isnan(x).all():
        raise NansException(f"A tensor with all NaNs was produced in {where}.")
