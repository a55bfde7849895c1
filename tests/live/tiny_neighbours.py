"""Tiny models with random weights for other extensions, so that tests/live/test_among_others.py can run them
beside this one.

    python tests/live/tiny_neighbours.py CHECKPOINT --controlnet DIR --motion-module DIR --detector DIR

CHECKPOINT is the small SD 1.5 checkpoint of the WebUI under test, in the original (LDM) layout; the models
get its widths. Written are `tiny-controlnet` and `tiny-t2i-adapter` for ControlNet (its folder
models/ControlNet), `tiny-motion-v1`, `-v2` and `-v3` for AnimateDiff (the folder `model` of the extension)
and `tiny-detector.pt` for ADetailer (models/adetailer), which finds something in every picture; the last
needs the package ultralytics. They draw nothing: what is tested is what runs how often, and with which rows.

ControlNet and AnimateDiff take for granted that SD 1.5 is 320 channels wide. With a narrower checkpoint,
their code has to be told: `model_channels` in ControlNet's configuration of the default model, and in
AnimateDiff's `MotionWrapper` both `in_channels` and the 1280 of its `mid_block`.
"""

from __future__ import annotations

import argparse
import math
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

UNET = "model.diffusion_model."
HINT_WIDTHS = (16, 16, 32, 32, 96, 96, 256)
FRAMES = {"v1": 24, "v2": 32, "v3": 32}
"""The longest video of each kind of motion module."""


def random_like(generator: torch.Generator, *shape: int) -> torch.Tensor:
    """A random weight, scaled so that its output is about as large as its input."""
    return torch.randn(shape, generator=generator) / math.sqrt(math.prod(shape[1:]))


def layer(weights: dict, name: str, generator: torch.Generator, *shape: int, bias: bool = True) -> None:
    """Adds a convolution or linear layer of this weight shape."""
    weights[f"{name}.weight"] = random_like(generator, *shape)
    if bias:
        weights[f"{name}.bias"] = torch.zeros(shape[0])


def norm(weights: dict, name: str, width: int) -> None:
    """Adds a normalisation."""
    weights[f"{name}.weight"], weights[f"{name}.bias"] = torch.ones(width), torch.zeros(width)


def widths(unet: dict[str, torch.Tensor]) -> list[int]:
    """The number of channels at each of the four levels."""
    base = unet["input_blocks.0.0.weight"].shape[0]
    return [base, *(unet[f"input_blocks.{block}.0.out_layers.3.weight"].shape[0] for block in (4, 7, 10))]


def controlnet(unet: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A ControlNet as its training starts, a copy of the UNet's encoder, but with zero convolutions that are
    not zero.
    """
    generator = torch.Generator().manual_seed(1)
    weights = {
        name: value.float()
        for name, value in unet.items()
        if name.startswith(("time_embed.", "input_blocks.", "middle_block."))
    }
    hint = [3, *HINT_WIDTHS, widths(unet)[0]]
    for i, (before, after) in enumerate(pairwise(hint)):
        layer(weights, f"input_hint_block.{2 * i}", generator, after, before, 3, 3)
    # three input blocks to a level, the first of all being the input layer; a downsampling block keeps the
    # width of its level
    outputs = [widths(unet)[0], *(width for width in widths(unet) for _ in range(3))][:-1]
    for i, width in enumerate(outputs):
        layer(weights, f"zero_convs.{i}.0", generator, width, width, 1, 1)
    layer(weights, "middle_block_out.0", generator, outputs[-1], outputs[-1], 1, 1)
    return {f"control_model.{name}": value.contiguous() for name, value in weights.items()}


def t2i_adapter(unet: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A T2I-Adapter: one residual tower over the control picture, whose four outputs are added to the
    encoder's levels.
    """
    generator = torch.Generator().manual_seed(2)
    weights: dict[str, torch.Tensor] = {}
    before, *_ = levels = widths(unet)
    layer(weights, "conv_in", generator, before, 192, 3, 3)
    for i in range(8):
        name, width = f"body.{i}", levels[i // 2]
        if width != before:
            layer(weights, f"{name}.in_conv", generator, width, before, 1, 1)
        layer(weights, f"{name}.block1", generator, width, width, 3, 3)
        layer(weights, f"{name}.block2", generator, width, width, 1, 1)
        before = width
    return weights


def motion_module(unet: dict[str, torch.Tensor], kind: str) -> dict[str, torch.Tensor]:
    """A motion module of AnimateDiff ("v1", "v2" with one in the middle, "v3")."""
    generator = torch.Generator().manual_seed(3)
    weights: dict[str, torch.Tensor] = {}
    levels = widths(unet)
    places = [(f"down_blocks.{i}.motion_modules.{j}", levels[i]) for i in range(4) for j in range(2)]
    places += [(f"up_blocks.{i}.motion_modules.{j}", levels[3 - i]) for i in range(4) for j in range(3)]
    if kind == "v2":
        places.append(("mid_block.motion_modules.0", levels[3]))
    for place, width in places:
        name = f"{place}.temporal_transformer"
        block = f"{name}.transformer_blocks.0"
        norm(weights, f"{name}.norm", width)
        layer(weights, f"{name}.proj_in", generator, width, width)
        for i in range(2):
            attention = f"{block}.attention_blocks.{i}"
            for part in ("to_q", "to_k", "to_v"):
                layer(weights, f"{attention}.{part}", generator, width, width, bias=False)
            layer(weights, f"{attention}.to_out.0", generator, width, width)
            weights[f"{attention}.pos_encoder.pe"] = positions(FRAMES[kind], width)
            norm(weights, f"{block}.norms.{i}", width)
        layer(weights, f"{block}.ff.net.0.proj", generator, 8 * width, width)
        layer(weights, f"{block}.ff.net.2", generator, width, 4 * width)
        norm(weights, f"{block}.ff_norm", width)
        layer(weights, f"{name}.proj_out", generator, width, width)
    return weights


def positions(frames: int, width: int) -> torch.Tensor:
    """Sinusoidal position encodings [1, frames, width]."""
    angles = torch.arange(frames)[:, None] * torch.exp(
        torch.arange(0, width, 2) * (-math.log(10000.0) / width)
    )
    return torch.stack([angles.sin(), angles.cos()], dim=-1).reshape(1, frames, width)


def write_detector(path: Path) -> None:
    """A YOLOv8 that sees a box around every place of its coarsest grid."""
    from ultralytics import YOLO

    torch.manual_seed(4)
    detector = YOLO("yolov8n.yaml")
    head = detector.model.model[-1]
    with torch.no_grad():
        for level, (boxes, classes) in enumerate(zip(head.cv2, head.cv3, strict=True)):
            classes[-1].weight.zero_()
            classes[-1].bias.fill_(-20.0)
            if level == len(head.cv3) - 1:
                classes[-1].bias[0] = 4.0
            boxes[-1].weight.zero_()
            boxes[-1].bias.fill_(-20.0)
            boxes[-1].bias.view(4, -1)[:, 4] = 4.0  # four cells to each side
    detector.ckpt = {}
    detector.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    for name in ("controlnet", "motion-module", "detector"):
        parser.add_argument(f"--{name}", type=Path, metavar="DIR")
    args = parser.parse_args()
    unet = {
        name.removeprefix(UNET): value
        for name, value in load_file(args.checkpoint).items()
        if name.startswith(UNET)
    }
    if args.controlnet:
        args.controlnet.mkdir(parents=True, exist_ok=True)
        save_file(controlnet(unet), args.controlnet / "tiny-controlnet.safetensors")
        save_file(t2i_adapter(unet), args.controlnet / "tiny-t2i-adapter.safetensors")
    if args.motion_module:
        args.motion_module.mkdir(parents=True, exist_ok=True)
        for kind in ("v2", "v3"):
            save_file(motion_module(unet, kind), args.motion_module / f"tiny-motion-{kind}.safetensors")
        # AnimateDiff takes a 32 in the shape of the first position encoding for 32 frames, so that must not
        # be the narrowest level's
        first = motion_module(unet, "v1")
        widest_first = sorted(first, key=lambda name: not name.startswith("down_blocks.3"))
        # in the old format: WebUIs take the parts of newer files for an attack
        path = args.motion_module / "tiny-motion-v1.ckpt"
        torch.save({name: first[name] for name in widest_first}, path, _use_new_zipfile_serialization=False)
    if args.detector:
        args.detector.mkdir(parents=True, exist_ok=True)
        write_detector(args.detector / "tiny-detector.pt")


if __name__ == "__main__":
    main()
