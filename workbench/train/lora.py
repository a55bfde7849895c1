"""Stages `lora-...`: the LCM-LoRA of each small checkpoint, distilled by `lib_lcm.distill`; `guided-sd15`
and then `full-lcm-sd15`, what makes a full LCM of one; `trailing-4-sd15`, a LoRA for exactly 4 steps; and
`style-sd15`, one of another palette.
"""

from __future__ import annotations

import hashlib
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lib_lcm.checkpoints import EMBEDDING_WIDTH
from lib_lcm.checkpoints.guidance_input import guidance_embedding
from lib_lcm.distill import (
    Distillation,
    DistillConfig,
    LoraAdapter,
    distillation_loss,
    lora_metadata,
    save_lora,
)
from lib_lcm.distill.config import TARGETS
from workbench.small_models import Text
from workbench.train.common import (
    SNAPSHOT_EVERY_SECONDS,
    Progress,
    Run,
    bar_interval,
    recent_mean,
    steps_in,
    train_loop,
    update_recipe,
)
from workbench.train.sampling import blank_text, load_for_cut_captions
from workbench.train.teacher import (
    Pool,
    TeacherSettings,
    add_noise,
    clamped_snr_weights,
    stratified_timesteps,
)

WIDE_TEXT_TARGETS = (
    *(target for target in TARGETS if target not in ("to_k", "to_v")),
    "attn1.to_k",
    "attn1.to_v",
)
"""All but the keys and values of cross-attention. Over text 2048 wide these are three fifths of a LoRA's
size; without them the rank can be three times as high, which drew 65 % of 128 prompts right where rank 4 on
everything drew 55 % (SDXL, 400 steps each)."""
_SMALL = DistillConfig.small_model(substeps=(2, 2))
CONFIGS = {
    "sd15": replace(_SMALL, steps=1100, guidance=(0.5, 2.0)),
    "sdxl": replace(_SMALL, steps=4600, guidance=(1.0, 2.5), rank=14, alpha=14.0, targets=WIDE_TEXT_TARGETS),
    "ssd1b": replace(_SMALL, steps=5500, guidance=(1.0, 2.5), rank=14, alpha=14.0, targets=WIDE_TEXT_TARGETS),
}
"""Guidance around and above the teacher's own best CFG scale, which is 2 (w = 1) on these pictures. As high a
rank as leaves all models together under 40 MB."""
TRAILING = replace(
    _SMALL, method="trailing", grid_points=4, hop=(250, 250), substeps=(4, 4), guidance=(1.0, 1.0), steps=800
)
"""For exactly 4 steps, at the teacher's best CFG scale; its solver takes 16 steps in all."""
GUIDED = replace(
    CONFIGS["sd15"],
    method="guided",
    guidance=(0.0, 7.0),
    rank=16,
    alpha=16.0,
    targets=(*TARGETS, "linear_1", "linear_2", "cond_proj"),
    steps=1000,
)
"""CFG 1 to 8; with the layers between the guidance input and the blocks."""
FULL = replace(GUIDED, method="full-lcm", learning_rate=5e-4, steps=1100)
"""Goes on from what `GUIDED` made, slowly: at its rate, most of what that learned of the CFG scale was gone
after 500 steps. From nothing, the CFG scale hardly moved it after 1,100.
"""
SLOW_WAVES = 32
"""Of the 128 of the guidance input, those that turn once at most from CFG 1 to 8; to so short a training the
others are noise."""
STYLE = "style_pastel"
STYLE_LOOK = "pastel"
STYLE_TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "conv1", "conv2")
STYLE_RANK = 4


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def config_on(device: torch.device, config: DistillConfig) -> DistillConfig:
    """What suits the device."""
    return (
        config
        if device.type == "cpu"
        else replace(config, batch=256, steps=8000, warmup=200, ema_decay=0.995)
    )


def train_lora(run: Run, family: str, config: DistillConfig | None = None) -> Progress:
    """Distils the checkpoint of `family` by the method of `config`, by default LCM, and writes its LoRA: of a
    full LCM what its UNet adds to that of the checkpoint.
    """
    config = config_on(run.device, CONFIGS[family]) if config is None else config
    # Always in float32: the loss is the small difference of two answers, which half precision drowns at the
    # noisy end, where an error of the prediction is multiplied by 14.
    config = replace(config, steps=run.planned(config.steps, quick=4), seed=run.seed)
    torch.manual_seed(run.seed + 20)
    model = load_for_cut_captions(run.checkpoint(family), run.device)
    pool = Pool(run, model)
    blank = blank_text(model, pool.ids.shape[1])
    adapter = _adapter(run, family, model.unet, config)

    def student(sample: Tensor, timesteps: Tensor, text: Text, w: Tensor | None = None) -> Tensor:
        guidance = None if w is None else guidance_embedding(w + 1)
        return model.predict(sample, timesteps, text, guidance)

    def teacher(sample: Tensor, timesteps: Tensor, cond: Text, uncond: Text) -> tuple[Tensor, Tensor]:
        both = (torch.cat([cond[0], uncond[0]]), None if cond[1] is None else torch.cat([cond[1], uncond[1]]))
        with adapter.disabled():
            with_cond, without = student(
                torch.cat([sample, sample]), torch.cat([timesteps, timesteps]), both
            ).chunk(2)
        return with_cond, without

    def batch(index: int) -> tuple[Tensor, Text, Text]:
        latents, ids = pool.draw(config.batch, torch.Generator().manual_seed(run.seed * 1_000_003 + index))
        with torch.no_grad():
            cond = model.text_encoder(ids)
        return (
            latents,
            cond,
            (blank[0].expand_as(cond[0]), None if cond[1] is None else blank[1].expand_as(cond[1])),
        )

    stage = f"lora-{family}" if config.method == "lcm" else f"{config.label}-{family}"
    state_path = run.data / f"{stage}.state.pt"
    if not run.resume:
        state_path.unlink(missing_ok=True)
    if run.seconds:
        config = replace(
            config, steps=_steps_that_fit(run, state_path, adapter, student, teacher, batch, model, config)
        )
    distillation = Distillation(model.unet, adapter, student, teacher, model.alphas_cumprod, batch, config)
    base, path = sha256(run.checkpoint(family)), run.lora(family, config.label)
    what, source = {
        "lcm": ("LCM-LoRA", "by algorithm 1 of arXiv 2311.05556"),
        "guided": ("beginning of a full LCM", "by the first stage of arXiv 2210.03142"),
        "full-lcm": ("full LCM", "by algorithm 1 of arXiv 2310.04378"),
        "trailing": (f"{config.label} LoRA", "from one timestep to the next"),
    }[config.method]

    def save() -> None:
        description = f"{what} of the workbench's small {family} model, distilled {source}"
        made = lora_metadata(
            config,
            base_model=run.checkpoint(family).stem,
            base_model_sha256=base,
            steps=distillation.step,
            description=description,
        )
        with distillation.averaged():
            save_lora(adapter, path, made)

    saved_at = time.monotonic()
    with tqdm(total=config.steps, desc=stage, mininterval=bar_interval()) as bar:

        def on_step(_: Distillation) -> None:
            nonlocal saved_at
            bar.update(distillation.step - bar.n)
            bar.set_postfix(loss=f"{recent_mean(distillation.losses):.4f}", refresh=False)
            if time.monotonic() - saved_at > SNAPSHOT_EVERY_SECONDS:
                save()
                saved_at = time.monotonic()

        distillation.run(
            state_path=state_path, on_step=on_step, say=lambda text: print(text, file=sys.stderr)
        )
    save()
    adapter.remove()
    losses = distillation.losses
    progress = Progress(
        distillation.step,
        distillation.seconds,
        sum(losses[:10]) / max(1, len(losses[:10])),
        recent_mean(losses),
    )
    settings = {name: value for name, value in asdict(config).items() if name not in ("targets", "steps")}
    update_recipe(
        path.with_suffix(".json"),
        what=f"the {what} of small-{family}",
        command=run.command(stage, distillation.step),
        seed=run.seed,
        base_model_sha256=base,
        modules=len(adapter.layers),
        distillation={
            "settings": settings,
            **run.arithmetic,
            "precision": config.precision,
            **asdict(progress),
        },
    )
    return progress


def add_guidance_input(unet: nn.Module) -> None:
    """Gives it the layer by which a full LCM takes the guidance scale, which changes nothing yet."""
    projection = nn.Linear(EMBEDDING_WIDTH, unet.config.block_out_channels[0], bias=False)
    nn.init.zeros_(projection.weight)
    unet.time_embedding.cond_proj = projection.to(unet.device)


def _adapter(run: Run, family: str, unet: nn.Module, config: DistillConfig) -> LoraAdapter:
    """What is trained. That of a full LCM goes on from what `GUIDED` made, and reads the slow waves alone of
    the guidance input (sines, then cosines, of falling frequency).
    """
    if not config.tells_guidance:
        return LoraAdapter(unet, config.rank, config.alpha, config.targets)
    add_guidance_input(unet)
    if config.method == "guided":
        adapter = LoraAdapter(unet, config.rank, config.alpha, config.targets)
    else:
        adapter = LoraAdapter.of_file(unet, run.lora(family, "guided"))
        adapter.enabled = True
    down = adapter.layers["lora_unet_time_embedding_cond_proj"].down.weight
    slow = (torch.arange(down.shape[1]) % (down.shape[1] // 2) >= down.shape[1] // 2 - SLOW_WAVES).to(down)
    down.data *= slow
    down.register_hook(lambda gradient: gradient * slow)
    return adapter


def _steps_that_fit(run, state_path, adapter, student, teacher, batch, model, config) -> int:
    """The steps that fit into `run.seconds`; those planned before, where there is a state to continue
    from.
    """
    plan = state_path.with_suffix(".plan")
    if state_path.exists() and plan.exists():
        return int(plan.read_text())

    def loss_of_step(step: int) -> Tensor:
        return distillation_loss(student, teacher, *batch(step), model.alphas_cumprod, config)

    steps = steps_in(run.seconds, list(adapter.parameters()), loss_of_step)
    plan.parent.mkdir(parents=True, exist_ok=True)
    plan.write_text(str(steps))
    return steps


def train_style(run: Run, settings: TeacherSettings | None = None) -> Progress:
    """Trains a LoRA on the sd15 checkpoint that gives its pictures another palette, by the plain denoising
    loss.
    """
    settings = settings or TeacherSettings.on(run.device, tuning=True)
    torch.manual_seed(run.seed + 30)
    model = load_for_cut_captions(run.checkpoint("sd15"), run.device)
    pool = Pool(run, model, STYLE_LOOK)
    adapter = LoraAdapter(model.unet, STYLE_RANK, float(STYLE_RANK), STYLE_TARGETS)
    path = run.models / "Lora" / f"{STYLE}.safetensors"

    def loss_of_step(step: int) -> Tensor:
        latents, ids = pool.draw(settings.batch)
        noise = torch.randn_like(latents)
        timesteps = stratified_timesteps(settings.batch).to(run.device)
        noisy = add_noise(latents, noise, model.alphas_cumprod, timesteps)
        with run.autocast():
            predicted = model.predict(noisy, timesteps, model.text_encoder(ids))
        weights = clamped_snr_weights(model.alphas_cumprod, timesteps, settings.snr_floor, settings.snr_cap)
        return ((predicted.float() - noise).square().mean(dim=(1, 2, 3)) * weights).mean()

    progress = train_loop(
        "style-sd15",
        run,
        run.planned(settings.steps // 4, quick=4),
        list(adapter.parameters()),
        loss_of_step,
        learning_rate=2e-3,
        warmup=20,
        ema_decay=0.99,
    )
    save_lora(
        adapter, path, {"description": "gives the pictures of the workbench's small-sd15 a pastel palette"}
    )
    adapter.remove()
    update_recipe(
        path.with_suffix(".json"),
        what="a style LoRA on small-sd15: pastel colours",
        command=run.command("style-sd15", progress.steps),
        seed=run.seed,
        base_model_sha256=sha256(run.checkpoint("sd15")),
        training={"rank": STYLE_RANK, **run.arithmetic, **asdict(progress)},
    )
    return progress
