"""The WebUI's LoRA machinery: which files it knows, how it is given one, and whether that took hold."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path

import torch

import modules.extra_networks as extra_networks  # so that the error names it on a WebUI from before it
from lib_lcm.options import shown_number
from lib_lcm.webui.host import server
from lib_lcm.webui.host.replaced import Replaced
from modules import shared


def lora_dirs() -> list[Path]:
    """The folders in which this WebUI looks for LoRAs."""
    names = ("lora_dir", "lyco_dir_backcompat", "lyco_dir")
    given = [getattr(shared.cmd_opts, name, None) for name in names]
    given += getattr(shared.cmd_opts, "lora_dirs", None) or []  # those of another WebUI [neo]
    folders = dict.fromkeys(Path(folder) for folder in given if folder)
    return [folder for folder in folders if folder.is_dir()]


def _networks():
    """The module of the built-in LoRA extension, which is imported under a top-level name; None where it is
    disabled.
    """
    return sys.modules.get("networks")


def path_of(name: str) -> Path | None:
    """The file that a tag's name means to the host's LoRA machinery, or None."""
    networks = _networks()
    if networks is None:
        return None
    if name.lower() in networks.forbidden_network_aliases:  # several files have it as their alias
        entry = networks.available_networks.get(name)
    else:
        entry = networks.available_network_aliases.get(name)
    return None if entry is None else Path(entry.filename)


def is_there(name: str) -> bool:
    """Whether the file that a tag's name means exists: the host may have listed one that is gone since."""
    path = path_of(name)
    return path is not None and path.is_file()


@contextmanager
def reachable(path: Path, name: str):
    """While inside, the host's LoRA machinery finds the file under the name that this gives; None where there
    is no machinery.

    The host lists files by their names without folders, so of two with the same name it knows one. The other
    gets an entry of its own under `name`, for as long as this lasts.
    """
    networks = _networks()
    if networks is None:
        yield None
        return
    listed = _listed_name(networks, path)
    if listed is None:  # dropped into the folder since the host last looked
        networks.list_available_networks()
        listed = _listed_name(networks, path)
    if listed == name:
        yield listed
        return
    aliases = networks.available_network_aliases
    taken = {*aliases, *networks.forbidden_network_aliases}
    name = next(free for free in (name, path.name, str(path)) if taken.isdisjoint((free, free.lower())))
    by_hash = dict(networks.available_network_hash_lookup)
    # the class is in a module of its own, which the hosts' networks.py imports
    entry = getattr(networks, "network", networks).NetworkOnDisk(name, str(path))
    look_again = networks.list_available_networks

    def look_again_and_keep():
        look_again()
        aliases[name] = entry

    aliases[name] = entry
    networks.list_available_networks = (
        look_again_and_keep  # it empties the list, and is called for another tag's unknown name
    )
    try:
        yield name
    finally:
        networks.list_available_networks = look_again
        aliases.pop(name, None)
        for key in [key for key, value in networks.available_network_hash_lookup.items() if value is entry]:
            if key in by_hash:
                networks.available_network_hash_lookup[key] = by_hash[key]
            else:
                del networks.available_network_hash_lookup[key]


def _listed_name(networks, path: Path) -> str | None:
    """The name under which the host knows this file and, whichever way it looks names up, no other."""
    entry = networks.available_networks.get(path.stem)
    same = entry is not None and networks.available_network_aliases.get(path.stem) is entry
    return path.stem if same and _canonical(entry.filename) == _canonical(path) else None


def _canonical(path) -> Path:
    return Path(path).resolve()


def tag_params(name: str, weight: float, replaced: list, added: str | None):
    """The host's parameters of one LoRA tag, as if parsed; the name may hold what a tag cannot (":", "=",
    ">").

    `replaced` is what `replaced_by` gives back, pairs of a tag and the host's parameters of it; what the last
    one says beyond name and weight (block weights, start and stop) is kept. `added` is the LoRA of the
    setting "Add network to prompt" where this tag stands for it: the host adds that one unless a tag's first
    item is its name, while what it loads is the first positional one.
    """
    typed = replaced[-1][1] if replaced else None
    positional = [name, *(list(typed.positional[1:]) if typed is not None else [])]
    named = dict(typed.named) if typed is not None else {}
    if len(positional) == 1 and not {"te", "unet"} & named.keys():
        positional.append(shown_number(weight))
    values = [*positional, *(f"{key}={value}" for key, value in named.items())]
    params = extra_networks.ExtraNetworkParams(items=values if added in (None, name) else [added, *values])
    params.positional, params.named = positional, named
    params.lcm_replaced = replaced
    return params


def replaced_by(params) -> list | None:
    """What `tag_params` was given as `replaced`; None for parameters that are not from there."""
    return getattr(params, "lcm_replaced", None)


def are_own_tags(p, tags) -> bool:
    """Whether tags are those of a prompt of this generation; the host also activates none at all while it
    loads a model.
    """
    return tags is not None and any(
        tags is getattr(p, name, None) for name in ("extra_network_data", "hr_extra_network_data")
    )


def added_network() -> str | None:
    """The LoRA of the WebUI's setting "Add network to prompt"."""
    name = server.setting("sd_lora", None)
    return None if name in (None, "", "None") else name


_activation = Replaced(extra_networks, "activate")


def wrap_activate(replacement) -> None:
    """The host's activation of networks becomes `replacement(host's own, p, tags)`. Doing it again changes
    nothing.
    """

    def activate(original, p, extra_network_data):
        with _counting():
            return replacement(original, p, extra_network_data)

    _activation.replace(activate)


def unwrap_activate() -> None:
    """The host's own activation of networks again."""
    _activation.restore()


_fitting: dict[Path, int] = {}
"""To how many layers a file was applied, when the host last read it [neo]."""


@contextmanager
def _counting():
    """While inside, what the host applies is counted, where it does not tell afterwards which layer is of
    which file [neo].
    """
    networks = _networks()
    original = getattr(networks, "load_lora_for_models", None)
    if original is None:
        yield
        return

    def counted(model, clip, *args, **kwargs):
        before = [_patches(one) for one in (model, clip)]
        applied = original(model, clip, *args, **kwargs)
        if "filename" in kwargs:
            both = zip(applied, before, strict=True)
            _fitting[_canonical(kwargs["filename"])] = sum(_fits(one, old) for one, old in both)
        return applied

    networks.load_lora_for_models = counted
    try:
        yield
    finally:
        networks.load_lora_for_models = original


def _patcher(one):
    """The patcher of a UNet, or of the text encoders."""
    return getattr(one, "patcher", one)


def _patches(one) -> dict[object, int]:
    """Layer -> how many LoRAs are applied to it."""
    return {key: len(patches) for key, patches in getattr(_patcher(one), "patches", {}).items()}


def _fits(one, before: dict[object, int]) -> int:
    """How many layers have got a patch since that has as many weights as the layer: of another, the host says
    when it computes the layer, and goes on without it.
    """
    patcher, found = _patcher(one), 0
    for key, patches in getattr(patcher, "patches", {}).items():
        for patch in patches[before.get(key, 0) :]:
            found += _is_right_size(patch[1], patcher.model, key)
    return found


def _is_right_size(adapter, model, key) -> bool:
    """Whether a LoRA's product has as many weights as the layer; True where that cannot be told: of other
    kinds of adapters, parts of a layer, and layers that are stored packed.
    """
    if getattr(adapter, "name", None) != "lora" or not isinstance(key, str):
        return True
    up, down, _, mid, *_ = adapter.weights
    try:
        layer = attrgetter(key)(model)
    except AttributeError:
        return True
    if mid is not None or not layer.is_floating_point():
        return True
    return up.shape[0] * down[0].numel() == layer.numel()


def is_loaded(path: Path) -> bool:
    """Whether the host reports the file among the networks that are applied right now."""
    return bool(_loaded_networks(path))


def _loaded_networks(path: Path) -> list:
    networks = _networks()
    wanted = _canonical(path)
    loaded = [] if networks is None else networks.loaded_networks
    return [net for net in loaded if _canonical(net.network_on_disk.filename) == wanted]


def layers_matched(model, path: Path) -> int | None:
    """To how many layers of the model the host applies the loaded file; None where it does not tell."""
    # as they will be when the networks are active; until the activation is over, `forge_objects` are those
    # without networks
    forge = getattr(model, "forge_objects_after_applying_lora", None)
    if forge is None:  # layers by name [a1111]
        return max((len(net.modules) for net in _loaded_networks(path)), default=0)
    patchers = [forge.unet, getattr(forge.clip, "patcher", None)]
    if hasattr(forge.unet, "lora_patches"):  # (file, weight, ...) -> patches by layer [forge]
        wanted = _canonical(path)
        every = [item for patcher in patchers for item in getattr(patcher, "lora_patches", {}).items()]
        return sum(len(patches) for key, patches in every if _canonical(key[0]) == wanted)
    fitting = _fitting.get(_canonical(path))
    if fitting is not None:
        return fitting
    # by layer, whichever file they are of [reforge]
    if hasattr(forge.unet, "patches") and not forge.unet.patches:
        return 0
    return None


def layers_failed(path: Path) -> int:
    """Into how many of the layers that the host has computed since the networks were activated it could not
    put the loaded file.

    0 where the host does not count them: it fails by itself [forge], or writes to its log [reforge].
    """
    # a layer's weights are changed when it is first computed; where this fails, mostly for want of memory,
    # the host goes on with the layer as it was [a1111]
    errors = getattr(getattr(_networks(), "extra_network_lora", None), "errors", {})
    return sum(errors.get(name, 0) for name in {net.name for net in _loaded_networks(path)})


def forget(model) -> None:
    """Makes the host read LoRA files again: no network is loaded then, and none is remembered."""
    networks = _networks()
    if networks is None:
        return
    networks.load_networks([], [], [])
    _fitting.clear()
    getattr(networks, "networks_in_memory", {}).clear()  # none [neo]
    cached = getattr(networks, "load_lora_state_dict", None)  # by the file's name alone [forge reforge]
    if hasattr(cached, "cache_clear"):
        cached.cache_clear()
    forge = getattr(model, "forge_objects", None)
    for patcher in (forge.unet, getattr(forge.clip, "patcher", None)) if forge is not None else ():
        loader = getattr(patcher, "lora_loader", None)
        # names and weights, which it compares to know whether they are in the model's weights [forge]
        if hasattr(loader, "loaded_hash"):
            loader.loaded_hash = "read again"
    # the same for each layer [a1111]
    for module in model.modules() if isinstance(model, torch.nn.Module) else ():
        if getattr(module, "network_current_names", ()):
            module.network_current_names = ("read again",)


def forget_deleted(model, names: list[str]) -> None:
    """The same where the host lists a file under one of these names that was deleted since."""
    # it would go on with what it remembers of that file, which may be a second LCM-LoRA [forge reforge]
    if any(path_of(name) is not None and not is_there(name) for name in names):
        forget(model)


def short_hashes() -> dict[Path, str]:
    """The first 12 digits of the host's own hashes of LoRA files, which cover the tensors alone, as far as it
    has them; it computes a file's when that is first used.
    """
    networks = _networks()
    entries = [] if networks is None else list(networks.available_networks.values())
    return {Path(entry.filename): entry.shorthash for entry in entries if entry.shorthash}


def file_sha256(path: Path) -> str | None:
    """SHA-256 of a file through the host's cache of hashes, which outlives the WebUI; None where hashing is
    switched off.
    """
    from modules import hashes

    # by its whole path: several official files have one name
    return hashes.sha256(str(path), f"lora/{path}", use_addnet_hash=False)
