"""What this WebUI is and has: the only file that knows that hosts differ, always by probing, never by version.

"A1111" below means AUTOMATIC1111's WebUI 1.6 to 1.10, "Forge" lllyasviel's fork, "reForge" Panchovix' fork.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from fastapi import HTTPException

from lib_lcm.families import FAMILY_OF_CROSS_ATTENTION_WIDTH, ModelFamily
from modules import shared

REFUSED = 422


class LcmRefusal(HTTPException):
    """A generation that must not run: one sentence for the user, and HTTP 422 over the API."""

    def __init__(self, sentence: str, status_code: int = REFUSED):
        super().__init__(status_code=status_code, detail=sentence)

    def __str__(self) -> str:
        return self.detail


def missing_parts() -> list[str]:
    """The parts of a WebUI that this extension cannot do without and that this one lacks; empty on every supported host."""
    missing = []
    try:
        from modules import sd_samplers, sd_samplers_kdiffusion

        for module, name in ((sd_samplers, "all_samplers"), (sd_samplers, "set_samplers"), (sd_samplers_kdiffusion, "KDiffusionSampler")):
            if not hasattr(module, name):
                missing.append(f"{module.__name__}.{name}")
        if not hasattr(sd_samplers_kdiffusion, "CFGDenoiserKDiffusion"):  # before 1.6 the denoiser had another shape
            missing.append("modules.sd_samplers_kdiffusion.CFGDenoiserKDiffusion")
        from modules import ui_components

        if not hasattr(ui_components, "InputAccordion"):
            missing.append("modules.ui_components.InputAccordion")
    except ImportError as error:
        missing.append(str(error.name or error))
    return missing


# --- the loaded model ---------------------------------------------------------------------------------------------------


def loaded_model():
    """The loaded model, or None where none is: asking must not start a load, which can take a minute."""
    from modules import sd_models

    data = getattr(sd_models, "model_data", None)
    model = getattr(data, "sd_model", None) if data is not None else None
    # Forge holds a placeholder before the first load
    return model if model is not None and _unet(model) is not None else None


def _unet(model):
    """The UNet module of a model, or None where it has none (a transformer, a placeholder)."""
    forge = getattr(model, "forge_objects", None)
    if forge is not None:
        return getattr(forge.unet.model, "diffusion_model", None)
    return getattr(getattr(model, "model", None), "diffusion_model", None)


_FAMILY_OF_CONFIG = {
    # Forge and reForge name the architecture that they detected in the checkpoint; names that are not here are unknown
    "SD15": ModelFamily.sd15,
    "SD15_instructpix2pix": ModelFamily.sd15,
    "SD20": ModelFamily.sd2,
    "SD21UnclipL": ModelFamily.sd2,
    "SD21UnclipH": ModelFamily.sd2,
    "SDXL": ModelFamily.sdxl,
    "SDXL_instructpix2pix": ModelFamily.sdxl,
    "SSD1B": ModelFamily.ssd1b,
    "SDXLRefiner": ModelFamily.sdxl_refiner,
    "SD3": ModelFamily.sd3,
    "Flux": ModelFamily.flux,
    "FluxSchnell": ModelFamily.flux,
}


def model_family(model) -> ModelFamily:
    """The family of a loaded model, from its architecture, never from its file's name."""
    forge = getattr(model, "forge_objects", None)
    config = getattr(model, "model_config", None) or (getattr(forge.unet.model, "model_config", None) if forge is not None else None)
    if config is not None:
        return _FAMILY_OF_CONFIG.get(type(config).__name__, ModelFamily.unknown)
    if getattr(model, "is_sd3", False):
        return ModelFamily.sd3
    unet = _unet(model)
    family = FAMILY_OF_CROSS_ATTENTION_WIDTH.get(_cross_attention_width(unet), ModelFamily.unknown)
    if family is ModelFamily.sdxl and _is_ssd1b(model, unet):
        return ModelFamily.ssd1b
    return family


def _cross_attention_width(unet) -> int | None:
    for name, module in unet.named_modules() if unet is not None else ():
        if name.endswith("attn2.to_k"):
            return module.weight.shape[1]
    return None


def _is_ssd1b(model, unet) -> bool:
    if hasattr(model, "is_ssd"):  # A1111 1.7 and later
        return bool(model.is_ssd)
    middle = getattr(unet, "middle_block", None)  # SSD-1B is SDXL without attention in the middle
    return middle is not None and not any(name.endswith("attn2.to_k") for name, _ in middle.named_modules())


def computes_cond_only_at_cfg_one(model) -> bool:
    """Whether the host leaves out the unconditional half by itself at CFG 1 (Forge and reForge do; A1111 computes both)."""
    return hasattr(model, "forge_objects")


def is_image_editing(model) -> bool:
    """Whether the checkpoint is an image-editing one (InstructPix2Pix), whose guidance has three terms."""
    return getattr(model, "cond_stage_key", None) == "edit"


def sigma_table(denoiser) -> torch.Tensor:
    """The model's noise levels, ascending, one per training timestep. `denoiser` is the host's k-diffusion wrapper."""
    return denoiser.sigmas


def checkpoint_name(model) -> str | None:
    """The name of a loaded model's checkpoint, as the WebUI lists it, without folder and ending."""
    return getattr(getattr(model, "sd_checkpoint_info", None), "model_name", None)


# --- noise --------------------------------------------------------------------------------------------------------------


def noise_sampler(p):
    """A k-diffusion noise sampler that draws from the generation's own per-image generators, so that batches equal single images."""
    return lambda sigma, sigma_next: p.rng.next()


# --- LoRA ---------------------------------------------------------------------------------------------------------------


def lora_dirs() -> list[Path]:
    """The folders in which this WebUI looks for LoRAs."""
    found = []
    for name in ("lora_dir", "lyco_dir_backcompat", "lyco_dir"):
        value = getattr(shared.cmd_opts, name, None)
        if value and Path(value).is_dir() and Path(value) not in found:
            found.append(Path(value))
    return found


def _networks():
    """The module of the built-in LoRA extension, which is imported under a top-level name; None where it is disabled."""
    return sys.modules.get("networks")


def network_name(path: Path) -> str | None:
    """The name under which the host's LoRA machinery knows the file, or None where it does not."""
    networks = _networks()
    if networks is None:
        return None
    name = _listed_name(networks, path)
    if name is None:  # dropped into the folder since the host last looked
        networks.list_available_networks()
        name = _listed_name(networks, path)
    return name


def _listed_name(networks, path: Path) -> str | None:
    wanted = _canonical(path)
    for name, network in networks.available_networks.items():
        if _canonical(network.filename) == wanted and _looked_up(networks, name) is network:
            return name
    return None


def _looked_up(networks, name: str):
    """What the host finds under a name that stands in a prompt."""
    if name.lower() in networks.forbidden_network_aliases:
        return networks.available_networks.get(name)
    return networks.available_network_aliases.get(name)


def _canonical(path) -> Path:
    return Path(path).resolve()


def is_network_loaded(path: Path) -> bool:
    """Whether the host reports the file among the networks that are applied right now."""
    networks = _networks()
    wanted = _canonical(path)
    return networks is not None and any(_canonical(net.network_on_disk.filename) == wanted for net in networks.loaded_networks)


def file_sha256(path: Path) -> str | None:
    """SHA-256 of a file through the host's cache of hashes, which outlives the WebUI; None where hashing is switched off."""
    from modules import hashes

    # by its whole path: several official files have one name
    return hashes.sha256(str(path), f"lora/{path}", use_addnet_hash=False)


# --- the API --------------------------------------------------------------------------------------------------------------


def has_api() -> bool:
    """Whether the WebUI was started with its API on."""
    return bool(getattr(shared.cmd_opts, "api", False) or getattr(shared.cmd_opts, "nowebui", False))


def api_passwords() -> list[str]:
    """The pairs "user:password" of which the API asks for one; empty where it asks for none."""
    return [pair for pair in (getattr(shared.cmd_opts, "api_auth", None) or "").split(",") if pair]


def page_args(title: str, is_img2img: bool) -> list:
    """The arguments that a fresh page, and so the API, passes to the always-on script of that title."""
    from modules import scripts

    runner = scripts.scripts_img2img if is_img2img else scripts.scripts_txt2img
    for script in runner.alwayson_scripts:
        if script.title() == title and script.args_to is not None:
            return [component.value for component in runner.inputs[script.args_from : script.args_to]]
    return []


def private_folders() -> list[Path]:
    """Folders whose place on this machine is nobody's business over the API."""
    from modules import paths_internal

    names = ("models_path", "data_path", "script_path")
    return [*(Path(getattr(paths_internal, name)) for name in names if hasattr(paths_internal, name)), Path(os.path.expanduser("~"))]


# --- X/Y/Z plot -----------------------------------------------------------------------------------------------------------


def xyz_grid_module():
    """The loaded module of the built-in script "X/Y/Z plot", or None where there is none; scripts are loaded outside `sys.modules`."""
    from modules import scripts

    for data in scripts.scripts_data:
        if Path(data.path).name == "xyz_grid.py" and hasattr(data.module, "axis_options"):
            return data.module
    return None


# --- telling the user -----------------------------------------------------------------------------------------------------


def tell(p, sentence: str) -> None:
    """Shows a sentence under the picture and in the log, once."""
    comments = getattr(p, "comments", None)
    if not isinstance(comments, dict) or sentence not in comments:
        log(sentence)
    if hasattr(p, "comment"):
        p.comment(sentence)


def log(sentence: str) -> None:
    """Writes a sentence to the WebUI's log, which on Windows may not be able to hold an arrow or a file name's letters."""
    text = f"LCM: {sentence}"
    try:
        print(text)
    except UnicodeEncodeError:
        print(text.encode("ascii", "replace").decode())


def refuse(p, sentence: str, at: str = "init") -> None:
    """Makes the generation fail with one sentence.

    The WebUI swallows an exception raised in a script's callback, so it is raised from the next thing that the WebUI itself
    calls on the processing object: `init` after process(), `setup_conds` after process_batch().
    """

    def fail(*args, **kwargs):
        p.__dict__.pop(at, None)
        raise LcmRefusal(sentence)

    setattr(p, at, fail)


def set_tooltip(component, text: str) -> None:
    """Shows `text` while the mouse is over the component; the hosts' own JavaScript reads this attribute."""
    component.webui_tooltip = text


def setting(name: str, default):
    """A setting's value; `default` where this WebUI does not have it (yet)."""
    return getattr(shared.opts, name, default)
