"""One generation: what was asked for and how far it is."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import torch

from modules import devices, extra_networks, prompt_parser, sd_samplers, sd_samplers_common, shared
from modules.shared import opts, state
from workbench.webui import profiles

opt_C = 4
opt_f = 8
"""Channels of a latent, and how many times smaller it is than the picture."""


def get_fixed_seed(seed):
    """The seed as a number; a random one for -1, "" or None."""
    try:
        seed = int(seed)
    except (TypeError, ValueError):
        seed = -1
    return random.randrange(4294967294) if seed == -1 else seed


def fix_seed(p):
    p.seed = get_fixed_seed(p.seed)
    p.subseed = get_fixed_seed(p.subseed)


def txt2img_image_conditioning(sd_model, x, width, height):
    """An empty conditioning image: the workbench has no inpainting checkpoints."""
    return x.new_zeros(x.shape[0], 5, 1, 1)


@dataclass(repr=False)
class StableDiffusionProcessing:
    """The arguments of a generation, and its state. Scripts receive it as `p`."""

    sd_model: object = None
    outpath_samples: str = None
    outpath_grids: str = None
    prompt: str = ""
    prompt_for_display: str = None
    negative_prompt: str = ""
    styles: list[str] = None
    seed: int = -1
    subseed: int = -1
    subseed_strength: float = 0
    seed_resize_from_h: int = -1
    seed_resize_from_w: int = -1
    seed_enable_extras: bool = True
    sampler_name: str = None
    if profiles.active.schedulers:
        scheduler: str = None
    batch_size: int = 1
    n_iter: int = 1
    steps: int = 50
    cfg_scale: float = 7.0
    width: int = 512
    height: int = 512
    restore_faces: bool = None
    tiling: bool = None
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    extra_generation_params: dict[str, Any] = None
    overlay_images: list = None
    eta: float = None
    do_not_reload_embeddings: bool = False
    denoising_strength: float = None
    ddim_discretize: str = None
    s_min_uncond: float = None
    s_churn: float = None
    s_tmax: float = None
    s_tmin: float = None
    s_noise: float = None
    override_settings: dict[str, Any] = None
    override_settings_restore_afterwards: bool = True
    sampler_index: int = None
    refiner_checkpoint: str = None
    refiner_switch_at: float = None
    disable_extra_networks: bool = False
    firstpass_image: object = None

    scripts_value: object = field(default=None, init=False)
    script_args_value: list = field(default=None, init=False)
    scripts_setup_complete: bool = field(default=False, init=False)
    comments: dict = field(default=None, init=False)
    sampler: object = field(default=None, init=False)
    is_using_inpainting_conditioning: bool = field(default=False, init=False)
    paste_to: tuple = field(default=None, init=False)
    is_hr_pass: bool = field(default=False, init=False)
    c: object = field(default=None, init=False)
    uc: object = field(default=None, init=False)
    rng: object = field(default=None, init=False)
    step_multiplier: int = field(default=1, init=False)
    color_corrections: list = field(default=None, init=False)
    all_prompts: list = field(default=None, init=False)
    all_negative_prompts: list = field(default=None, init=False)
    all_seeds: list = field(default=None, init=False)
    all_subseeds: list = field(default=None, init=False)
    iteration: int = field(default=0, init=False)
    main_prompt: str = field(default=None, init=False)
    main_negative_prompt: str = field(default=None, init=False)
    prompts: list = field(default=None, init=False)
    negative_prompts: list = field(default=None, init=False)
    seeds: list = field(default=None, init=False)
    subseeds: list = field(default=None, init=False)
    extra_network_data: dict = field(default=None, init=False)
    user: str = field(default=None, init=False)
    sd_model_name: str = field(default=None, init=False)
    sd_model_hash: str = field(default=None, init=False)
    sd_vae_name: str = field(default=None, init=False)
    sd_vae_hash: str = field(default=None, init=False)
    is_api: bool = field(default=False, init=False)
    refiner_checkpoint_info: object = field(default=None, init=False)

    token_merging_ratio = 0
    token_merging_ratio_hr = 0
    cached_uc = [None, None]
    cached_c = [None, None]

    def __post_init__(self):
        self.comments = {}
        self.styles = self.styles or []
        self.sampler_noise_scheduler_override = None
        self.extra_generation_params = self.extra_generation_params or {}
        self.override_settings = self.override_settings or {}
        if not self.seed_enable_extras:
            self.subseed, self.subseed_strength = -1, 0
            self.seed_resize_from_h = self.seed_resize_from_w = 0
        self.cached_uc = StableDiffusionProcessing.cached_uc
        self.cached_c = StableDiffusionProcessing.cached_c

    @property
    def scripts(self):
        return self.scripts_value

    @scripts.setter
    def scripts(self, value):
        self.scripts_value = value
        self._setup_scripts_once()

    @property
    def script_args(self):
        return self.script_args_value

    @script_args.setter
    def script_args(self, value):
        self.script_args_value = value
        self._setup_scripts_once()

    def _setup_scripts_once(self):
        if self.scripts_value and self.script_args_value and not self.scripts_setup_complete:
            self.setup_scripts()

    def setup_scripts(self):
        self.scripts_setup_complete = True
        self.scripts.setup_scrips(self, is_ui=not self.is_api)

    def comment(self, text):
        """Tell the user something; each text once."""
        self.comments[text] = 1

    def fill_fields_from_opts(self):
        for name in ("s_min_uncond", "s_churn", "s_tmin", "s_tmax", "s_noise"):
            if getattr(self, name) is None:
                setattr(self, name, getattr(opts, name))
        self.s_tmax = self.s_tmax or float("inf")

    def txt2img_image_conditioning(self, x, width=None, height=None):
        return txt2img_image_conditioning(self.sd_model, x, width or self.width, height or self.height)

    def img2img_image_conditioning(self, source_image, latent_image, image_mask=None, round_image_mask=True):
        if self.sd_model.cond_stage_key == "edit":
            return self.sd_model.encode_first_stage(source_image).mode()
        return latent_image.new_zeros(latent_image.shape[0], 5, 1, 1)

    def init(self, all_prompts, all_seeds, all_subseeds):
        """Prepare what all batches share; called once, not swallowed by anyone."""

    def sample(self, conditioning, unconditional_conditioning, seeds, subseeds, subseed_strength, prompts):
        """Latents of one batch."""
        raise NotImplementedError()

    def close(self):
        self.sampler = None
        self.c = self.uc = None
        if not opts.persistent_cond_cache:
            self.clear_prompt_cache()

    def clear_prompt_cache(self):
        self.cached_c = StableDiffusionProcessing.cached_c = [None, None]
        self.cached_uc = StableDiffusionProcessing.cached_uc = [None, None]

    def get_token_merging_ratio(self, for_hr=False):
        return self.token_merging_ratio

    def setup_prompts(self):
        """Fill `all_prompts` and `all_negative_prompts`: one per image. Raises RuntimeError if their numbers
        differ.
        """
        if isinstance(self.prompt, list):
            count = len(self.prompt)
        elif isinstance(self.negative_prompt, list):
            count = len(self.negative_prompt)
        else:
            count = self.batch_size * self.n_iter

        def for_all(prompt):
            return list(prompt) if isinstance(prompt, list) else [prompt] * count

        prompts, negative_prompts = for_all(self.prompt), for_all(self.negative_prompt)
        if len(prompts) != len(negative_prompts):
            raise RuntimeError(
                f"Received a different number of prompts ({len(prompts)}) and negative prompts"
                f" ({len(negative_prompts)})"
            )
        styles = shared.prompt_styles
        self.all_prompts = [styles.apply_styles_to_prompt(prompt, self.styles) for prompt in prompts]
        self.all_negative_prompts = [
            styles.apply_negative_styles_to_prompt(prompt, self.styles) for prompt in negative_prompts
        ]
        self.main_prompt = self.all_prompts[0]
        self.main_negative_prompt = self.all_negative_prompts[0]

    def parse_extra_network_prompts(self):
        self.prompts, self.extra_network_data = extra_networks.parse_prompts(self.prompts)

    def cached_params(
        self, required_prompts, steps, extra_network_data, hires_steps=None, use_old_scheduling=False
    ):
        """What a cached conditioning depends on."""
        return (
            required_prompts,
            steps,
            hires_steps,
            use_old_scheduling,
            opts.CLIP_stop_at_last_layers,
            shared.sd_model.sd_checkpoint_info,
            extra_network_data,
            self.width,
            self.height,
            opts.emphasis,
        )

    def get_conds_with_caching(
        self, function, required_prompts, steps, caches, extra_network_data, hires_steps=None
    ):
        """function(model, prompts, steps, ...), or what it returned for the same parameters. The first cache
        is written to.
        """
        params = self.cached_params(
            required_prompts, steps, extra_network_data, hires_steps, opts.use_old_scheduling
        )
        for cache in caches:
            if cache[0] is not None and cache[0] == params:
                return cache[1]
        caches[0][1] = function(
            shared.sd_model, required_prompts, steps, hires_steps, opts.use_old_scheduling
        )
        caches[0][0] = params
        return caches[0][1]

    def setup_conds(self):
        prompts = prompt_parser.SdConditioning(self.prompts, width=self.width, height=self.height)
        negative = prompt_parser.SdConditioning(
            self.negative_prompts, width=self.width, height=self.height, is_negative_prompt=True
        )
        config = sd_samplers.find_sampler_config(self.sampler_name)
        total_steps = config.total_steps(self.steps) if config else self.steps
        self.step_multiplier = total_steps // self.steps
        self.firstpass_steps = total_steps
        if profiles.active.cfg1_skips_uncond and self.cfg_scale == 1:
            self.uc = None
        else:
            self.uc = self.get_conds_with_caching(
                prompt_parser.get_learned_conditioning,
                negative,
                total_steps,
                [self.cached_uc],
                self.extra_network_data,
            )
        self.c = self.get_conds_with_caching(
            prompt_parser.get_multicond_learned_conditioning,
            prompts,
            total_steps,
            [self.cached_c],
            self.extra_network_data,
        )

    def get_conds(self):
        return self.c, self.uc

    def save_samples(self) -> bool:
        return (
            opts.samples_save and not self.do_not_save_samples and not state.interrupted and not state.skipped
        )


def _ignore(self, value):
    """The model is always the current one."""


StableDiffusionProcessing.sd_model = property(lambda self: shared.sd_model, _ignore)


class DecodedSamples(list):
    """Pictures where latents are expected."""

    already_decoded = True


def decode_latent_batch(model, batch, target_device=None, check_for_nans=False):
    """Latents [B, 4, h, w] to a list of pictures [3, 8h, 8w] in -1..1, one by one. Raises NansException if
    one is all NaN.
    """
    pictures = DecodedSamples()
    for latent in batch:
        with torch.no_grad():
            picture = sd_samplers_common.decode_first_stage(model, latent[None])[0]
        if check_for_nans:
            devices.test_for_nans(picture, "vae")
        pictures.append(picture.to(target_device or picture.device))
    return pictures
