"""What this WebUI is and has: the only file that knows that hosts differ, always by probing, never by
version.

"A1111" below means AUTOMATIC1111's WebUI 1.6 to 1.10, "Forge" lllyasviel's fork, "reForge" Panchovix' fork.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import torch
from fastapi import HTTPException

import modules.extra_networks as extra_networks  # so that the error names it on a WebUI from before it
from lib_lcm.families import FAMILY_OF_CROSS_ATTENTION_WIDTH, ModelFamily
from lib_lcm.options import shown_number
from lib_lcm.plan.make import AUTOMATIC_SCHEDULER
from modules import shared

REFUSED = 422


class LcmRefusal(HTTPException):
    """A generation that must not run: one sentence for the user, and HTTP 422 over the API."""

    def __init__(self, sentence: str, status_code: int = REFUSED):
        super().__init__(status_code=status_code, detail=sentence)

    def __str__(self) -> str:
        return self.detail


_PARTS = {
    "modules.sd_samplers": ("all_samplers", "all_samplers_map", "set_samplers"),
    "modules.sd_samplers_kdiffusion": (
        "KDiffusionSampler",
        "CFGDenoiserKDiffusion",
    ),  # before 1.6 the denoiser had another shape
    "modules.sd_samplers_common": ("SamplerData",),
    "modules.ui_components": ("InputAccordion",),
    "modules.script_callbacks": (),
    "modules.scripts": ("Script", "AlwaysVisible"),
    "modules.progress": (),
}


def missing_parts() -> list[str]:
    """The parts of a WebUI that this extension cannot do without and that this one lacks; empty on every
    supported host.
    """
    missing = []
    for name, attributes in _PARTS.items():
        try:
            module = importlib.import_module(name)
        except ImportError:
            missing.append(name)
        else:
            missing += [f"{name}.{attribute}" for attribute in attributes if not hasattr(module, attribute)]
    return missing


def _module_of_webui(name: str):
    """A module that not every WebUI has, or None."""
    try:
        return importlib.import_module(f"modules.{name}")
    except ImportError:
        return None


def version() -> str | None:
    """What this WebUI notes of itself in generation parameters ("Version: v1.6.0"), so that it knows its own;
    None where it cannot tell.
    """
    from modules import processing

    program_version = getattr(processing, "program_version", None)
    return None if program_version is None else program_version()


# --- the loaded model ---------------------------------------------------------------------------------------


def loaded_model():
    """The loaded model, or None where none is: asking must not start a load, which can take a minute."""
    from modules import sd_models

    data = getattr(sd_models, "model_data", None)
    model = getattr(data, "sd_model", None) if data is not None else None
    # Forge holds a placeholder before the first load
    return model if model is not None and _unet(model) is not None else None


def selected_model():
    """The loaded model where it is the selected checkpoint, which the next generation will use; else None.
    See `is_selected`.
    """
    model = loaded_model()
    return model if model is not None and is_selected(model) else None


def is_selected(model, override: str | None = None) -> bool:
    """Whether a loaded model is the selected checkpoint: Forge loads that when a generation starts, and a
    refiner stays after one.

    `override` is the checkpoint that a request's `override_settings` ask for in its place.
    """
    selected = _selected_checkpoint(override)
    loaded = getattr(model, "sd_checkpoint_info", None)
    return selected is None or loaded is None or selected.filename == loaded.filename


def selected_name(override: str | None = None) -> str | None:
    """The name of the checkpoint that a generation started now would use; see `is_selected`."""
    return getattr(_selected_checkpoint(override), "model_name", None)


def checkpoint_of(overrides: Iterable[str]) -> str | None:
    """The checkpoint that a tab's "Override settings" name, which a pasted picture brings, as in "Model hash:
    9958cbd195".
    """
    option = shared.opts.data_labels.get("sd_model_checkpoint")
    label = getattr(option, "infotext", None)  # "Model hash" on A1111, "Model" on Forge
    parts = (str(override).partition(":") for override in overrides)
    return next((value.strip() for name, _, value in parts if name == label), None)


def _selected_checkpoint(override: str | None):
    from modules import sd_models

    # an override counts by one of a checkpoint's own names alone, and not at all by any other
    overriding = sd_models.checkpoint_aliases.get(override)
    return overriding or sd_models.get_closet_checkpoint_match(setting("sd_model_checkpoint", None) or "")


def _unet(model):
    """The UNet module of a model, or None where it has none (a transformer, a placeholder)."""
    forge = getattr(model, "forge_objects", None)
    if forge is not None:
        return getattr(forge.unet.model, "diffusion_model", None)
    return getattr(getattr(model, "model", None), "diffusion_model", None)


_FAMILY_OF_CONFIG = {
    # Forge and reForge name the architecture that they detected in the checkpoint; names that are not here
    # are unknown
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
    config = getattr(model, "model_config", None) or (
        getattr(forge.unet.model, "model_config", None) if forge is not None else None
    )
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
    """Whether the host leaves out the unconditional half by itself at CFG 1 (Forge and reForge do; A1111
    computes both).
    """
    return _is_of_forge(model)


def own_lcm_is_on_grid(model) -> bool:
    """Whether the host's own LCM sampler tells the UNet timesteps of the distillation grid alone (A1111;
    Forge and reForge tell any).
    """
    return not _is_of_forge(model)


def _is_of_forge(model) -> bool:
    return hasattr(model, "forge_objects")


def is_image_editing(model) -> bool:
    """Whether the checkpoint is an image-editing one (InstructPix2Pix), whose guidance has three terms."""
    return getattr(model, "cond_stage_key", None) == "edit"


_CODE_OF_HOST = {"ldm", "sgm", "torch", "modules", "networks"}


def is_unet_hooked(model) -> bool:
    """Whether another extension's code stands in the place of the UNet's `forward`, or of its group
    norms'.
    """
    unet = _unet(model)
    # an extension that was there and went may have left the class's own method behind as the object's
    if unet is None or getattr(unet.forward, "__func__", None) is not type(unet).forward:
        return True
    norms = {type(module) for module in unet.modules() if isinstance(module, torch.nn.GroupNorm)}
    return any(kind.forward.__module__.partition(".")[0] not in _CODE_OF_HOST for kind in norms)


def sigma_table(denoiser) -> torch.Tensor:
    """The model's noise levels, ascending, one per training timestep. `denoiser` is the host's k-diffusion
    wrapper.
    """
    return denoiser.sigmas


def checkpoint_name(model) -> str | None:
    """The name of a loaded model's checkpoint, as the WebUI lists it, without folder and ending."""
    return getattr(getattr(model, "sd_checkpoint_info", None), "model_name", None)


def checkpoint_sha256(model) -> str | None:
    """The SHA-256 of a loaded model's checkpoint file; None where the WebUI does not compute it
    (--no-hashing).
    """
    return getattr(getattr(model, "sd_checkpoint_info", None), "sha256", None)


# --- prompts ------------------------------------------------------------------------------------------------


PROMPTS = (("prompt", "negative_prompt"), ("hires_prompt", "hires_negative_prompt"))
"""The fields of `plan.Request` that styles are put into."""


def styled(prompts: Mapping[str, str], styles: list[str] | None) -> dict[str, str]:
    """The prompts, by the names of PROMPTS, with the user's saved styles of these names in them, as a
    generation has them.

    A hires prompt that is empty stays so: it stands for that of the first pass. Comments are left out.
    """
    given = {name: prompts.get(name) or "" for names in PROMPTS for name in names}
    for names in PROMPTS:
        texts = _with_styles(*(given[name] for name in names), styles)
        given |= {
            name: text for name, text in zip(names, texts, strict=True) if given[name] or names is PROMPTS[0]
        }
    return {name: without_comments(text) for name, text in given.items()}


def without_comments(prompt: str) -> str:
    """A prompt without its comments ("# ..."), which the WebUI (1.8 and later) takes out itself, mostly after
    our script has run.
    """
    module = sys.modules.get("modules.processing_scripts.comments") or _script_module(
        "comments.py", "strip_comments"
    )  # the first: Forge
    strip = getattr(module, "strip_comments", None)
    if (
        strip is None or not prompt or not setting("enable_prompt_comments", True)
    ):  # reForge has no such setting, and always takes them out
        return prompt
    return strip(prompt)


def _with_styles(prompt: str, negative_prompt: str, styles: list[str] | None) -> tuple[str, str]:
    database = getattr(shared, "prompt_styles", None)
    if database is None or not styles:
        return prompt, negative_prompt
    try:
        return database.apply_styles_to_prompt(prompt, styles), database.apply_negative_styles_to_prompt(
            negative_prompt, styles
        )
    except TypeError:
        # 1.7 and later list the name of each file of styles as a style without texts, which fails a
        # generation too
        return prompt, negative_prompt


# --- noise --------------------------------------------------------------------------------------------------


def noise_sampler(p):
    """A k-diffusion noise sampler that draws from the generation's own per-image generators, so that batches
    equal single images.
    """
    return lambda sigma, sigma_next: p.rng.next()


# --- sampling -----------------------------------------------------------------------------------------------


def set_known(p, **fields) -> None:
    """Sets those fields of a generation that this WebUI has: `scheduler` is there since 1.9, `hr_cfg` on
    Forge and reForge alone.
    """
    for name, value in fields.items():
        if hasattr(p, name):
            setattr(p, name, value)


def asked_schedule(sampler: str | None, schedule: str | None) -> str | None:
    """The schedule of a generation as the WebUI's drop-down has it; None where there is none and where it is
    the sampler's own affair.

    The API takes a schedule's internal name as well ("karras"). For some samplers of its own, reForge makes
    "Normal" of "Automatic" before any script sees the generation, so there the two are one.
    """
    schedulers = _module_of_webui("sd_schedulers")
    if schedulers is None:  # A1111 before 1.9 has no such drop-down, and its API does not look at the field
        return None
    known = getattr(schedulers, "schedulers_map", {})
    label = getattr(known.get(schedule), "label", schedule)
    if label == "Normal":
        alter = getattr(sys.modules.get("modules_forge.forge_alter_samplers"), "samplers_data_alter", ())
        if any(one.name.lower() == (sampler or "").lower() for one in alter):
            return None
    return None if label in ("", AUTOMATIC_SCHEDULER) else label


SAME_SCHEDULER = (None, "", "Use same scheduler")


def schedule_of_pass(p) -> str | None:
    """The schedule of the pass that `p` is in, which the hires pass may have of its own; see
    `asked_schedule`.
    """
    own = getattr(p, "hr_scheduler", None) if getattr(p, "is_hr_pass", False) else None
    return asked_schedule(p.sampler_name, getattr(p, "scheduler", None) if own in SAME_SCHEDULER else own)


def requested_schedule(sampler: str | None, schedule: str | None) -> str | None:
    """The same for a request over the API, where the name of a sampler may end in that of a schedule ("DPM++
    2M Karras").
    """
    split = getattr(_module_of_webui("sd_samplers"), "get_sampler_and_scheduler", None)
    if sampler and split is not None:
        sampler, schedule = split(sampler, schedule)
    return asked_schedule(sampler, schedule)


def effective_cfg(denoiser, cond_scale: float) -> float:
    """The CFG scale of a step as the host will use it: extensions may set a factor on its denoiser."""
    return cond_scale * getattr(denoiser, "cond_scale_miltiplier", 1.0)  # (sic) A1111's spelling


def look_at_samplers_again() -> None:
    """Makes the WebUI take notice of changes in its registry of samplers."""
    from modules import sd_samplers

    sd_samplers.set_samplers()
    cached = getattr(
        sd_samplers, "get_sampler_and_scheduler", None
    )  # 1.9 and later remember names that they did not find
    if hasattr(cached, "cache_clear"):
        cached.cache_clear()


# --- LoRA ---------------------------------------------------------------------------------------------------


def lora_dirs() -> list[Path]:
    """The folders in which this WebUI looks for LoRAs."""
    found = []
    for name in ("lora_dir", "lyco_dir_backcompat", "lyco_dir"):
        value = getattr(shared.cmd_opts, name, None)
        if value and Path(value).is_dir() and Path(value) not in found:
            found.append(Path(value))
    return found


def _networks():
    """The module of the built-in LoRA extension, which is imported under a top-level name; None where it is
    disabled.
    """
    return sys.modules.get("networks")


def network_path(name: str) -> Path | None:
    """The file that a tag's name means to the host's LoRA machinery, or None."""
    networks = _networks()
    if networks is None:
        return None
    if name.lower() in networks.forbidden_network_aliases:  # several files have it as their alias
        entry = networks.available_networks.get(name)
    else:
        entry = networks.available_network_aliases.get(name)
    return None if entry is None else Path(entry.filename)


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


def network_params(name: str, weight: float, replaced: list, added: str | None):
    """The host's parameters of one LoRA tag, as if parsed; the name may hold what a tag cannot (":", "=",
    ">").

    `replaced` is what `replaced_by` gives back. `added` is the LoRA of the setting "Add network to prompt"
    where this tag stands for it: the host adds that one unless a tag's first item is its name, while what it
    loads is the first positional one.
    """
    values = [name, shown_number(weight)]
    params = extra_networks.ExtraNetworkParams(items=values if added in (None, name) else [added, *values])
    params.positional, params.named = values, {}
    params.lcm_replaced = replaced
    return params


def replaced_by(params) -> list | None:
    """What `network_params` was given as `replaced`; None for parameters that are not from there."""
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
    name = setting("sd_lora", None)
    return None if name in (None, "", "None") else name


class _Activate:
    """In the place of `modules.extra_networks.activate`."""

    def __init__(self, original):
        self.original = original
        self.replacement = None

    def __call__(self, p, extra_network_data):
        if self.replacement is None:
            return self.original(p, extra_network_data)
        return self.replacement(self.original, p, extra_network_data)


_wrapper: _Activate | None = None


def wrap_activate(replacement) -> None:
    """The host's activation of networks becomes `replacement(host's own, p, tags)`. Doing it again changes
    nothing.
    """
    global _wrapper
    if _wrapper is None:
        _wrapper = _Activate(extra_networks.activate)
        extra_networks.activate = _wrapper
    _wrapper.replacement = replacement


def unwrap_activate() -> None:
    """The host's own activation of networks again. Where another extension has wrapped ours since, ours stays
    as a mere passage.
    """
    global _wrapper
    if _wrapper is None:
        return
    _wrapper.replacement = None
    if extra_networks.activate is _wrapper:
        extra_networks.activate = _wrapper.original
        _wrapper = None


def is_network_loaded(path: Path) -> bool:
    """Whether the host reports the file among the networks that are applied right now."""
    return bool(_loaded_networks(path))


def _loaded_networks(path: Path) -> list:
    networks = _networks()
    wanted = _canonical(path)
    return (
        []
        if networks is None
        else [net for net in networks.loaded_networks if _canonical(net.network_on_disk.filename) == wanted]
    )


def layers_matched(model, path: Path) -> int | None:
    """To how many layers of the model the host applies the loaded file; None where it does not tell."""
    # as they will be when the networks are active; until the activation is over, `forge_objects` are those
    # without networks
    forge = getattr(model, "forge_objects_after_applying_lora", None)
    if forge is None:  # A1111: layers by name
        return max((len(net.modules) for net in _loaded_networks(path)), default=0)
    patchers = [forge.unet, getattr(forge.clip, "patcher", None)]
    if hasattr(forge.unet, "lora_patches"):  # Forge: (file, weight, ...) -> patches by layer
        wanted = _canonical(path)
        every = [item for patcher in patchers for item in getattr(patcher, "lora_patches", {}).items()]
        return sum(len(patches) for key, patches in every if _canonical(key[0]) == wanted)
    if (
        hasattr(forge.unet, "patches") and not forge.unet.patches
    ):  # reForge: by layer, whichever file they are of
        return 0
    return None


def layers_failed(path: Path) -> int:
    """Into how many of the layers that the host has computed since the networks were activated it could not
    put the loaded file.

    A1111 changes a layer's weights when that layer is first computed. Where this fails, mostly for want of
    memory, it goes on with the layer as it was, and only counts. Forge fails; reForge writes to its log what
    nothing can count.
    """
    errors = getattr(getattr(_networks(), "extra_network_lora", None), "errors", {})
    return sum(errors.get(name, 0) for name in {net.name for net in _loaded_networks(path)})


def after_sampling(sampler, check) -> None:
    """`check()` is called when this sampler of the host has sampled, in every pass; what it raises ends the
    generation.
    """
    launch = getattr(sampler, "launch_sampling", None)
    if launch is None:  # another extension's sampler, which need not be the host's kind
        return

    def launch_and_check(*args, **kwargs):
        samples = launch(*args, **kwargs)
        check()
        return samples

    sampler.launch_sampling = launch_and_check


def forget_networks(model) -> None:
    """Makes the host read LoRA files again: no network is loaded then, and none is remembered."""
    networks = _networks()
    if networks is None:
        return
    networks.load_networks([], [], [], [])
    networks.networks_in_memory.clear()
    cached = getattr(networks, "load_lora_state_dict", None)  # Forge, reForge: by the file's name alone
    if hasattr(cached, "cache_clear"):
        cached.cache_clear()
    forge = getattr(model, "forge_objects", None)
    for patcher in (forge.unet, getattr(forge.clip, "patcher", None)) if forge is not None else ():
        loader = getattr(patcher, "lora_loader", None)
        if hasattr(
            loader, "loaded_hash"
        ):  # Forge compares names and weights to know whether they are in the model's weights
            loader.loaded_hash = "read again"
    # A1111 does the same for each layer
    for module in model.modules() if isinstance(model, torch.nn.Module) else ():
        if getattr(module, "network_current_names", ()):
            module.network_current_names = ("read again",)


def file_sha256(path: Path) -> str | None:
    """SHA-256 of a file through the host's cache of hashes, which outlives the WebUI; None where hashing is
    switched off.
    """
    from modules import hashes

    # by its whole path: several official files have one name
    return hashes.sha256(str(path), f"lora/{path}", use_addnet_hash=False)


# --- the API ------------------------------------------------------------------------------------------------


def has_api() -> bool:
    """Whether the WebUI was started with its API on."""
    return bool(getattr(shared.cmd_opts, "api", False) or getattr(shared.cmd_opts, "nowebui", False))


def api_passwords() -> list[str]:
    """The pairs "user:password" of which the API asks for one; empty where it asks for none."""
    return [pair for pair in (getattr(shared.cmd_opts, "api_auth", None) or "").split(",") if pair]


def script_of(title: str, is_img2img: bool):
    """The always-on script of that title, or None."""
    from modules import scripts

    runner = scripts.scripts_img2img if is_img2img else scripts.scripts_txt2img
    return next((script for script in runner.alwayson_scripts if script.title() == title), None)


def data_folder() -> Path:
    """The folder of this WebUI's own files: config.json, ui-config.json, styles.csv."""
    from modules import paths_internal

    return Path(paths_internal.data_path)


def private_folders() -> list[Path]:
    """Folders whose place on this machine is nobody's business over the API."""
    from modules import paths_internal

    names = ("models_path", "data_path", "script_path")
    return [
        *(Path(getattr(paths_internal, name)) for name in names if hasattr(paths_internal, name)),
        Path(os.path.expanduser("~")),
    ]


# --- X/Y/Z plot ---------------------------------------------------------------------------------------------


def xyz_grid_module():
    """The loaded module of the built-in script "X/Y/Z plot", or None where there is none."""
    return _script_module("xyz_grid.py", "axis_options")


def _script_module(file_name: str, attribute: str):
    """The loaded module of a script of the WebUI's, or None where there is none; scripts are loaded outside
    `sys.modules`.
    """
    from modules import scripts

    for data in scripts.scripts_data:
        if Path(data.path).name == file_name and hasattr(data.module, attribute):
            return data.module
    return None


# --- telling the user ---------------------------------------------------------------------------------------


def is_for_api(p) -> bool:
    """Whether a generation was asked for over the API, not on the page."""
    return bool(getattr(p, "is_api", False))


def job_mark() -> object:
    """Another one for each job of the WebUI: the task where it has a name, else when it began, which an
    interrogation changes too.
    """
    task = getattr(_module_of_webui("progress"), "current_task", None)
    return (
        task
        if task is not None
        else (getattr(shared.state, "job_timestamp", None), getattr(shared.state, "time_start", None))
    )


def is_interrupted() -> bool:
    """Whether the user has stopped the job that is going on."""
    return bool(shared.state.interrupted)


def comment(p, sentence: str) -> bool:
    """Shows a sentence under the picture, once. Returns whether it was not there yet, as far as is known."""
    comments = getattr(p, "comments", None)
    is_new = not isinstance(comments, dict) or sentence not in comments
    if hasattr(p, "comment"):
        p.comment(sentence)
    return is_new


def log(sentence: str) -> None:
    """Writes a sentence to the WebUI's log, which on Windows may not be able to hold an arrow or a file
    name's letters.
    """
    text = f"LCM: {sentence}"
    try:
        print(text)
    except UnicodeEncodeError:
        print(text.encode("ascii", "replace").decode())


def refuse(p, refusal: LcmRefusal) -> None:
    """Makes the generation fail with this exception.

    The WebUI swallows an exception raised in a script's callback, so it is raised from the next thing that
    the WebUI itself calls on the processing object: `init`, after process().
    """

    def fail(*args, **kwargs):
        p.__dict__.pop("init", None)
        raise refusal

    p.init = fail


def stop_before_first_step(p) -> None:
    """Ends a generation that is about to begin, without an error and without a call of the UNet."""
    from modules import scripts

    if hasattr(scripts.Script, "on_mask_blend"):
        shared.state.interrupt()
        return

    # A1111 1.6, which lacks that callback (as 1.7 does): stopped before its first picture, it ends with "list
    # index out of range".
    def sample(*args, **kwargs):
        p.__dict__.pop("sample", None)
        shared.state.interrupt()
        return p.sample(*args, **kwargs)

    p.sample = sample


def gradio_holds_back_presses() -> bool:
    """Whether the page's gradio calls a button's function only when it has answered earlier presses: Forge's
    gradio 4, one at a time.
    """
    return "default_concurrency_limit" in inspect.signature(gr.Blocks.queue).parameters


def leave_init_image_unsaved(p) -> None:
    """Makes the generation pass over the setting "Save init images when using img2img", which no field of a
    request can switch off.

    It is read in `init`, and not put into the request's `override_settings`: those of a setting that
    config.json lacks stay.
    """
    name = "save_init_img"
    if not setting(name, False):
        return

    def init(*args, **kwargs):
        p.__dict__.pop("init", None)
        values = shared.opts.data
        before = values.get(name)
        values[name] = False
        try:
            return p.init(*args, **kwargs)
        finally:
            values[name] = before

    p.init = init


def change_page_config(component, attributes) -> None:
    """What the page is told of the component has `attributes()` in it, asked for as late as the page is put
    together.

    By then the WebUI has put saved defaults into the component; before, and while a page is built in parts,
    it has not.
    """
    get_config = component.get_config

    def changed(*args, **kwargs):
        return {**get_config(*args, **kwargs), **attributes()}

    component.get_config = changed


def set_tooltip(component, text: str) -> None:
    """Shows `text` while the mouse is over the component; the hosts' own JavaScript reads this attribute."""
    # what one sees of an InputAccordion is its accordion; the component itself is a hidden checkbox
    getattr(component, "accordion", component).webui_tooltip = text


def save_as_its_tick(component, script_file: str) -> None:
    """Makes a saved tick of the InputAccordion open it on a fresh page, where its tick is not shown otherwise
    (A1111 1.7, 1.8).
    """
    # what A1111 1.9 and later do themselves: the state of the accordion is looked up under the name that the
    # tick is saved under
    accordion = getattr(component, "accordion", None)
    if accordion is not None:
        accordion.custom_script_source = os.path.basename(script_file)


def localization_files(name: str) -> list[Path]:
    """The files of a localisation, in the order in which the WebUI reads them."""
    files = _localizations().get(name, [])
    return [
        Path(file) for file in ([files] if isinstance(files, str) else files)
    ]  # A1111 1.6 knows one file for each name


def localization_names() -> list[str]:
    """The localisations that this WebUI has."""
    return list(_localizations())


def lend_localization(name: str, file: Path) -> None:
    """Gives the page the texts of a file too where it is in the localisation of that name, whose other texts
    go before them.

    To be called before the page is built. A1111 1.6 knows one file for each name, the last that it finds:
    there the page gets ours where nobody else has one of that name.
    """
    files = _localizations().get(name)
    if isinstance(files, list):
        files[:] = [str(file), *(other for other in files if not _is_same_file(other, file))]
    elif isinstance(files, str) and _is_same_file(files, file):
        others = [other for other in _localizations_of_name(name) if not _is_same_file(other, file)]
        if others:
            _localizations()[name] = others[-1]


def _localizations_of_name(name: str) -> list[str]:
    """All files of a localisation in the order in which the WebUI finds them."""
    from modules import scripts

    in_own_folder = Path(shared.cmd_opts.localizations_dir) / f"{name}.json"
    of_extensions = [
        file.path
        for file in scripts.list_scripts("localizations", ".json")
        if Path(file.filename).stem == name
    ]
    return [*([str(in_own_folder)] if in_own_folder.is_file() else []), *of_extensions]


def _is_same_file(one, other) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _localizations() -> dict[str, list[str] | str]:
    return getattr(_module_of_webui("localization"), "localizations", {})


def queues_page() -> bool:
    """Whether what the page asks goes through gradio's queue, without which there is no progress to be
    shown.
    """
    return not getattr(shared.cmd_opts, "no_gradio_queue", False)


def setting(name: str, default):
    """A setting's value; `default` where this WebUI does not have it (yet)."""
    return getattr(shared.opts, name, default)
