"""What a distillation came to: the teacher's pictures beside the new LoRA's, from the same noise, and how far
apart they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont  # type: ignore[import-untyped]
from torch import Tensor

from lib_lcm.distill.algorithm import denoised_and_noise
from lib_lcm.distill.latents import TEACHER_STEPS, Progress
from lib_lcm.distill.lora import LoraAdapter
from lib_lcm.distill.memory import autocast
from lib_lcm.distill.model import Cond, Model
from lib_lcm.distill.run import Run
from lib_lcm.lora.library import LoraLibrary
from lib_lcm.sampling.samplers import sample_lcm
from lib_lcm.sampling.schedules import lcm_timesteps

CELL, MARGIN, LINE, LETTER = 256, 8, 16, 6
PAPER, INK = (255, 255, 255), (20, 20, 20)
FEW_STEPS = (2, 4, 8)
MOST_PROMPTS = 8
SEED = 1_000_000
"""Far from those of training."""

Draw = Callable[[Tensor, Tensor, int], Tensor]
"""Latents from unit noise [1, 4, h, w] for the text of a row [1], with a seed for what noise comes later."""


def write_report(run: Run, path: Path, say: Callable[[str], None], progress: Progress) -> None:
    """Draws with the teacher and with each LoRA from the same noise, says how far they are apart, and writes
    the picture.
    """
    texts = run.prompts.texts
    rows = torch.linspace(0, len(texts) - 1, min(MOST_PROMPTS, len(texts))).long()
    ways = dict(_ways(run, say))
    columns: dict[str, list[Tensor]] = {name: [] for name in ways}
    for number, row in enumerate(rows):
        generator = torch.Generator().manual_seed(SEED + number)
        noise = torch.randn(1, *run.model.latent_shape, generator=generator).to(run.job.device)
        for name, draw in ways.items():
            columns[name] += run.model.decode(draw(noise, row[None], SEED + number)).cpu()
        progress("drawing the report", number + 1, len(rows))
    teacher, *others = columns
    notes = [
        f"{name}: {distance(columns[name], columns[teacher]):.1f} % away from {teacher}, detail"
        f" {detail(columns[name]) / detail(columns[teacher]):.0%} of its"
        for name in others
    ]
    for note in notes:
        say(note)
    title = f"{run.job.output.stem}, an LCM-LoRA of {run.job.checkpoint.stem}"
    sheet([title, *notes], columns, [texts[int(row)] for row in rows]).save(path)


def write_preview(run: Run) -> None:
    """Draws the first prompt as the LoRA is now, in 4 steps, into the folder of the unfinished run."""
    noise = torch.randn(1, *run.model.latent_shape, generator=torch.Generator().manual_seed(SEED))
    draw = _few_steps(run, 4, run.adapter)
    latents = draw(noise.to(run.job.device), torch.zeros(1, dtype=torch.long), SEED)
    partial = run.job.preview.with_suffix(".partial.png")
    _image(run.model.decode(latents)[0]).save(partial)
    partial.replace(run.job.preview)


def _ways(run: Run, say: Callable[[str], None]) -> Iterator[tuple[str, Draw]]:
    yield f"{TEACHER_STEPS} steps", lambda noise, row, seed: run.draw(noise, row)
    for steps in FEW_STEPS:
        yield f"{steps} steps with it", _few_steps(run, steps, run.adapter)
    yield "4 steps without", _few_steps(run, 4, None)
    path = run.job.compare
    if path is None:
        path = next(
            (file.path for file in LoraLibrary(run.job.output.parent).candidates(run.model.family)), None
        )
    if path is not None:
        try:
            yield f"4 steps with {path.stem}", _few_steps(run, 4, LoraAdapter.of_file(run.model.unet, path))
        except (OSError, ValueError) as error:
            say(f"{path.name} cannot be compared with: {error}.")


def _few_steps(run: Run, steps: int, lora: LoraAdapter | None) -> Draw:
    def draw(noise: Tensor, row: Tensor, seed: int) -> Tensor:
        with run.adapter.disabled(), autocast(run.config, run.job.device):
            if lora is not None:
                lora.enabled = True
            try:
                kind = run.config.prediction_type
                return few_step_latents(run.model, noise, run.conds(row)[0], steps, kind, seed)
            finally:
                if lora is not None:
                    lora.enabled = False

    return draw


@torch.no_grad()
def few_step_latents(
    model: Model, noise: Tensor, cond: Cond, steps: int, prediction_type: str, seed: int
) -> Tensor:
    """What the UNet, as it is now, draws from unit `noise` [B, 4, h, w] by the LCM sampler at CFG 1."""
    timesteps = lcm_timesteps(steps)
    abar = [float(model.alphas_cumprod[timestep]) for timestep in timesteps]
    sigmas = torch.tensor([*(((1 - a) / a) ** 0.5 for a in abar), 0.0], device=noise.device)
    times = iter(timesteps)
    generator = torch.Generator().manual_seed(seed)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        signal = 1 / (1 + sigma.reshape(-1, 1, 1, 1) ** 2)
        sample = x * signal.sqrt()
        now = torch.full((len(x),), next(times), device=x.device)
        prediction = model.predict(sample, now, cond).to(x)
        return denoised_and_noise(prediction, sample, signal, prediction_type)[0]

    def fresh(*_: Tensor) -> Tensor:
        return torch.randn(noise.shape, generator=generator).to(noise)

    start = noise * (1 + sigmas[0] ** 2).sqrt()
    return sample_lcm(denoise, start, sigmas, disable=True, noise_sampler=fresh, timesteps=timesteps)


def distance(pictures: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """Root of the mean squared difference of pictures [3, H, W] in -1..1, in percent of the whole range."""
    differences = [
        (one.clamp(-1, 1) - other.clamp(-1, 1)).square().mean()
        for one, other in zip(pictures, others, strict=True)
    ]
    return 50 * float(torch.stack(differences).mean().sqrt())


def detail(pictures: Sequence[Tensor]) -> float:
    """Mean difference of neighbouring pixels, which blur takes away."""
    along = [
        (part[..., 1:, :] - part[..., :-1, :]).abs().mean() + (part[..., 1:] - part[..., :-1]).abs().mean()
        for part in (picture.clamp(-1, 1) for picture in pictures)
    ]
    return float(torch.stack(along).mean())


def sheet(
    heading: Sequence[str], columns: Mapping[str, Sequence[Tensor]], captions: Sequence[str]
) -> Image.Image:
    """Pictures [3, H, W] in -1..1: a column for each way of drawing, a row for each caption."""
    font = ImageFont.load_default()
    head = MARGIN + LINE * (1 + len(heading))
    width = MARGIN + (CELL + MARGIN) * len(columns)
    page = Image.new("RGB", (width, head + (CELL + LINE + MARGIN) * len(captions)), PAPER)
    draw = ImageDraw.Draw(page)
    for number, text in enumerate(heading):
        draw.text((MARGIN, MARGIN + LINE * number), text, INK, font=font)
    for column, (name, pictures) in enumerate(columns.items()):
        left = MARGIN + (CELL + MARGIN) * column
        draw.text((left, head - LINE), name, INK, font=font)
        for row, picture in enumerate(pictures):
            page.paste(_image(picture), (left, head + (CELL + LINE + MARGIN) * row))
    for row, text in enumerate(captions):
        # the old built-in font of PIL knows no others
        line = text[: width // LETTER].encode("latin-1", "replace").decode("latin-1")
        draw.text((MARGIN, head + CELL + (CELL + LINE + MARGIN) * row), line, INK, font=font)
    return page


def _image(picture: Tensor) -> Image.Image:
    values = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    is_small = values.shape[0] < CELL
    return Image.fromarray(values).resize(
        (CELL, CELL), Image.Resampling.NEAREST if is_small else Image.Resampling.LANCZOS
    )
