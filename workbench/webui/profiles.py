"""Which WebUI the workbench plays: every difference that an extension can probe, as flags.

A flag is named after what is different, never after a version, and is read where the difference lives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Profile:
    """One WebUI as an extension sees it. The defaults are A1111 1.10."""

    name: str = "a1111-1.10"
    version: str = "v1.10.1-workbench"
    """What the infotext says after "Version:"."""

    native_lcm: bool = True
    """The host has a sampler "LCM" of its own."""
    own_lcm_spans_all: bool = False
    """That is one of the ordinary samplers, which goes down to t = 0, without a module `sd_samplers_lcm`."""
    schedulers: bool = True
    """The schedule has its own drop-down, `p.scheduler` and the module `sd_schedulers` (A1111 1.9+)."""
    every_sampling_callback: bool = True
    """Scripts get `process_before_every_sampling`."""
    comments: bool = True
    """A "#" in a prompt begins a comment (1.8+)."""
    comments_in_hires_prompts: bool = True
    """Also in the hires pass's own (1.10+)."""
    late_image_callbacks: bool = True
    """Scripts get `on_mask_blend`, `post_sample`, `postprocess_maskoverlay`,
    `postprocess_image_after_composite` (1.8+).
    """
    denoiser_in_callbacks: bool = True
    """`on_cfg_denoiser` callbacks get the denoiser (1.8+)."""
    infotext_utils: bool = True
    """The infotext module is `infotext_utils`; without it only `generation_parameters_copypaste` exists."""
    schedule_of_infotexts: str = "Automatic"
    """The schedule of an infotext that names none."""
    merges_localizations: bool = True
    """Files of one language are merged, wherever they are; without it the last one alone counts."""
    file_prompts_beside_own: bool = True
    """The script "Prompts from file or textbox" puts its prompts beside that of the page, and asks where;
    without it, in its place (1.7+).
    """
    has_is_ssd: bool = True
    has_is_sd3: bool = True
    has_model_type: bool = True
    unknown_sampler_status: int | None = None
    """HTTP status for an unknown sampler over the API; None: the first sampler is used instead, without a
    word.
    """

    forge: bool = False
    """Model objects, sampling and LoRA loading as in Forge; the flags below say what that means."""
    accordion_saved_as_its_tick: bool = True
    """A saved tick opens its accordion; without it, what is seen is closed and without a tick (1.9+)."""
    saves_input_accordions: bool = True
    """Whether an accordion with a tick is open when the page is, is among the page's saved defaults (1.7+).
    """
    survives_early_stop: bool = True
    """A generation that is stopped before its first picture ends without an error (1.7+)."""
    input_accordion_has_tick: bool = True
    """An accordion that is an input has a tick in its header, apart from being open; without it, open means
    ticked (1.7+).
    """
    input_accordion_is_class: bool = True
    cfg1_skips_uncond: bool = False
    """At CFG 1 `uc` is None and the UNet sees N rows instead of 2N."""
    model_has_alphas_cumprod: bool = True
    missing_lora_drops_all: bool = False
    """One LoRA name that is not found leaves all LoRAs of that image out."""
    repeated_lora_last_wins: bool = False
    """A LoRA named twice counts once, at the last weight, instead of twice at the last weight."""
    checkpoint_in_infotexts: str = "Model hash"
    """The entry of an infotext that stands for the setting of the checkpoint. Forge's is the name, and goes
    where that one is selected.
    """
    has_hr_cfg: bool = False
    """`p.hr_cfg` exists, with the default 1.0."""
    extra_hires_activations: bool = False
    """Hires activates the extra networks twice more for each image."""
    has_latent_upscalers: bool = True
    loras_are_patches: bool = False
    """LoRA files become patches of layers in `load_lora_for_models`, whenever other ones are asked for; a
    file's name is not in them, and nothing is kept of it (`networks_in_memory`).
    """
    has_more_lora_dirs: bool = False
    """LoRAs are also looked for in the folders `cmd_opts.lora_dirs`."""
    has_presets: bool = False
    """A preset (the setting `forge_preset`) puts steps and CFG scales into the page at each load."""
    fake_initial_model: bool = False
    """`shared.sd_model` is an object without flags until the first generation loads a model."""
    own_k_diffusion: bool = False
    """The host samples with its own copy of k-diffusion, so that `import k_diffusion` gives another,
    unhijacked one.
    """


A1111_1_10 = Profile()
A1111_1_8 = replace(
    A1111_1_10,
    name="a1111-1.8",
    version="v1.8.0-workbench",
    schedulers=False,
    every_sampling_callback=False,
    comments_in_hires_prompts=False,
    accordion_saved_as_its_tick=False,
    has_model_type=False,
    unknown_sampler_status=404,
)
A1111_1_7 = replace(
    A1111_1_8,
    name="a1111-1.7",
    version="v1.7.0-workbench",
    native_lcm=False,
    comments=False,
    late_image_callbacks=False,
    denoiser_in_callbacks=False,
    infotext_utils=False,
    has_is_sd3=False,
)
A1111_1_6 = replace(
    A1111_1_7,
    name="a1111-1.6",
    version="v1.6.0-workbench",
    merges_localizations=False,
    file_prompts_beside_own=False,
    has_is_ssd=False,
    saves_input_accordions=False,
    survives_early_stop=False,
    input_accordion_has_tick=False,
)
FORGE = replace(
    A1111_1_10,
    name="forge",
    version="f2.0.1-workbench",
    forge=True,
    has_is_ssd=False,
    has_model_type=False,
    input_accordion_is_class=False,
    saves_input_accordions=False,
    cfg1_skips_uncond=True,
    model_has_alphas_cumprod=False,
    missing_lora_drops_all=True,
    repeated_lora_last_wins=True,
    checkpoint_in_infotexts="Model",
    has_hr_cfg=True,
    extra_hires_activations=True,
    fake_initial_model=True,
    own_k_diffusion=True,
)
NEO = replace(
    FORGE,
    name="neo",
    version="neo-2.26-workbench",
    own_lcm_spans_all=True,
    schedule_of_infotexts="Simple",
    has_is_sd3=False,
    saves_input_accordions=True,
    missing_lora_drops_all=False,
    repeated_lora_last_wins=False,
    has_latent_upscalers=False,
    loras_are_patches=True,
    has_more_lora_dirs=True,
    has_presets=True,
)

PROFILES = {profile.name: profile for profile in (A1111_1_10, A1111_1_8, A1111_1_7, A1111_1_6, FORGE, NEO)}

active = A1111_1_10
"""The profile of this process; `select` changes it before `modules` is imported."""


def select(name: str) -> Profile:
    """Make the named profile the active one. Raises KeyError for a name that is not in PROFILES."""
    global active
    active = PROFILES[name]
    return active
