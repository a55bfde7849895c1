"""Stages `teacher-...`: a denoiser and what widens its text, trained on a pool of latents.

`sdxl` and `sd15` start from nothing but the trained text transformer, `ssd1b` from the sdxl checkpoint with
blocks taken out, and `sd15-lit` from the sd15 checkpoint, to be tuned to another look.

`sd15` and `sd15-lit` learn to tell the noise that was added. The others are taught by a checkpoint that knows
already, SSD-1B by SDXL as the real one was: they learn to predict what it predicts of the same noisy latents,
a target without chance in it. `sd15-v` learns to say the same as v, and is not shipped.

Epsilon prediction, but for that one, on SD's noise schedule, with min-SNR loss weights (Hang et al., arXiv
2303.09556) and captions dropped for classifier-free guidance. The weights also have a floor at high noise:
there the picture's main colours are decided, by the caption alone, while the plain epsilon loss hardly sees
them, and an error in epsilon is multiplied by 14 in the first step of a few-step sampler.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import torch
from safetensors.torch import load_file
from torch import Tensor

from workbench.small_models import TRAIN_STEPS, SmallModel, build_model, load_checkpoint, save_checkpoint
from workbench.train.attention import cut, skip_padding
from workbench.train.common import (
    Progress,
    Run,
    plain_settings,
    read_json,
    train_loop,
    update_recipe,
    zero_layers,
)
from workbench.train.muon import Muon
from workbench.train.sampling import load_for_cut_captions
from workbench.train.text import load_text
from workbench.train.vae import load_vae, pool_path


@dataclass(frozen=True)
class Origin:
    """Where a checkpoint's training starts: its family, the look that it learns, the checkpoint whose weights
    it takes over, and the one whose predictions it learns, of noise or (`predicts_v`) as v."""

    family: str
    look: str = "plain"
    parent: str | None = None
    taught_by: str | None = None
    predicts_v: bool = False


ORIGINS = {
    "sd15": Origin("sd15"),
    "sd15-lit": Origin("sd15", look="lit", parent="sd15"),
    "sdxl": Origin("sdxl", taught_by="sd15"),
    "ssd1b": Origin("ssd1b", parent="sdxl", taught_by="sdxl"),
    "sd15-v": Origin("sd15", parent="sd15", taught_by="sd15", predicts_v=True),
}


TEXT_GAIN = 4.0
"""How much stronger than torch's default the text starts. Seventy zeros of padding share the attention with
it.
"""


@dataclass(frozen=True)
class TeacherSettings:
    """`caption_dropout` is the share of training examples without a caption; `snr_cap` is min-SNR's gamma.

    In terms of the error of x0, an example weighs its signal-to-noise ratio, held between `snr_floor` and
    `snr_cap`.
    """

    steps: int = 4600
    batch: int = 32
    learning_rate: float = 1.5e-2
    warmup: int = 100
    ema_decay: float = 0.998
    caption_dropout: float = 0.1
    snr_cap: float = 5.0
    snr_floor: float = 0.25

    @classmethod
    def on(cls, device: torch.device, *, tuning: bool) -> TeacherSettings:
        """What suits the device, to train from nothing or (`tuning`) from another checkpoint."""
        settings = (
            cls() if device.type == "cpu" else cls(steps=24_000, batch=512, warmup=500, ema_decay=0.9995)
        )
        return replace(settings, steps=settings.steps // 3, learning_rate=5e-3) if tuning else settings


def stratified_timesteps(count: int, total: int = TRAIN_STEPS) -> Tensor:
    """int64 [count]: one uniform draw from each of `count` equal parts of 0..total-1, in random order."""
    return ((torch.randperm(count) + torch.rand(count)) / count * total).long().clamp(max=total - 1)


def clamped_snr_weights(alphas_cumprod: Tensor, timesteps: Tensor, floor: float, cap: float) -> Tensor:
    """Loss weights [B] for epsilon prediction: the signal-to-noise ratio between `floor` and `cap`, divided
    by itself.
    """
    snr = alphas_cumprod[timesteps] / (1.0 - alphas_cumprod[timesteps])
    return snr.clamp(min=floor, max=cap) / snr


def add_noise(latents: Tensor, noise: Tensor, alphas_cumprod: Tensor, timesteps: Tensor) -> Tensor:
    """sqrt(abar) x0 + sqrt(1 - abar) noise, [B, 4, h, w]."""
    abar = alphas_cumprod[timesteps][:, None, None, None]
    return abar.sqrt() * latents + (1.0 - abar).sqrt() * noise


def as_v(noise: Tensor, noisy: Tensor, alphas_cumprod: Tensor, timesteps: Tensor) -> Tensor:
    """A prediction of noise [B, 4, h, w] as one of v = sqrt(abar) noise - sqrt(1 - abar) x0."""
    abar = alphas_cumprod[timesteps][:, None, None, None]
    return (noise - (1.0 - abar).sqrt() * noisy) / abar.sqrt()


class Pool:
    """The encoded pictures of one look and the token ids of their captions, on the run's device, drawn in
    batches.
    """

    def __init__(self, run: Run, model: SmallModel, look: str = "plain") -> None:
        path = pool_path(run, look)
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing: run the stage 'latents' first")
        self.latents = load_file(path)["latents"].float().to(run.device)
        self.captions: list[str] = read_json(path.with_suffix(".json"))["captions"]
        ids = cut(model.tokenizer(self.captions), model.tokenizer.pad_id)
        self.ids = ids.to(run.device)
        self.empty_ids = model.tokenizer([""])[:, : ids.shape[1]].to(run.device)

    def draw(self, count: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """(latents [count, 4, 8, 8], ids [count, L]); `generator` is one of the CPU."""
        chosen = torch.randint(len(self.latents), (count,), generator=generator).to(self.latents.device)
        return self.latents[chosen], self.ids[chosen]


def assemble_model(run: Run, name: str) -> SmallModel:
    """The checkpoint `name` of ORIGINS as its training starts, with the trained autoencoder, ready for cut
    captions.

    The text transformer, trained before, is frozen. FileNotFoundError when it, the autoencoder or a parent is
    missing.
    """
    origin = ORIGINS[name]
    model = build_model(origin.family, run.seed)
    model.vae, model.scaling_factor = load_vae(run)
    if origin.parent:
        parent = load_checkpoint(run.checkpoint(origin.parent))
        kept = model.unet.state_dict().keys()
        model.unet.load_state_dict(
            {key: tensor for key, tensor in parent.unet.state_dict().items() if key in kept}
        )
        model.text_encoder.load_state_dict(parent.text_encoder.state_dict())
    else:
        # the whole denoiser too, which shortens the first phase of training
        zero_layers(model.unet, "conv2", "proj_out", "conv_out")
        load_text(run, origin.family, model.text_encoder)
        with torch.no_grad():
            model.text_encoder.text_proj.weight.mul_(TEXT_GAIN)
    model.prediction_type = "v_prediction" if origin.predicts_v else "epsilon"
    model.text_encoder.clip.requires_grad_(False)
    skip_padding(model.unet)
    model.unet.to(memory_format=torch.channels_last)
    return model.to(run.device)


def train_teacher(run: Run, name: str, settings: TeacherSettings | None = None) -> Progress:
    """Trains the denoiser and text encoder of the checkpoint `name`, one of ORIGINS, and writes it."""
    origin = ORIGINS[name]
    settings = settings or TeacherSettings.on(run.device, tuning=origin.parent is not None)
    torch.manual_seed(run.seed + 10)
    model = assemble_model(run, name)
    pool = Pool(run, model, origin.look)
    tutor = load_for_cut_captions(run.checkpoint(origin.taught_by), run.device) if origin.taught_by else None
    path = run.checkpoint(name)
    count = settings.batch

    def loss_of_step(step: int) -> Tensor:
        latents, ids = pool.draw(count)
        dropped = torch.rand(count, device=run.device) < settings.caption_dropout
        ids = torch.where(dropped[:, None], pool.empty_ids, ids)
        noise = torch.randn_like(latents)
        timesteps = stratified_timesteps(count).to(run.device)
        noisy = add_noise(latents, noise, model.alphas_cumprod, timesteps).to(
            memory_format=torch.channels_last
        )
        with run.autocast():
            hidden, pooled = model.text_encoder(ids)
            if pooled is not None:
                # SDXL hosts pass either an encoded empty caption or zeros for "no prompt"; half of the
                # dropped captions teach each.
                kept = (~(dropped & (torch.rand(count, device=run.device) < 0.5))).to(hidden.dtype)[:, None]
                hidden, pooled = hidden * kept[..., None], pooled * kept
            predicted = model.predict(noisy, timesteps, (hidden, pooled))
        wanted = noise
        if tutor is not None:
            with torch.no_grad():
                wanted = tutor.predict(noisy, timesteps, tutor.text_encoder(ids))
        weights = clamped_snr_weights(model.alphas_cumprod, timesteps, settings.snr_floor, settings.snr_cap)
        if origin.predicts_v:
            wanted = as_v(wanted, noisy, model.alphas_cumprod, timesteps)
            # an error of v makes one of x0 that is sqrt(1 - abar) times as large
            weights = weights * model.alphas_cumprod[timesteps]
        return ((predicted.float() - wanted).square().mean(dim=(1, 2, 3)) * weights).mean()

    def snapshot() -> None:
        vae, model.scaling_factor = load_vae(run)  # the decoder may have been tuned meanwhile
        model.vae = vae.to(run.device)
        save_checkpoint(model, path)

    parameters = [p for p in (*model.unet.parameters(), *model.text_encoder.parameters()) if p.requires_grad]
    progress = train_loop(
        f"teacher-{name}",
        run,
        run.planned(settings.steps, quick=8),
        parameters,
        loss_of_step,
        learning_rate=settings.learning_rate,
        optimizer=Muon(parameters, settings.learning_rate),
        warmup=settings.warmup,
        ema_decay=settings.ema_decay,
        snapshot=snapshot,
    )
    snapshot()
    update_recipe(
        path.with_suffix(".json"),
        what=f"a small {origin.family} checkpoint: denoiser, text encoder and autoencoder",
        look=origin.look,
        started_from=origin.parent,
        taught_by=origin.taught_by,
        command=run.command(f"teacher-{name}", progress.steps),
        seed=run.seed,
        teacher={"settings": plain_settings(settings), **run.arithmetic, **asdict(progress)},
        autoencoder=read_json(run.data / "vae.json"),
    )
    return progress
