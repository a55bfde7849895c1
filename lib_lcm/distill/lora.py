"""The LoRA that is trained: beside the layers of any UNet with diffusers' names, and as a file in kohya's
format.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from lib_lcm.distill.config import TARGETS, DistillConfig
from lib_lcm.lora.file import DISTILLATION_METADATA


class LoraLayer(nn.Module):
    """up(down(x)) * alpha / rank beside one Linear or Conv2d; starts as zero."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.down: nn.Linear | nn.Conv2d
        self.up: nn.Linear | nn.Conv2d
        if isinstance(layer, nn.Conv2d):
            taken = {name: getattr(layer, name) for name in ("kernel_size", "stride", "padding", "dilation")}
            self.down = nn.Conv2d(layer.in_channels, rank, bias=False, **taken)
            self.up = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        else:
            self.down = nn.Linear(layer.in_features, rank, bias=False)
            self.up = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.normal_(self.down.weight, std=1.0 / rank)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.up(self.down(x))
        return changed * self.scale


class LoraAdapter(nn.Module):
    """A LoRA on every target layer of `unet`, through forward hooks: the UNet's own weights and names stay as
    they are.

    `targets` are ends of layer names. Raises ValueError when no layer of `unet` is a target. `remove()` takes
    the hooks off again.
    """

    def __init__(self, unet: nn.Module, rank: int, alpha: float, targets: tuple[str, ...] = TARGETS) -> None:
        super().__init__()
        self.rank, self.alpha, self.enabled = rank, alpha, True
        self.layers = nn.ModuleDict()
        self._hooks = []
        for name, layer in unet.named_modules():
            is_target = any(f".{name}".endswith(f".{target}") for target in targets)
            if is_target and isinstance(layer, nn.Linear | nn.Conv2d):
                key = kohya_name(name)
                self.layers[key] = LoraLayer(layer, rank, alpha).to(layer.weight.device)
                self._hooks.append(layer.register_forward_hook(self._hook(key)))
        if not self._hooks:
            raise ValueError("no layer of this network is a LoRA target")

    @classmethod
    def of_file(cls, unet: nn.Module, path: Path) -> LoraAdapter:
        """A LoRA in kohya's names on the layers of `unet` that it is for, off. Raises OSError, ValueError."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            state = load_file(path)
        except SafetensorError as error:
            raise ValueError(str(error)) from None
        downs = {
            key.partition(".lora_down.")[0]: tensor for key, tensor in state.items() if ".lora_down." in key
        }
        names = tuple(name for name, _ in unet.named_modules() if kohya_name(name) in downs)
        rank = next((len(tensor) for tensor in downs.values()), 1)
        adapter = cls(unet, rank, float(rank), names)
        adapter.enabled = False
        adapter.load_kohya_state(state)
        return adapter

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

    def _named_layers(self) -> Iterator[tuple[str, LoraLayer]]:
        for key, layer in self.layers.items():
            assert isinstance(layer, LoraLayer)
            yield key, layer

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def kohya_state(self, dtype: torch.dtype = torch.float16) -> dict[str, Tensor]:
        """Weights under the key names of the official LCM-LoRA files."""
        state: dict[str, Tensor] = {}
        for key, layer in self._named_layers():
            state[f"{key}.lora_down.weight"] = layer.down.weight.detach().to(dtype).contiguous()
            state[f"{key}.lora_up.weight"] = layer.up.weight.detach().to(dtype).contiguous()
            state[f"{key}.alpha"] = torch.tensor(self.alpha, dtype=dtype)
        return state

    @torch.no_grad()
    def load_kohya_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes weights from `kohya_state` or a file. ValueError when keys are missing, left over, or of
        another rank or alpha.
        """
        expected = set(self.kohya_state())
        if expected != set(state):
            raise ValueError(
                f"{len(expected - set(state))} keys are missing and {len(set(state) - expected)} are unknown"
            )
        for key, layer in self._named_layers():
            down, up, alpha = (
                state[f"{key}.{part}"] for part in ("lora_down.weight", "lora_up.weight", "alpha")
            )
            if down.shape != layer.down.weight.shape or up.shape != layer.up.weight.shape:
                raise ValueError(
                    f"{key} has the shapes {list(down.shape)} and {list(up.shape)}, not those of rank"
                    f" {self.rank}"
                )
            layer.down.weight.copy_(down)
            layer.up.weight.copy_(up)
            layer.scale = float(alpha) / self.rank


def kohya_name(name: str) -> str:
    """The name that kohya's LoRA files give a layer, from its diffusers name; "mid_block.proj_in" is
    "lora_unet_mid_block_proj_in".
    """
    return "lora_unet_" + name.replace(".", "_")


def lora_metadata(
    config: DistillConfig, *, base_model_sha256: str, base_model: str, steps: int, description: str
) -> dict[str, str]:
    """What a file says about how it was made: the model it was distilled from, every hyper-parameter, and the
    steps really taken.

    The entry of `DISTILLATION_METADATA` is what `inspect_lora` knows our LCM-LoRAs by. The list of target
    layers is left out: the file's own keys say it. "method" is only there where it is not LCM.
    """
    settings = {name: value for name, value in asdict(config).items() if name not in ("targets", "method")}
    if config.method != "lcm":
        settings["method"] = config.label
    base = {"base_model": base_model, "base_model_sha256": base_model_sha256}
    made = {**settings, "planned_steps": config.steps, "steps": steps, **base}
    return {"description": description, DISTILLATION_METADATA: json.dumps(made)}


def save_lora(adapter: LoraAdapter, path: str | Path, metadata: Mapping[str, str]) -> None:
    """Writes the LoRA as fp16 safetensors; `metadata` are plain strings that say how it was made. The file
    appears whole or not at all.
    """
    from safetensors.torch import save_file

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file(adapter.kohya_state(), partial, metadata={"format": "pt", **metadata})
    partial.replace(path)
