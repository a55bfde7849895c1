"""Stages `vae`, `latents` and `decoder`: the autoencoder of both families, and the pool of encoded pictures.

The encoder and decoder are trained together first. Then the encoder is frozen, the pool is encoded, and the decoder alone is tuned on
slightly noisy latents: it gets sharper, and forgiving of the small errors that a few-step sampler leaves.
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

from workbench.pictures import Scene, loose_caption, random_pictures, to_tensor
from workbench.small_models import VAE_CONFIG, write_safetensors
from workbench.train.common import Progress, Run, plain_settings, train_loop, update_recipe, write_json

START_LOG_VARIANCE = -6.0
"""Of the posterior. At the usual 0 the first latents are noise with hardly any signal, and hundreds of steps pass before it wins."""
FULL_CAPTION_SHARE = 0.5
"""How many captions of the pool are complete; the rest leave out or vary words."""


@dataclass(frozen=True)
class VaeSettings:
    """`kl_weight` is per latent element, against an L1 loss that is per colour value; `latent_noise` is in units of the latents' std."""

    steps: int = 2700
    decoder_steps: int = 1200
    batch: int = 8
    learning_rate: float = 1e-3
    decoder_learning_rate: float = 1e-3
    kl_weight: float = 3e-4
    squared_weight: float = 0.5
    edge_weight: float = 1.0
    latent_noise: float = 0.12
    ema_decay: float = 0.99
    pool: int = 20_000


def reconstruction_loss(pictures: Tensor, restored: Tensor, settings: VaeSettings) -> Tensor:
    """Mean absolute error of [B, 3, H, W], plus weighted mean squared error, plus weighted error of the differences between neighbours:
    without that last part the points of small stars are rounded off."""
    error = restored - pictures
    across, down = error.diff(dim=3), error.diff(dim=2)
    edges = across.abs().mean() + down.abs().mean()
    return error.abs().mean() + settings.squared_weight * error.square().mean() + settings.edge_weight * edges


def train_vae(run: Run, settings: VaeSettings | None = None) -> Progress:
    """Trains the whole autoencoder and writes `run.data/vae.safetensors` with its scaling factor in the header."""
    settings = settings or VaeSettings()
    torch.manual_seed(run.seed)
    vae = AutoencoderKL(**VAE_CONFIG).to(memory_format=torch.channels_last)
    latent_channels = VAE_CONFIG["latent_channels"]
    torch.nn.init.constant_(vae.quant_conv.bias[latent_channels:], START_LOG_VARIANCE)

    def loss_of_step(step: int) -> Tensor:
        pictures = fresh_pictures(settings.batch, run.seed, 1, step)
        posterior = vae.encode(pictures).latent_dist
        restored = vae.decode(posterior.sample()).sample
        return reconstruction_loss(pictures, restored, settings) + settings.kl_weight * posterior.kl().mean() / 256

    progress = train_loop(
        "vae",
        run,
        run.planned(settings.steps, quick=12),
        list(vae.parameters()),
        loss_of_step,
        learning_rate=settings.learning_rate,
        warmup=40,
        ema_decay=settings.ema_decay,
    )
    with torch.no_grad():
        means = vae.encode(fresh_pictures(256, run.seed, 2, 0)).latent_dist.mean
    save_vae(vae, 1.0 / float(means.std()), run)
    update_recipe(run.data / "vae.json", seed=run.seed, settings=plain_settings(settings), joint=asdict(progress))
    return progress


def tune_decoder(run: Run, settings: VaeSettings | None = None) -> Progress:
    """Trains the decoder alone on noisy latents of the frozen encoder; rewrites `run.data/vae.safetensors`."""
    settings = settings or VaeSettings()
    vae, scaling_factor = load_vae(run)
    vae.to(memory_format=torch.channels_last)
    torch.manual_seed(run.seed + 1)
    decoder = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    for parameter in decoder:
        parameter.requires_grad_(True)

    def loss_of_step(step: int) -> Tensor:
        pictures = fresh_pictures(settings.batch, run.seed, 3, step)
        with torch.no_grad():
            latents = vae.encode(pictures).latent_dist.mean
            amount = settings.latent_noise * torch.rand(len(latents), 1, 1, 1) / scaling_factor
            latents = latents + amount * torch.randn_like(latents)
        return reconstruction_loss(pictures, vae.decode(latents).sample, settings)

    progress = train_loop(
        "decoder",
        run,
        run.planned(settings.decoder_steps, quick=6),
        decoder,
        loss_of_step,
        learning_rate=settings.decoder_learning_rate,
        warmup=20,
        ema_decay=settings.ema_decay,
    )
    save_vae(vae, scaling_factor, run)
    update_recipe(run.data / "vae.json", decoder=asdict(progress))
    return progress


def encode_pool(run: Run, settings: VaeSettings | None = None, batch: int = 64) -> Path:
    """Writes `run.data/latents.safetensors` (fp16 scaled latents [N, 4, 8, 8]) and `captions.json` (N captions)."""
    settings = settings or VaeSettings()
    vae, scaling_factor = load_vae(run)
    vae.to(memory_format=torch.channels_last)
    count = 256 if run.quick else settings.pool
    rng = np.random.default_rng([run.seed, 4])
    latents, captions = [], []
    with torch.no_grad(), tqdm(total=count, desc="latents", mininterval=10.0) as bar:
        while len(captions) < count:
            pictures, scenes = random_pictures(batch, rng)
            latents.append((vae.encode(to_tensor(pictures)).latent_dist.mean * scaling_factor).half())
            captions.extend(pool_caption(scene, rng) for scene in scenes)
            bar.update(batch)
    path = run.data / "latents.safetensors"
    write_safetensors({"latents": torch.cat(latents)}, path, {"scaling_factor": repr(scaling_factor)})
    write_json(run.data / "captions.json", {"captions": captions})
    return path


def pool_caption(scene: Scene, rng: np.random.Generator) -> str:
    return scene.caption if rng.random() < FULL_CAPTION_SHARE else loose_caption(scene, rng)


def fresh_pictures(count: int, *seed: int) -> Tensor:
    """[count, 3, 64, 64] in -1..1; the same seed gives the same pictures."""
    pictures, _ = random_pictures(count, np.random.default_rng(seed))
    return to_tensor(pictures).to(memory_format=torch.channels_last)


def save_vae(vae: AutoencoderKL, scaling_factor: float, run: Run) -> None:
    write_safetensors(vae.state_dict(), run.data / "vae.safetensors", {"scaling_factor": repr(scaling_factor)})


def load_vae(run: Run) -> tuple[AutoencoderKL, float]:
    """The trained autoencoder, frozen, and its scaling factor. FileNotFoundError when stage `vae` has not run."""
    path = run.data / "vae.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run the stage 'vae' first")
    vae = AutoencoderKL(**VAE_CONFIG)
    vae.load_state_dict(load_file(path))
    with safe_open(str(path), framework="pt") as file:
        scaling_factor = float(file.metadata()["scaling_factor"])
    return vae.eval().requires_grad_(False), scaling_factor
