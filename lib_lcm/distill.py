"""Latent consistency distillation of an LCM-LoRA: Algorithm 1 of the LCM-LoRA report (arXiv 2311.05556; LCM: arXiv 2310.04378).

The student is the teacher plus a LoRA. A noisy latent x_t is taken to an earlier timestep s by the teacher's guided DDIM solver, and the
student is asked to answer from x_t what it already answers from x_s. At s = 0 the answer is x_s itself, so the clean end of the
trajectory spreads backwards until one evaluation anywhere lands on it.

The student is a callable `student(sample, timesteps, cond) -> prediction` (epsilon or v, as the configuration says), with `sample`
[B, ...] variance preserving, `timesteps` int64 [B], and `cond` whatever it wants. The teacher, `teacher(sample, timesteps, cond, uncond)`,
returns both of its predictions, so that it may make them in one batch. Nothing here knows a host or a model library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Student = Callable[[Tensor, Tensor, Any], Tensor]
Teacher = Callable[[Tensor, Tensor, Any, Any], tuple[Tensor, Tensor]]

TARGETS = (
    "to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2",
    "conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj",
)  # fmt: skip
"""Ends of the names of the UNet layers (diffusers' names) that the official LCM-LoRAs adapt."""


@dataclass(frozen=True)
class DistillConfig:
    """Parameters of a distillation; the defaults are the published ones for SD 1.5 (hop and grid: LCM, table of section 5).

    `grid_points`: length of the grid of start timesteps, which are 19, 39, ..., 999 for 50 points and 1000 `train_steps`.
    `hop`: least and greatest number of timesteps between start and end (the paper's k); the end is never below 0.
    `substeps`: least and greatest number of DDIM steps that the teacher takes for one hop.
    `guidance`: bounds of w, drawn evenly; the teacher's x0 is cond + w (cond - uncond), that is, CFG scale 1 + w.
    `loss`: "huber" (pseudo-Huber with constant `huber_c`) or "l2".
    `alpha` / `rank` scales the LoRA. `ema_decay` of the exported LoRA: 0 keeps the last weights, as the reference does.
    `sigma_data`, `timestep_scaling`: of the boundary scalings. `prediction_type`: "epsilon" or "v_prediction".
    """

    train_steps: int = 1000
    grid_points: int = 50
    hop: tuple[int, int] = (20, 20)
    substeps: tuple[int, int] = (1, 1)
    guidance: tuple[float, float] = (5.0, 15.0)
    loss: str = "huber"
    huber_c: float = 0.001
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    warmup: int = 0
    batch: int = 12
    steps: int = 1000
    rank: int = 64
    alpha: float = 8.0
    targets: tuple[str, ...] = TARGETS
    ema_decay: float = 0.0
    sigma_data: float = 0.5
    timestep_scaling: float = 10.0
    prediction_type: str = "epsilon"

    def __post_init__(self) -> None:
        for name in ("hop", "substeps", "guidance"):
            low, high = getattr(self, name)
            if low > high or (name != "guidance" and low < 1):
                raise ValueError(f"{name} must be (least, greatest){'' if name == 'guidance' else ' and at least 1'}, got {(low, high)}")
        if not 1 <= self.grid_points <= self.train_steps:
            raise ValueError(f"grid_points must be between 1 and train_steps ({self.train_steps}), got {self.grid_points}")
        if self.loss not in ("huber", "l2"):
            raise ValueError(f"loss must be 'huber' or 'l2', got {self.loss!r}")
        if self.prediction_type not in ("epsilon", "v_prediction"):
            raise ValueError(f"prediction_type must be 'epsilon' or 'v_prediction', got {self.prediction_type!r}")

    @classmethod
    def sdxl(cls) -> DistillConfig:
        """The published values for SDXL: as for SD 1.5, with w from 3."""
        return cls(guidance=(3.0, 15.0))

    @classmethod
    def small_model(cls, **changes: Any) -> DistillConfig:
        """For models of a few million parameters and minutes of training: long hops in few DDIM steps, mild guidance, a coarse Huber
        constant, a high learning rate and a small rank. The published hop of 20 shows no gain in that time."""
        small = cls(
            hop=(200, 240), substeps=(2, 3), guidance=(2.0, 4.0), huber_c=0.03, learning_rate=3e-3, betas=(0.9, 0.99),
            weight_decay=0.0, warmup=20, batch=24, rank=8, alpha=8.0, ema_decay=0.98,
        )  # fmt: skip
        return replace(small, **changes)

    @property
    def grid(self) -> Tensor:
        """Start timesteps, ascending int64 [grid_points]."""
        return torch.arange(1, self.grid_points + 1) * (self.train_steps // self.grid_points) - 1


def boundary_scalings(timesteps: Tensor, config: DistillConfig) -> tuple[Tensor, Tensor]:
    """(c_skip, c_out) [B]: 1 and 0 at timestep 0, so that a consistency function leaves a clean sample as it is."""
    scaled = timesteps.double() * config.timestep_scaling
    total = scaled**2 + config.sigma_data**2
    return (config.sigma_data**2 / total).float(), (scaled / total.sqrt()).float()


def denoised_and_noise(prediction: Tensor, sample: Tensor, abar: Tensor, prediction_type: str) -> tuple[Tensor, Tensor]:
    """(x0, epsilon), each [B, ...], from a network's prediction; `abar` is alpha-bar broadcastable to `sample`."""
    signal, noise_level = abar.sqrt(), (1.0 - abar).sqrt()
    if prediction_type == "epsilon":
        return (sample - noise_level * prediction) / signal, prediction
    return signal * sample - noise_level * prediction, signal * prediction + noise_level * sample


def ddim_solve(
    teacher: Teacher,
    sample: Tensor,
    starts: Tensor,
    ends: Tensor,
    substeps: int,
    w: Tensor,
    cond: Any,
    uncond: Any,
    alphas_cumprod: Tensor,
    prediction_type: str = "epsilon",
) -> Tensor:
    """Takes `sample` [B, ...] from timesteps `starts` to `ends` (int64 [B]) in `substeps` guided DDIM steps; `w` [B]."""
    w = _column(w, sample)
    now = starts
    for index in range(substeps):
        after = starts + torch.div((ends - starts) * (index + 1), substeps, rounding_mode="trunc")
        abar, abar_after = (_column(alphas_cumprod[t], sample) for t in (now, after))
        with_cond, without = teacher(sample, now, cond, uncond)
        # x0 and epsilon are both affine in the prediction, so guiding the prediction guides the two of them alike.
        denoised, noise = denoised_and_noise(with_cond + w * (with_cond - without), sample, abar, prediction_type)
        sample = abar_after.sqrt() * denoised + (1.0 - abar_after).sqrt() * noise
        now = after
    return sample


def consistency(network: Student, sample: Tensor, timesteps: Tensor, cond: Any, alphas_cumprod: Tensor, config: DistillConfig) -> Tensor:
    """The consistency function f(x_t, t) = c_skip x_t + c_out x0(x_t, t), [B, ...]."""
    c_skip, c_out = (_column(scaling, sample) for scaling in boundary_scalings(timesteps, config))
    abar = _column(alphas_cumprod[timesteps], sample)
    denoised, _ = denoised_and_noise(network(sample, timesteps, cond), sample, abar, config.prediction_type)
    return c_skip * sample + c_out * denoised


def distance(predicted: Tensor, target: Tensor, config: DistillConfig) -> Tensor:
    """Mean loss between [B, ...] tensors: pseudo-Huber sqrt(d^2 + c^2) - c, or the mean squared difference."""
    difference = predicted.float() - target.float()
    if config.loss == "l2":
        return difference.square().mean()
    return ((difference.square() + config.huber_c**2).sqrt() - config.huber_c).mean()


def distillation_loss(
    student: Student, teacher: Teacher, latents: Tensor, cond: Any, uncond: Any, alphas_cumprod: Tensor, config: DistillConfig
) -> Tensor:
    """One step of Algorithm 1 on clean `latents` [B, ...]: draws timesteps, noise and w from torch's random state, returns the loss.

    The target comes from the student itself, without gradient, at the timestep where the teacher's solver ends.
    """
    count = len(latents)
    starts = config.grid[torch.randint(config.grid_points, (count,))].to(latents.device)
    ends = (starts - torch.randint(config.hop[0], config.hop[1] + 1, (count,)).to(starts)).clamp(min=0)
    substeps = int(torch.randint(config.substeps[0], config.substeps[1] + 1, ()))
    low, high = config.guidance
    w = (low + (high - low) * torch.rand(count)).to(latents)
    abar = _column(alphas_cumprod[starts], latents)
    sample = abar.sqrt() * latents + (1.0 - abar).sqrt() * torch.randn_like(latents)
    with torch.no_grad():
        earlier = ddim_solve(teacher, sample, starts, ends, substeps, w, cond, uncond, alphas_cumprod, config.prediction_type)
        target = consistency(student, earlier, ends, cond, alphas_cumprod, config)
    return distance(consistency(student, sample, starts, cond, alphas_cumprod, config), target, config)


def _column(values: Tensor, like: Tensor) -> Tensor:
    """[B] -> [B, 1, ...] of `like`'s dtype."""
    return values.to(like).reshape(-1, *[1] * (like.ndim - 1))


class LoraLayer(nn.Module):
    """up(down(x)) * alpha / rank beside one Linear or Conv2d; starts as zero."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        if isinstance(layer, nn.Conv2d):
            self.down: nn.Module = nn.Conv2d(
                layer.in_channels, rank, layer.kernel_size, layer.stride, layer.padding, layer.dilation, bias=False
            )
            self.up: nn.Module = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        else:
            self.down = nn.Linear(layer.in_features, rank, bias=False)
            self.up = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.normal_(self.down.weight, std=1.0 / rank)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x)) * self.scale


class LoraAdapter(nn.Module):
    """A LoRA on every target layer of `unet`, through forward hooks: the UNet's own weights and names stay as they are.

    Raises ValueError when no layer of `unet` is a target. `remove()` takes the hooks off again.
    """

    def __init__(self, unet: nn.Module, rank: int, alpha: float, targets: tuple[str, ...] = TARGETS) -> None:
        super().__init__()
        self.rank, self.alpha, self.enabled = rank, alpha, True
        self.layers = nn.ModuleDict()
        self._hooks = []
        for name, layer in unet.named_modules():
            is_target = any(name == target or name.endswith(f".{target}") for target in targets)
            if is_target and isinstance(layer, nn.Linear | nn.Conv2d):
                key = kohya_name(name)
                self.layers[key] = LoraLayer(layer, rank, alpha)
                self._hooks.append(layer.register_forward_hook(self._hook(key)))
        if not self._hooks:
            raise ValueError("no layer of this network is a LoRA target")

    def _hook(self, key: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        lora = self.layers[key]

        def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return output + lora(inputs[0]) if self.enabled else output

        return add

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Inside, the UNet behaves as if it had no LoRA: that is the teacher."""
        before, self.enabled = self.enabled, False
        try:
            yield
        finally:
            self.enabled = before

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def kohya_state(self, dtype: torch.dtype = torch.float16) -> dict[str, Tensor]:
        """Weights under the key names of the official LCM-LoRA files."""
        state: dict[str, Tensor] = {}
        for key, layer in self.layers.items():
            state[f"{key}.lora_down.weight"] = layer.down.weight.detach().to(dtype).contiguous()
            state[f"{key}.lora_up.weight"] = layer.up.weight.detach().to(dtype).contiguous()
            state[f"{key}.alpha"] = torch.tensor(self.alpha, dtype=dtype)
        return state

    @torch.no_grad()
    def load_kohya_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes weights from `kohya_state` or a file. ValueError when keys are missing, left over, or of another rank or alpha."""
        expected = set(self.kohya_state())
        if expected != set(state):
            raise ValueError(f"{len(expected - set(state))} keys are missing and {len(set(state) - expected)} are unknown")
        for key, layer in self.layers.items():
            down, up, alpha = (state[f"{key}.{part}"] for part in ("lora_down.weight", "lora_up.weight", "alpha"))
            if down.shape != layer.down.weight.shape or up.shape != layer.up.weight.shape:
                raise ValueError(f"{key} has the shapes {list(down.shape)} and {list(up.shape)}, not those of rank {self.rank}")
            layer.down.weight.copy_(down)
            layer.up.weight.copy_(up)
            layer.scale = float(alpha) / self.rank


def kohya_name(name: str) -> str:
    """The name that kohya's LoRA files give a layer, from its diffusers name; "mid_block.proj_in" is "lora_unet_mid_block_proj_in"."""
    return "lora_unet_" + name.replace(".", "_")


def save_lora(adapter: LoraAdapter, path: str | Path, metadata: Mapping[str, str]) -> None:
    """Writes the LoRA as fp16 safetensors; `metadata` are plain strings that say how it was made. The file appears whole or not at all."""
    from safetensors.torch import save_file

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file(adapter.kohya_state(), partial, metadata={"format": "pt", **metadata})
    partial.replace(path)
