"""What a checkpoint is distilled from: latents that it draws itself from prompts, or those of pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lib_lcm.distill.algorithm import Teacher, ddim_solve
from lib_lcm.distill.model import CannotDistill, Cond, Model
from lib_lcm.distill.optimisation import save_state
from lib_lcm.distill.training import SEED_STRIDE

TEACHER_STEPS = 25
"""Of DDIM, in which the teacher draws."""
PICTURE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
NETWORK_TAG = re.compile(r"<[^<>:]+:[^<>]*>")
Progress = Callable[[str, int, int], None]
"""What goes on, how much of it is done, and how much there is."""
BUILT_IN = Path(__file__).with_name("prompts.txt")


@dataclass(frozen=True)
class Prompts:
    """Texts, and where `pictures` were given, the picture that each belongs to."""

    texts: list[str]
    pictures: list[Path] | None = None


def read_prompts(source: Path | None) -> Prompts:
    """One a line of a text file, or the pictures of a folder with a text file beside each; by default a
    built-in list. Tags of LoRAs are left out of them. Raises CannotDistill.
    """
    source = BUILT_IN if source is None else source
    try:
        if source.is_dir():
            pictures = sorted(path for path in source.iterdir() if path.suffix.lower() in PICTURE_ENDINGS)
            with_text = [path for path in pictures if path.with_suffix(".txt").is_file()]
            texts = [path.with_suffix(".txt").read_text(encoding="utf-8-sig") for path in with_text]
            found = Prompts([_cleaned(text) for text in texts], with_text)
        else:
            lines = source.read_text(encoding="utf-8-sig").splitlines()
            found = Prompts([text for text in map(_cleaned, lines) if text])
    except (OSError, UnicodeDecodeError) as error:
        raise CannotDistill(
            f"{source} cannot be read ({error}): name a text file in UTF-8 with one prompt a line, or a"
            " folder of pictures with a .txt beside each."
        ) from None
    if not found.texts:
        raise CannotDistill(
            f"{source} holds no prompts: write one a line, or put a .txt beside each picture of a folder."
        )
    return found


def _cleaned(text: str) -> str:
    return " ".join(NETWORK_TAG.sub(" ", text).split())


@torch.no_grad()
def drawn(
    model: Model,
    teacher: Teacher,
    noise: Tensor,
    cond: Cond,
    blank: Cond,
    prediction_type: str,
    steps: int = TEACHER_STEPS,
) -> Tensor:
    """What the teacher draws from `noise` [B, 4, h, w] by DDIM at the model's CFG scale."""
    count, device = len(noise), noise.device
    starts = torch.full((count,), len(model.alphas_cumprod) - 1, device=device)
    w = torch.full((count,), model.cfg - 1.0, device=device)
    return ddim_solve(
        teacher, noise, starts, torch.zeros_like(starts), steps, w, cond, blank, model.alphas_cumprod,
        prediction_type
    )  # fmt: skip


def own_latents(
    draw: Callable[[Tensor, Tensor], Tensor],
    shape: Sequence[int],
    count: int,
    batch: int,
    folder: Path,
    seed: int,
    progress: Progress,
) -> Tensor:
    """`count` latents by `draw(noise, rows)`: float16 [count, ...] on the CPU.

    Each batch has noise of its own and is kept in `folder`, so that an interrupted run goes on with the same.
    """
    parts = []
    for number, start in enumerate(range(0, count, batch)):
        path = folder / f"latents-{number:05d}.pt"
        rows = torch.arange(start, min(start + batch, count))
        if path.exists():
            part = _kept(path)
        else:
            generator = torch.Generator().manual_seed(seed * SEED_STRIDE + number)
            noise = torch.randn(len(rows), *shape, generator=generator)
            part = draw(noise, rows).half().cpu()
            save_state({"latents": part}, path)
        parts.append(part)
        progress("drawing pictures to learn from", start + len(rows), count)
    return torch.cat(parts)


def of_pictures(model: Model, pictures: Sequence[Path], folder: Path) -> Tensor:
    """The latents of pictures, cut to the square that the model draws: float16 [N, 4, h, w]. Raises
    CannotDistill.
    """
    import numpy as np
    from PIL import Image, ImageOps  # type: ignore[import-untyped]

    side = model.latent_shape[-1] * 8
    kept = folder / "latents.pt"
    if kept.exists():
        return _kept(kept)
    parts = []
    for path in pictures:
        try:
            with Image.open(path) as picture:
                upright = ImageOps.exif_transpose(picture).convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise CannotDistill(f"{path} is no picture that can be read ({error}): take it out.") from None
        cut = ImageOps.fit(upright, (side, side), Image.Resampling.LANCZOS)
        values = torch.from_numpy(np.asarray(cut).copy()).permute(2, 0, 1).float() / 127.5 - 1
        parts.append(model.latents(values[None]).half().cpu())
    latents = torch.cat(parts)
    save_state({"latents": latents}, kept)
    return latents


def _kept(path: Path) -> Tensor:
    latents: Tensor = torch.load(path, map_location="cpu", weights_only=True)["latents"]
    return latents
