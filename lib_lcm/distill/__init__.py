"""Latent consistency distillation of an LCM-LoRA: Algorithm 1 of the LCM-LoRA report (arXiv 2311.05556; LCM:
arXiv 2310.04378).

The student is the teacher plus a LoRA. A noisy latent x_t is taken to an earlier timestep s by the teacher's
guided DDIM solver, and the student is asked to answer from x_t what it already answers from x_s. At s = 0 the
answer is x_s itself, so the clean end of the trajectory spreads backwards until one evaluation anywhere lands
on it.

The student is a callable `student(sample, timesteps, cond) -> prediction` (epsilon or v, as the configuration
says), with `sample` [B, ...] variance preserving, `timesteps` int64 [B], and `cond` whatever it wants. The
teacher, `teacher(sample, timesteps, cond, uncond)`, returns both of its predictions, so that it may make them
in one batch. Nothing here knows a host or a model library.

    adapter = LoraAdapter(unet, config.rank, config.alpha, config.targets)
    distillation = Distillation(unet, adapter, student, teacher, alphas_cumprod, batch, config)
    distillation.run(state_path="distillation.state")
    with distillation.averaged():
        metadata = lora_metadata(
            config, base_model=..., base_model_sha256=..., steps=distillation.step, description=...
        )
        save_lora(adapter, "lcm_lora.safetensors", metadata)

The student is the UNet itself, called with the LoRA on; `with adapter.disabled():` the same UNet is the
teacher.

`python -m lib_lcm.distill CHECKPOINT` does all of it for a checkpoint as WebUIs have it: `command` is the
line from the file to the LoRA, `checkpoint` the networks, `latents` what is learned from, `cost` what it
takes, `run` the whole in memory, `report` the picture at the end.
"""

from lib_lcm.distill.algorithm import (
    Student,
    Teacher,
    boundary_scalings,
    consistency,
    ddim_solve,
    denoised_and_noise,
    distance,
    distillation_loss,
)
from lib_lcm.distill.checkpointing import checkpoint_blocks
from lib_lcm.distill.config import TARGETS, DistillConfig
from lib_lcm.distill.lora import LoraAdapter, LoraLayer, kohya_name, lora_metadata, save_lora
from lib_lcm.distill.memory import MemoryEstimate, estimate_memory
from lib_lcm.distill.training import Batch, Distillation

__all__ = [
    "TARGETS",
    "Batch",
    "DistillConfig",
    "Distillation",
    "LoraAdapter",
    "LoraLayer",
    "MemoryEstimate",
    "Student",
    "Teacher",
    "boundary_scalings",
    "checkpoint_blocks",
    "consistency",
    "ddim_solve",
    "denoised_and_noise",
    "distance",
    "distillation_loss",
    "estimate_memory",
    "kohya_name",
    "lora_metadata",
    "save_lora",
]
