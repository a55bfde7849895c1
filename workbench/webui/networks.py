"""LoRA: the files on disk, and adding them to the model's weights. The module name is that of the WebUI's
built-in extension.
"""

from __future__ import annotations

import enum
import logging
import os
import re
from itertools import chain
from pathlib import Path

from modules import errors, extra_networks, hashes, script_callbacks, sd_hijack, sd_models, shared
from modules.cache import cached_data_for_file
from workbench.webui import lora_weights, profiles

log = logging.getLogger(__name__)

available_networks: dict[str, NetworkOnDisk] = {}
available_network_aliases: dict[str, NetworkOnDisk] = {}
available_network_hash_lookup: dict[str, NetworkOnDisk] = {}
forbidden_network_aliases: dict[str, int] = {}
loaded_networks: list[Network] = []
networks_in_memory: dict[str, Network] = {}
loaded_bundle_embeddings: dict = {}
extra_network_lora = None

FORGE_UNMATCHED_LIMIT = 12
"""Forge leaves a LoRA out when more keys than this match nothing."""


class SdVersion(enum.Enum):
    Unknown = 1
    SD1 = 2
    SD2 = 3
    SDXL = 4


class NetworkOnDisk:
    """A LoRA file: `name` is the file's, `alias` may come from its metadata, `hash` is None until it is
    known.
    """

    def __init__(self, name, filename):
        self.name = name
        self.filename = filename
        self.is_safetensors = Path(filename).suffix.lower() == ".safetensors"
        self.metadata = {}
        if self.is_safetensors:
            try:
                self.metadata = cached_data_for_file(
                    "safetensors-metadata",
                    f"lora/{filename}",
                    filename,
                    lambda: sd_models.read_metadata_from_safetensors(filename),
                )
            except (
                OSError,
                ValueError,
                MemoryError,
                OverflowError,
            ) as e:  # of a file that is none, the first bytes are any length
                errors.display(e, f"reading lora {filename}")
        self.alias = self.metadata.get("ss_output_name", self.name)
        known = self.metadata.get("sshs_model_hash") or hashes.sha256_from_cache(
            filename, f"lora/{name}", self.is_safetensors
        )
        self.set_hash(known or "")
        self.sd_version = self.detect_version()

    def detect_version(self):
        if str(self.metadata.get("ss_base_model_version", "")).startswith("sdxl_"):
            return SdVersion.SDXL
        if str(self.metadata.get("ss_v2", "")) == "True":
            return SdVersion.SD2
        return SdVersion.SD1 if self.metadata else SdVersion.Unknown

    def set_hash(self, v):
        self.hash = v
        self.shorthash = v[:12]
        if self.shorthash:
            available_network_hash_lookup[self.shorthash] = self

    def read_hash(self):
        if not self.hash:
            self.set_hash(
                hashes.sha256(self.filename, f"lora/{self.name}", use_addnet_hash=self.is_safetensors) or ""
            )

    def get_alias(self):
        prefers_filename = (
            shared.opts.lora_preferred_name == "Filename" or self.alias.lower() in forbidden_network_aliases
        )
        return self.name if prefers_filename else self.alias


class Network:
    """A LoRA in memory with the weights it is applied at; `modules` is keyed by layer name."""

    def __init__(self, name, network_on_disk):
        self.name = name
        self.network_on_disk = network_on_disk
        self.te_multiplier = 1.0
        self.unet_multiplier = 1.0
        self.dyn_dim = None
        self.modules = {}
        self.bundle_embeddings = {}
        self.key = None
        self.mtime = None
        self.mentioned_name = None

    def deltas(self):
        """What it adds to each layer, and at which weight."""
        for delta in self.modules.values():
            yield delta, self.unet_multiplier if delta.part == "unet" else self.te_multiplier


def list_available_networks():
    """Look for LoRA files again."""
    available_networks.clear()
    available_network_aliases.clear()
    available_network_hash_lookup.clear()
    forbidden_network_aliases.clear()
    forbidden_network_aliases.update({"none": 1, "Addams": 1})
    _register_files()


def _register_files(names=None):
    folders = [shared.cmd_opts.lora_dir, *getattr(shared.cmd_opts, "lora_dirs", ())]
    kinds = [".pt", ".ckpt", ".safetensors"]
    for filename in chain.from_iterable(shared.walk_files(folder, kinds) for folder in folders):
        name = Path(filename).stem
        if names and name not in names:
            continue
        try:
            entry = NetworkOnDisk(name, filename)
        except OSError:
            errors.report(f"Failed to read network {name} from {filename}", exc_info=True)
            continue
        available_networks[name] = entry
        if entry.alias in available_network_aliases:
            forbidden_network_aliases[entry.alias.lower()] = 1
        available_network_aliases[name] = entry
        available_network_aliases[entry.alias] = entry


def update_available_networks_by_names(names):
    _register_files(names)


def find_network(name):
    """The file that a prompt means by `name`, or None. An alias that several files have is not one."""
    if name.lower() in forbidden_network_aliases:
        return available_networks.get(name)
    return available_network_aliases.get(name)


def load_network(name, network_on_disk):
    """Read a LoRA file for the current model. Keys that match no layer are logged, as the WebUI does."""
    net = Network(name, network_on_disk)
    net.mtime = os.path.getmtime(network_on_disk.filename)
    state_dict = sd_models.read_state_dict(network_on_disk.filename)
    net.modules, unmatched = lora_weights.match_layers(state_dict, shared.sd_model.small)
    if unmatched:
        log.warning(
            "Network %s: %d keys match no layer of the loaded model, for example %s",
            name,
            len(unmatched),
            unmatched[0],
        )
    if profiles.active.forge and len(unmatched) > FORGE_UNMATCHED_LIMIT:
        print(f"[LORA] LoRA version mismatch: {network_on_disk.filename}")
        net.modules = {}
    return net


def _network_for(name, network_on_disk, still_loaded):
    """The network from memory if it was read for this model and the file has not changed, else from disk;
    None if it cannot be read.

    Raises FileNotFoundError for one from memory whose file is gone, which ends the activation of all, as in
    the WebUI.
    """
    key = f"{name}|{shared.sd_model.filename}"
    net = networks_in_memory.get(key) or still_loaded.get(key)
    # it reports that as any other it cannot read
    gone_in_forge = profiles.active.forge and not os.path.exists(network_on_disk.filename)
    if net is None or gone_in_forge or os.path.getmtime(network_on_disk.filename) > net.mtime:
        try:
            net = load_network(name, network_on_disk)
        except Exception as error:  # the WebUI reports a file that it cannot read and goes on without it
            errors.display(error, f"loading network {network_on_disk.filename}")
            return None
        net.key = key
    networks_in_memory[key] = net
    return net


def look_again_for_missing(names):
    if any(find_network(name) is None for name in names):
        update_available_networks_by_names([name for name in names if find_network(name) is None])
    if any(find_network(name) is None for name in names):
        list_available_networks()


def load_networks(names, te_multipliers=None, unet_multipliers=None, dyn_dims=None):
    """Make these the loaded networks. A name that is not found is told in the comments; what else happens is
    the profile's.
    """
    look_again_for_missing(names)
    missing = [name for name in names if find_network(name) is None]

    still_loaded = {net.key: net for net in loaded_networks}
    loaded_networks.clear()
    if missing and profiles.active.missing_lora_drops_all:
        raise FileNotFoundError(f"Lora not found: {', '.join(missing)}")
    for position, name in enumerate(names):
        network_on_disk = find_network(name)
        if network_on_disk is None:
            continue
        net = _network_for(name, network_on_disk, still_loaded)
        if net is None:
            continue
        net.mentioned_name = name
        network_on_disk.read_hash()
        net.te_multiplier = te_multipliers[position] if te_multipliers else 1.0
        net.unet_multiplier = unet_multipliers[position] if unet_multipliers else 1.0
        net.dyn_dim = dyn_dims[position] if dyn_dims else None
        loaded_networks.append(net)
    if profiles.active.repeated_lora_last_wins:
        loaded_networks[:] = {net.name: net for net in loaded_networks}.values()
    if profiles.active.forge:
        shared.sd_model.forge_objects.unet.lora_patches = {
            (net.network_on_disk.filename, net.unet_multiplier, 1.0, False): dict.fromkeys(net.modules, ())
            for net in loaded_networks
        }
    if missing:
        sd_hijack.model_hijack.comments.append(f"Lora not found: {', '.join(missing)}")
    purge_networks_from_memory()


def purge_networks_from_memory():
    while len(networks_in_memory) > shared.opts.lora_in_memory_limit:
        networks_in_memory.pop(next(iter(networks_in_memory)))


def apply_to(sd_model) -> None:
    """Give a model's weights exactly the loaded networks; without any, exactly its own weights back."""
    if profiles.active.loras_are_patches:
        lora_patches.apply(sd_model)
        return
    wanted = tuple((net.name, net.te_multiplier, net.unet_multiplier, net.mtime) for net in loaded_networks)
    # under the name by which A1111 remembers it for each layer, where extensions may change it
    if getattr(sd_model, "network_current_names", ()) == wanted:
        return
    lora_weights.restore(sd_model)
    for net in loaded_networks:
        failed = lora_weights.add(sd_model, net.deltas())
        if failed and extra_network_lora is not None:
            extra_network_lora.errors[net.name] = extra_network_lora.errors.get(net.name, 0) + failed
    sd_model.network_current_names = wanted


class ExtraNetworkLora(extra_networks.ExtraNetwork):
    """`<lora:name:weight>`, `<lora:name:text encoder weight:unet weight>`, `<lora:name:te=0.5:unet=1>`."""

    _not_in_infotext = str.maketrans("", "", ":,")

    def __init__(self):
        super().__init__("lora")
        self.errors: dict[str, int] = {}

    def activate(self, p, params_list):
        self.errors.clear()
        added = shared.opts.sd_lora
        if added in available_networks and not any(params.items[0] == added for params in params_list):
            weight = shared.opts.extra_networks_default_multiplier
            p.all_prompts = [f"{prompt}<lora:{added}:{weight}>" for prompt in p.all_prompts]
            params_list = [*params_list, extra_networks.ExtraNetworkParams(items=[added, weight])]
        names, te_multipliers, unet_multipliers, dyn_dims = [], [], [], []
        for params in params_list:
            positional = params.positional
            # a positional one has to be a number even where a named one counts instead
            te = float(positional[1]) if len(positional) > 1 else 1.0
            te = float(params.named.get("te", te))
            unet = float(positional[2]) if len(positional) > 2 else te
            unet = float(params.named.get("unet", unet))
            dyn = int(positional[3]) if len(positional) > 3 else None
            dyn = int(params.named["dyn"]) if "dyn" in params.named else dyn
            names.append(positional[0])
            te_multipliers.append(te)
            unet_multipliers.append(unet)
            dyn_dims.append(dyn)
        more = () if profiles.active.loras_are_patches else (dyn_dims,)
        load_networks(names, te_multipliers, unet_multipliers, *more)
        if shared.opts.lora_add_hashes_to_infotext:
            self._note_hashes(p)

    def _note_hashes(self, p):
        if not getattr(p, "is_hr_pass", False) or not hasattr(p, "lora_hashes"):
            p.lora_hashes = {}
        for net in loaded_networks:
            if net.network_on_disk.shorthash and net.mentioned_name:
                p.lora_hashes[net.mentioned_name.translate(self._not_in_infotext)] = (
                    net.network_on_disk.shorthash
                )
        if p.lora_hashes:
            p.extra_generation_params["Lora hashes"] = ", ".join(
                f"{name}: {value}" for name, value in p.lora_hashes.items()
            )

    def deactivate(self, p):
        if self.errors:
            p.comment(
                "Networks with errors: "
                + ", ".join(f"{name} ({count})" for name, count in self.errors.items())
            )
            self.errors.clear()


def _restore_names_from_hashes(infotext, params):
    """A pasted prompt names a LoRA as it is called here, where its hash is known."""
    listed = params.get("Lora hashes")
    if not listed:
        return
    known = {
        name.strip(): value.strip()
        for name, _, value in (entry.partition(":") for entry in listed.split(","))
    }

    def rename(match):
        found = available_network_hash_lookup.get(known.get(match.group(1), ""))
        return f"<lora:{found.get_alias()}:" if found else match.group(0)

    params["Prompt"] = re.sub(r"<lora:([^:]+):", rename, params["Prompt"])


def _add_routes(_, app):
    @app.get("/sdapi/v1/loras")
    async def get_loras():
        return [
            {"name": n.name, "alias": n.alias, "path": n.filename, "metadata": n.metadata}
            for n in available_networks.values()
        ]

    @app.post("/sdapi/v1/refresh-loras")
    async def refresh_loras():
        list_available_networks()


def register() -> None:
    """Register the network "lora" and its callbacks; after every (re)load of scripts."""
    global extra_network_lora
    extra_network_lora = ExtraNetworkLora()
    extra_networks.register_extra_network(extra_network_lora)
    if not profiles.active.forge:
        extra_networks.register_extra_network_alias(extra_network_lora, "lyco")
    script_callbacks.on_app_started(_add_routes)
    script_callbacks.on_infotext_pasted(_restore_names_from_hashes)
    list_available_networks()


if profiles.active.loras_are_patches:
    from workbench.webui import lora_patches
    from workbench.webui.lora_patches import load_lora_for_models, load_networks  # noqa: F401

    del networks_in_memory
