"""Stages `vae`, `decoder` and `latents`: the autoencoder of all families, and the pools of encoded pictures.

The encoder and decoder are trained together first. Then the encoder is frozen, the pools are encoded, and the
decoder alone is tuned on slightly noisy latents: it gets sharper, and forgiving of the small errors that a
few-step sampler leaves.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from workbench.scenes import random_scenes
from workbench.scenes.judge import agreement, rates
from workbench.scenes.render import LOOKS, render, to_uint8
from workbench.small_models import VAE_CONFIG, load_checkpoint, write_safetensors
from workbench.train.common import (
    FULL_CAPTION_SHARE,
    Progress,
    Run,
    bar_interval,
    plain_settings,
    train_loop,
    update_recipe,
    write_json,
    zero_layers,
)
from workbench.train.muon import Muon

START_LOG_VARIANCE = -6.0
"""Of the posterior. At the usual 0 the first latents are noise with hardly any signal, and hundreds of steps
pass before it wins.
"""
OTHER_LOOKS_SHARE = 0.25
"""How many pictures the autoencoder sees in other looks than the plain one."""
CHUNK = 256


@dataclass(frozen=True)
class VaeSettings:
    """`kl_weight` is per latent element, against an L1 loss that is per colour value; `latent_noise` is in
    units of the latents' std.

    `pictures` is how many different ones there are to train on, `pool` how many are encoded for the
    denoisers.
    """

    steps: int = 1600
    decoder_steps: int = 800
    batch: int = 8
    learning_rate: float = 2e-2
    decoder_learning_rate: float = 1e-2
    kl_weight: float = 3e-4
    squared_weight: float = 0.5
    edge_weight: float = 1.0
    latent_noise: float = 0.12
    ema_decay: float = 0.99
    pictures: int = 20_000
    pool: int = 30_000

    @classmethod
    def on(cls, device: torch.device) -> VaeSettings:
        """What suits the device: a GPU has the time for large batches and many pictures."""
        if device.type == "cpu":
            return cls()
        return cls(
            steps=12_000, decoder_steps=6_000, batch=128, ema_decay=0.998, pictures=100_000, pool=300_000
        )


def reconstruction_loss(pictures: Tensor, restored: Tensor, settings: VaeSettings) -> Tensor:
    """Mean absolute error of [B, 3, H, W], plus weighted mean squared error, plus weighted error of the
    differences between neighbours: without that last part the corners of small shapes are rounded off."""
    error = restored.float() - pictures
    across, down = error.diff(dim=3), error.diff(dim=2)
    edges = across.abs().mean() + down.abs().mean()
    return error.abs().mean() + settings.squared_weight * error.square().mean() + settings.edge_weight * edges


class Album:
    """Pictures to train an autoencoder on, uint8 on the run's device: the plain look, with a share of each
    other look.
    """

    def __init__(self, run: Run, count: int, *seed: int) -> None:
        others = LOOKS[1:]
        rng = np.random.default_rng([run.seed, *seed])
        parts = []
        with tqdm(total=count, desc="pictures", mininterval=bar_interval()) as bar:
            for start in range(0, count, CHUNK):
                size = min(CHUNK, count - start)
                look = "plain"
                if rng.random() < OTHER_LOOKS_SHARE:
                    look = others[rng.integers(len(others))]
                pictures = render(random_scenes(size, rng), rng, look, run.device)
                parts.append(((pictures + 1) * 127.5).round().to(torch.uint8))
                bar.update(size)
        self.pictures = torch.cat(parts)

    def draw(self, count: int) -> Tensor:
        """[count, 3, 64, 64] in -1..1."""
        chosen = torch.randint(len(self.pictures), (count,), device=self.pictures.device)
        return (self.pictures[chosen].float() / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)


def train_vae(run: Run, settings: VaeSettings | None = None) -> Progress:
    """Trains the whole autoencoder and writes `run.data/vae.safetensors` with its scaling factor in the
    header.
    """
    settings = settings or VaeSettings.on(run.device)
    torch.manual_seed(run.seed)
    vae = AutoencoderKL(**VAE_CONFIG)
    # a chain of few convolutions, through which colours and places come from the first step on
    zero_layers(vae, "conv2", "to_out.0")
    torch.nn.init.constant_(vae.quant_conv.bias[vae.config.latent_channels :], START_LOG_VARIANCE)
    vae.to(run.device, memory_format=torch.channels_last)
    album = Album(run, 256 if run.quick else settings.pictures, 1)

    def loss_of_step(step: int) -> Tensor:
        pictures = album.draw(settings.batch)
        with run.autocast():
            posterior = vae.encode(pictures).latent_dist
            restored = vae.decode(posterior.sample()).sample
        kl = posterior.kl().float().mean() / 256
        return reconstruction_loss(pictures, restored, settings) + settings.kl_weight * kl

    def snapshot() -> None:
        with torch.no_grad():
            means = vae.encode(album.draw(256)).latent_dist.mean
        save_vae(vae, 1.0 / float(means.std()), run)

    progress = train_loop(
        "vae",
        run,
        run.planned(settings.steps, quick=12),
        list(vae.parameters()),
        loss_of_step,
        learning_rate=settings.learning_rate,
        optimizer=Muon(vae.parameters(), settings.learning_rate),
        warmup=40,
        ema_decay=settings.ema_decay,
        snapshot=snapshot,
    )
    snapshot()
    update_recipe(
        run.data / "vae.json", seed=run.seed, settings=plain_settings(settings), joint=asdict(progress)
    )
    return progress


def tune_decoder(run: Run, settings: VaeSettings | None = None) -> Progress:
    """Trains the decoder alone on noisy latents of the frozen encoder; rewrites
    `run.data/vae.safetensors`.
    """
    settings = settings or VaeSettings.on(run.device)
    vae, scaling_factor = load_vae(run)
    vae.to(run.device, memory_format=torch.channels_last)
    torch.manual_seed(run.seed + 1)
    album = Album(run, 256 if run.quick else settings.pictures, 3)
    decoder = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    for parameter in decoder:
        parameter.requires_grad_(True)

    def loss_of_step(step: int) -> Tensor:
        pictures = album.draw(settings.batch)
        with run.autocast():
            with torch.no_grad():
                latents = vae.encode(pictures).latent_dist.mean
                amount = (
                    settings.latent_noise
                    * torch.rand(len(latents), 1, 1, 1, device=run.device)
                    / scaling_factor
                )
                latents = latents + amount * torch.randn_like(latents)
            restored = vae.decode(latents).sample
        return reconstruction_loss(pictures, restored, settings)

    progress = train_loop(
        "decoder",
        run,
        run.planned(settings.decoder_steps, quick=6),
        decoder,
        loss_of_step,
        learning_rate=settings.decoder_learning_rate,
        optimizer=Muon(decoder, settings.decoder_learning_rate),
        warmup=20,
        ema_decay=settings.ema_decay,
    )
    save_vae(vae, scaling_factor, run)
    floor = measure_floor(run, vae, 64 if run.quick else 1024)
    update_recipe(run.data / "vae.json", decoder=asdict(progress), real_pictures=floor)
    return progress


@torch.no_grad()
def measure_floor(run: Run, vae: AutoencoderKL, count: int, look: str = "plain") -> dict[str, float]:
    """What the judge says of real pictures that went through the autoencoder, in per cent: the ceiling of
    every other figure.
    """
    rng = np.random.default_rng([run.seed, 5])
    wanted, rows = random_scenes(count, rng), []
    for start in range(0, count, CHUNK):
        part = wanted[start : start + CHUNK]
        pictures = render(part, rng, look, run.device)
        restored = vae.decode(vae.encode(pictures).latent_dist.mean).sample
        rows += agreement(to_uint8(restored), part, look)
    return {name: round(100 * share, 1) for name, share in rates(rows).items()}


def encode_pools(run: Run, settings: VaeSettings | None = None) -> list[Path]:
    """Writes a pool of encoded pictures for each look; see `encode_pool`."""
    settings = settings or VaeSettings.on(run.device)
    vae, scaling_factor = load_vae(run)
    vae.to(run.device, memory_format=torch.channels_last)
    # Another look is learnt from a finished checkpoint, in a third of the time.
    return [
        encode_pool(run, vae, scaling_factor, settings.pool if look == "plain" else settings.pool // 3, look)
        for look in LOOKS
    ]


def encode_pool(run: Run, vae: AutoencoderKL, scaling_factor: float, count: int, look: str) -> Path:
    """Writes `run.data/latents-<look>.safetensors` (fp16 scaled latents [N, 4, 8, 8]) and the N captions
    beside it.
    """
    count = 256 if run.quick else count
    rng = np.random.default_rng([run.seed, 4, LOOKS.index(look)])
    latents, captions = [], []
    with torch.no_grad(), tqdm(total=count, desc=f"latents-{look}", mininterval=bar_interval()) as bar:
        while len(captions) < count:
            chosen = random_scenes(min(CHUNK, count - len(captions)), rng)
            pictures = render(chosen, rng, look, run.device).contiguous(memory_format=torch.channels_last)
            latents.append((vae.encode(pictures).latent_dist.mean * scaling_factor).half().cpu())
            captions += [
                scene.caption if rng.random() < FULL_CAPTION_SHARE else scene.loose_caption(rng)
                for scene in chosen
            ]
            bar.update(len(chosen))
    path = pool_path(run, look)
    write_safetensors({"latents": torch.cat(latents)}, path, {"scaling_factor": repr(scaling_factor)})
    write_json(path.with_suffix(".json"), {"captions": captions})
    return path


def pool_path(run: Run, look: str) -> Path:
    return run.data / f"latents-{look}.safetensors"


def save_vae(vae: AutoencoderKL, scaling_factor: float, run: Run) -> None:
    write_safetensors(
        vae.state_dict(), run.data / "vae.safetensors", {"scaling_factor": repr(scaling_factor)}
    )


def load_vae(run: Run) -> tuple[AutoencoderKL, float]:
    """The trained autoencoder, frozen, on the CPU, and its scaling factor: that of stage `vae`, or of a
    finished checkpoint. FileNotFoundError where there is neither.
    """
    path = run.data / "vae.safetensors"
    if not path.exists() and run.checkpoint("sd15").exists():
        model = load_checkpoint(run.checkpoint("sd15"))
        return model.vae.eval().requires_grad_(False), model.scaling_factor
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run the stage 'vae' first")
    vae = AutoencoderKL(**VAE_CONFIG)
    vae.load_state_dict(load_file(path))
    with safe_open(str(path), framework="pt") as file:
        scaling_factor = float(file.metadata()["scaling_factor"])
    return vae.eval().requires_grad_(False), scaling_factor
