"""LoRAs as Forge Neo has them: patches of layers, without a file's name, read whenever other ones are asked
for. Part of the module `networks` there.
"""

from __future__ import annotations

import logging
import os
from itertools import chain

import networks

from modules import sd_models, shared
from workbench.webui import lora_weights

log = logging.getLogger(__name__)

UNMATCHED_LIMIT = 0.5
"""A LoRA is left out when more than this part of its keys matches nothing."""


def load_lora_for_models(
    model, clip, lora, strength_model, strength_clip, filename="default", online_mode=False
):
    """UNet and text encoders with the patches of one more LoRA, `lora` by key; as they were where too many
    keys match no layer.
    """
    deltas, unmatched = lora_weights.match_layers(lora, shared.sd_model.small)
    if len(unmatched) > len(lora) * UNMATCHED_LIMIT:
        log.warning("LoRA mismatch: %s", filename)
        return model, clip
    model, clip = model.clone(), clip.clone()
    patchers = {"unet": (model, strength_model), "te": (clip.patcher, strength_clip)}
    layers = lora_weights.layers_of(shared.sd_model.small)
    for part, (patcher, strength) in patchers.items():
        keys = {module: f"{name}.weight" for name, module in patcher.model.named_modules()}
        for delta in deltas.values():
            if delta.part == part:
                patches = patcher.patches.setdefault(keys[layers[delta.layer][1]], [])
                patches.append((strength, delta, 1.0, None, None, online_mode))
    return model, clip


def load_networks(names, te_multipliers=None, unet_multipliers=None):
    """Make these the loaded networks; where they are others than before, read their files into patches."""
    sd_model = shared.sd_model
    networks.loaded_networks.clear()
    networks.look_again_for_missing(names)
    found = [networks.find_network(name) for name in names]
    for name, network_on_disk in zip(names, found, strict=True):
        if network_on_disk is None or not os.path.exists(network_on_disk.filename):
            log.error("Failed to load LoRA: %s", name)
            continue
        net = networks.Network(name, network_on_disk)
        net.mentioned_name = name
        network_on_disk.read_hash()
        networks.loaded_networks.append(net)
    wanted = [
        (network_on_disk.filename, unet, te)
        for network_on_disk, unet, te in zip(found, unet_multipliers, te_multipliers, strict=True)
        if network_on_disk is not None
    ]
    if sd_model.current_lora_hash == str(wanted):
        return
    sd_model.current_lora_hash = str(wanted)
    objects, original = sd_model.forge_objects, sd_model.forge_objects_original
    objects.unet, objects.clip = original.unet, original.clip
    for filename, unet, te in wanted:
        lora = sd_models.read_state_dict(filename)
        # by that module's name, where an extension may have put another
        objects.unet, objects.clip = networks.load_lora_for_models(
            objects.unet, objects.clip, lora, unet, te, filename=filename
        )
    sd_model.forge_objects_after_applying_lora = objects.shallow_copy()


def apply(sd_model) -> None:
    """Give a model's weights exactly its patches."""
    objects = sd_model.forge_objects_after_applying_lora
    patchers = objects.unet, objects.clip.patcher
    if getattr(sd_model, "network_current_names", ()) == patchers:
        return
    lora_weights.restore(sd_model)
    every = chain.from_iterable(patches for patcher in patchers for patches in patcher.patches.values())
    failed = lora_weights.add(sd_model, [(delta, strength) for strength, delta, *_ in every])
    if failed:
        log.error("%d layers of LoRAs have another size than the model's", failed)
    sd_model.network_current_names = patchers
