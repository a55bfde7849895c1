"""Checkpoints: which exist, which is chosen, and loading them."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from pathlib import Path

import torch

from modules import errors, hashes, script_callbacks, shared
from modules.paths_internal import models_path
from workbench.small_models import load_checkpoint
from workbench.webui import profiles
from workbench.webui.forge_model import FakeInitialModel
from workbench.webui.host_model import HostModel

model_dir = "Stable-diffusion"
model_path = str(Path(models_path) / model_dir)
checkpoints_list: dict[str, CheckpointInfo] = {}
checkpoint_aliases: dict[str, CheckpointInfo] = {}
checkpoint_alisases = checkpoint_aliases
checkpoints_loaded = {}
lcm_distiller = "workbench.distil"
"""By which command the extension distils these checkpoints."""

ZERO_TERMINAL_SNR = "Zero Terminal SNR"
LOWEST_ALPHA_BAR = 4.8973451890853435e-08
"""With it the noise level at the last timestep is 4518 instead of infinite."""

_CHECKSUM = re.compile(r"\s*\[[^]]+]\s*$")


class CheckpointInfo:
    """A checkpoint file and the names it goes by: `name` is relative to the folder, `title` has the hash once
    it is known.
    """

    def __init__(self, filename):
        path = Path(filename).absolute()
        folder = Path(shared.cmd_opts.ckpt_dir).absolute()
        self.filename = str(filename)
        self.name = str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name
        self.name_for_extra = path.stem
        self.model_name = str(Path(self.name).with_suffix("")).replace("/", "_").replace("\\", "_")
        self.is_safetensors = path.suffix.lower() == ".safetensors"
        self.metadata = read_metadata_from_safetensors(filename) if self.is_safetensors else {}
        self.hash = model_hash(filename)
        self.ids = [self.hash, self.model_name, self.name, self.name_for_extra, f"{self.name} [{self.hash}]"]
        self._set_sha256(hashes.sha256_from_cache(self.filename, f"checkpoint/{self.name}"))

    def _set_sha256(self, sha256):
        self.sha256 = sha256
        self.shorthash = sha256[:10] if sha256 else None
        suffix = f" [{self.shorthash}]" if sha256 else ""
        self.title = self.name + suffix
        self.short_title = self.name_for_extra + suffix
        names = [self.title, self.short_title, *([self.shorthash, sha256] if sha256 else [])]
        self.ids += [name for name in names if name not in self.ids]

    def register(self):
        checkpoints_list[self.title] = self
        checkpoint_aliases.update(dict.fromkeys(self.ids, self))

    def calculate_shorthash(self):
        """Compute the hash if need be; the title changes with it. Returns the short hash, None with
        `--no-hashing`.
        """
        if self.shorthash is None:
            sha256 = hashes.sha256(self.filename, f"checkpoint/{self.name}")
            if sha256 is None:
                return None
            old_title = self.title
            self._set_sha256(sha256)
            entries = [
                (self.title if title == old_title else title, info)
                for title, info in checkpoints_list.items()
            ]
            checkpoints_list.clear()
            checkpoints_list.update(entries)
            self.register()
        return self.shorthash


def model_hash(filename) -> str:
    """The WebUI's old hash, of 64 KiB in the middle of the file."""
    try:
        with open(filename, "rb") as file:
            file.seek(0x100000)
            return hashlib.sha256(file.read(0x10000)).hexdigest()[:8]
    except FileNotFoundError:
        return "NOFILE"


def read_metadata_from_safetensors(filename) -> dict:
    """The `__metadata__` of a file's header, with values that are JSON objects decoded."""
    with open(filename, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = file.read(size)
    if size <= 2 or not header.startswith(b"{"):
        raise ValueError(f"{filename} is not a safetensors file")
    metadata = json.loads(header).get("__metadata__", {})
    for key, value in metadata.items():
        if isinstance(value, str) and value.startswith("{"):
            with suppress(ValueError):
                metadata[key] = json.loads(value)
    return metadata


def read_state_dict(checkpoint_file, print_global_state=False, map_location=None):
    from safetensors.torch import load_file

    return load_file(checkpoint_file, device=map_location or "cpu")


def list_models():
    """Look for checkpoints again."""
    checkpoints_list.clear()
    checkpoint_aliases.clear()
    for filename in shared.walk_files(shared.cmd_opts.ckpt_dir, allowed_extensions=[".safetensors"]):
        try:
            CheckpointInfo(filename).register()
        except (OSError, ValueError) as e:
            errors.display(e, f"reading checkpoint {filename}")


def checkpoint_tiles(use_short=False):
    return [info.short_title if use_short else info.title for info in checkpoints_list.values()]


def get_closet_checkpoint_match(search_string):
    """The checkpoint that goes by this name, or whose title contains it with or without the hash; None if
    there is none.
    """
    if not search_string:
        return None
    if search_string in checkpoint_aliases:
        return checkpoint_aliases[search_string]
    for text in (search_string, _CHECKSUM.sub("", search_string)):
        found = [info for info in checkpoints_list.values() if text in info.title]
        if found:
            return min(found, key=lambda info: len(info.title))
    return None


def select_checkpoint():
    """The checkpoint of the settings, or the first one. Raises FileNotFoundError if there is none at all."""
    chosen = checkpoint_aliases.get(shared.opts.sd_model_checkpoint)
    if chosen is not None:
        return chosen
    if not checkpoints_list:
        raise FileNotFoundError(
            f"No checkpoint in {shared.cmd_opts.ckpt_dir}: put a workbench checkpoint (.safetensors) there."
        )
    return next(iter(checkpoints_list.values()))


class SkipWritingToConfig:
    """While entered, loading a checkpoint does not make it the chosen one (refiner, hires checkpoint)."""

    skip = False

    def __enter__(self):
        self._previous, SkipWritingToConfig.skip = SkipWritingToConfig.skip, True
        return self

    def __exit__(self, *exc_info):
        SkipWritingToConfig.skip = self._previous


class SdModelData:
    """Holds the loaded model, and the ones that were loaded before it and may be wanted again."""

    def __init__(self):
        self.sd_model = None
        self.loaded_sd_models = []
        self.was_loaded_at_least_once = False
        self.initial_model = FakeInitialModel() if profiles.active.fake_initial_model else None

    if profiles.active.forge:

        @property
        def forge_loading_parameters(self) -> dict:
            """What the next generation loads."""
            return {"checkpoint_info": select_checkpoint()}

    def get_sd_model(self):
        """The model. Loads it on access, except where the profile has a fake one before the first
        generation.
        """
        if self.sd_model is None and self.initial_model is not None:
            return self.initial_model
        if self.sd_model is None and not self.was_loaded_at_least_once:
            self.was_loaded_at_least_once = True
            load_model()
        return self.sd_model

    def set_sd_model(self, v):
        self.sd_model = v
        if v is None:
            return
        self.loaded_sd_models = [model for model in self.loaded_sd_models if model is not v]
        self.loaded_sd_models.insert(0, v)
        del self.loaded_sd_models[max(1, shared.opts.sd_checkpoints_limit) :]


model_data = SdModelData()


def load_model(checkpoint_info=None, already_loaded_state_dict=None):
    """Load a checkpoint and make it the current model. Raises ValueError for a file that is not a workbench
    checkpoint.
    """
    info = checkpoint_info or select_checkpoint()
    model = HostModel(load_checkpoint(info.filename, shared.device), info)
    _make_current(model, info)
    print(f"Loading weights [{model.sd_model_hash}] from {info.filename}")
    script_callbacks.model_loaded_callback(model)
    return model


def _make_current(model, info):
    if not SkipWritingToConfig.skip:
        shared.opts.data["sd_model_checkpoint"] = info.title
    shared.opts.data["sd_checkpoint_hash"] = info.sha256
    model_data.was_loaded_at_least_once = True
    model_data.set_sd_model(model)


def reload_model_weights(sd_model=None, info=None, forced_reload=False):
    """Switch to a checkpoint (the settings' one by default), reusing a loaded model where there is one.
    Returns the model.
    """
    info = info or select_checkpoint()
    current = sd_model or model_data.sd_model
    if current is not None and current.sd_model_checkpoint == info.filename and not forced_reload:
        return current
    for model in model_data.loaded_sd_models:
        if model.sd_model_checkpoint == info.filename and not forced_reload:
            _make_current(model, info)
            return model
    return load_model(info)


def unload_model_weights(sd_model=None, info=None):
    model_data.sd_model = None
    model_data.loaded_sd_models.clear()
    model_data.was_loaded_at_least_once = False


def send_model_to_device(model):
    """There is one device."""


def apply_token_merging(sd_model, token_merging_ratio):
    """The workbench has no token merging."""


def apply_alpha_schedule_override(sd_model, p=None) -> None:
    """The settings that change the model's noise levels: alpha-bar in half precision, and zero terminal
    SNR.
    """
    original = getattr(sd_model, "alphas_cumprod_original", None)
    if original is None:
        return
    sd_model.alphas_cumprod = original
    params = {} if p is None else p.extra_generation_params
    if shared.opts.use_downcasted_alpha_bar:
        params["Downcast alphas_cumprod"] = True
        sd_model.alphas_cumprod = original.half()
    if shared.opts.sd_noise_schedule == ZERO_TERMINAL_SNR:
        params["Noise Schedule"] = ZERO_TERMINAL_SNR
        sd_model.alphas_cumprod = _with_zero_terminal_snr(sd_model.alphas_cumprod)


def _with_zero_terminal_snr(alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """Algorithm 1 of arXiv 2305.08891, on alpha-bar; the last value stays as far above 0 as the WebUI keeps
    it.
    """
    signal = alphas_cumprod.float().sqrt()
    signal = (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])
    signal[-1] = LOWEST_ALPHA_BAR**0.5
    return signal.square()
