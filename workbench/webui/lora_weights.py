"""LoRA arithmetic: which tensors belong to which layer, and adding them to the weights so that it can be
undone exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

UNET_PREFIX = "lora_unet_"
TEXT_PREFIXES = ("lora_te_", "lora_te1_")


@dataclass
class LayerDelta:
    """What a LoRA adds to one layer: up·down·alpha/rank."""

    name = "lora"  # of the kind, beside DoRA and others

    layer: str
    part: str  # "unet" or "te"
    down: torch.Tensor
    up: torch.Tensor
    alpha: float | None

    @property
    def weights(self) -> tuple:
        """As Forge Neo's patches have them: up, down, alpha, and what other kinds have beside."""
        return self.up, self.down, self.alpha, None, None, None

    def delta(self, weight: torch.Tensor) -> torch.Tensor:
        """The addition in the shape of `weight`. Raises RuntimeError if it does not fit."""
        rank = self.down.shape[0]
        scale = 1.0 if self.alpha is None else self.alpha / rank
        up, down = self.up.to(weight.dtype), self.down.to(weight.dtype)
        return (up.flatten(1) @ down.flatten(1)).reshape(weight.shape) * scale


def layers_of(small) -> dict[str, tuple[str, nn.Module]]:
    """kohya layer name -> (part, module), for every layer with a weight matrix."""
    layers = {}
    for part, root, prefixes in (
        ("unet", small.unet, (UNET_PREFIX,)),
        ("te", small.text_encoder, TEXT_PREFIXES),
    ):
        for name, module in root.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                for prefix in prefixes:
                    layers[prefix + name.removeprefix("clip.").replace(".", "_")] = (part, module)
    return layers


def match_layers(state_dict, small) -> tuple[dict[str, LayerDelta], list[str]]:
    """Sort a kohya-format state dict by layer. Returns (layer name -> LayerDelta, keys that match no
    layer).
    """
    layers = layers_of(small)
    grouped: dict[str, dict[str, torch.Tensor]] = {}
    unmatched = []
    for key, tensor in state_dict.items():
        layer, _, part = key.partition(".")
        if layer in layers:
            grouped.setdefault(layer, {})[part] = tensor
        else:
            unmatched.append(key)
    deltas = {}
    for layer, parts in grouped.items():
        if "lora_up.weight" not in parts or "lora_down.weight" not in parts:
            unmatched += [f"{layer}.{part}" for part in parts]
            continue
        alpha = parts.get("alpha")
        deltas[layer] = LayerDelta(
            layer,
            layers[layer][0],
            parts["lora_down.weight"],
            parts["lora_up.weight"],
            None if alpha is None else float(alpha),
        )
    return deltas, unmatched


def _backups(sd_model) -> dict[str, torch.Tensor]:
    if not hasattr(sd_model, "weights_without_networks"):
        sd_model.weights_without_networks = {}
    return sd_model.weights_without_networks


def restore(sd_model) -> None:
    """Copy the original weights back: bit-identical to never having added anything."""
    layers = layers_of(sd_model.small)
    backups = _backups(sd_model)
    with torch.no_grad():
        for layer, weight in backups.items():
            layers[layer][1].weight.copy_(weight)
    backups.clear()


def add(sd_model, deltas: Iterable[tuple[LayerDelta, float]]) -> int:
    """Add these, each at its weight, to the weights of their layers; returns how many did not fit."""
    layers = layers_of(sd_model.small)
    backups = _backups(sd_model)
    failed = 0
    with torch.no_grad():
        for delta, multiplier in deltas:
            target = layers.get(delta.layer)
            try:
                if target is None:
                    raise RuntimeError(f"the model has no layer {delta.layer}")
                addition = delta.delta(target[1].weight) * multiplier
            except RuntimeError:
                failed += 1
                continue
            backups.setdefault(delta.layer, target[1].weight.clone())
            target[1].weight.add_(addition)
    return failed
