"""The text that says how a picture was made, and the result of a generation."""

from __future__ import annotations

import json

from modules import errors, infotext_utils, sd_samplers_common
from modules.shared import opts, state
from workbench.webui import profiles


def program_version():
    return profiles.active.version


def _parameters(p, index, use_main_prompt, all_seeds, all_subseeds):
    """Name -> value, None for what is not said. `p.extra_generation_params` come last and may replace the
    others.
    """
    varies = p.subseed_strength != 0
    uses_ensd = opts.eta_noise_seed_delta != 0 and sd_samplers_common.is_sampler_using_eta_noise_seed_delta(p)
    resized_seed = p.seed_resize_from_w > 0 and p.seed_resize_from_h > 0
    return {
        "Steps": p.steps,
        "Sampler": p.sampler_name,
        "Schedule type": p.scheduler if profiles.active.schedulers else None,
        "CFG scale": p.cfg_scale,
        "Image CFG scale": getattr(p, "image_cfg_scale", None),
        "Seed": p.all_seeds[0] if use_main_prompt else all_seeds[index],
        "Size": f"{p.width}x{p.height}",
        "Model hash": p.sd_model_hash if opts.add_model_hash_to_info else None,
        "Model": p.sd_model_name if opts.add_model_name_to_info else None,
        "Variation seed": (p.all_subseeds[0] if use_main_prompt else all_subseeds[index]) if varies else None,
        "Variation seed strength": p.subseed_strength if varies else None,
        "Seed resize from": f"{p.seed_resize_from_w}x{p.seed_resize_from_h}" if resized_seed else None,
        "Denoising strength": p.extra_generation_params.get("Denoising strength"),
        "Clip skip": opts.CLIP_stop_at_last_layers if opts.CLIP_stop_at_last_layers > 1 else None,
        "ENSD": opts.eta_noise_seed_delta if uses_ensd else None,
        "RNG": opts.randn_source if opts.randn_source != "GPU" else None,
        **p.extra_generation_params,
        "Version": program_version() if opts.add_version_to_infotext else None,
        "User": p.user if opts.add_user_name_to_info else None,
    }


def create_infotext(
    p, all_prompts, all_seeds, all_subseeds, comments=None, iteration=0, position_in_batch=0,
    use_main_prompt=False, index=None,
    all_negative_prompts=None,
):  # fmt: skip
    """The infotext of one image.

    A value in `p.extra_generation_params` may be a list (one entry per image) or a function that gets the
    arguments of this one, `index`, `prompt_text` and `negative_prompt` by name; one that raises is reported
    and left out.
    """
    if use_main_prompt:
        index = 0
    elif index is None:
        index = position_in_batch + iteration * p.batch_size
    if all_negative_prompts is None:
        all_negative_prompts = p.all_negative_prompts
    prompt_text = p.main_prompt if use_main_prompt else all_prompts[index]
    negative_prompt = p.main_negative_prompt if use_main_prompt else all_negative_prompts[index]
    context = {
        "p": p, "all_prompts": all_prompts, "all_seeds": all_seeds, "all_subseeds": all_subseeds,
        "comments": comments,
        "iteration": iteration, "position_in_batch": position_in_batch, "use_main_prompt": use_main_prompt,
        "index": index,
        "all_negative_prompts": all_negative_prompts, "prompt_text": prompt_text,
        "negative_prompt": negative_prompt,
    }  # fmt: skip
    entries = []
    for key, value in _parameters(p, index, use_main_prompt, all_seeds, all_subseeds).items():
        try:
            if isinstance(value, list):
                value = value[index]
            elif callable(value):
                value = value(**context)
        except Exception:
            errors.report(f'Error creating infotext for key "{key}"', exc_info=True)
            continue
        if value is not None:
            entries.append(key if key == value else f"{key}: {infotext_utils.quote(value)}")
    negative_line = f"\nNegative prompt: {negative_prompt}" if negative_prompt else ""
    return f"{prompt_text}{negative_line}\n{', '.join(entries)}".strip()


def _first(value):
    return value[0] if isinstance(value, list) else value


class Processed:
    """What came out of a generation: `images` (a grid first, if there is one) and their `infotexts`."""

    def __init__(
        self, p, images_list, seed=-1, info="", subseed=None, all_prompts=None, all_negative_prompts=None,
        all_seeds=None,
        all_subseeds=None, index_of_first_image=0, infotexts=None, comments="",
    ):  # fmt: skip
        self.images = images_list
        self.extra_images = []
        self.info = info
        self.infotexts = infotexts or [info] * len(images_list)
        self.index_of_first_image = index_of_first_image
        self.comments = "".join(f"{comment}\n" for comment in p.comments)
        for name in (
            "subseed_strength", "width", "height", "sampler_name", "cfg_scale", "steps", "batch_size",
            "restore_faces", "sd_model_name",
            "sd_model_hash", "sd_vae_name", "sd_vae_hash", "seed_resize_from_w", "seed_resize_from_h",
            "extra_generation_params",
            "styles", "token_merging_ratio", "token_merging_ratio_hr", "eta", "ddim_discretize", "s_churn",
            "s_tmin", "s_tmax",
            "s_noise", "s_min_uncond", "sampler_noise_scheduler_override",
            "is_using_inpainting_conditioning", "denoising_strength",
        ):  # fmt: skip
            setattr(self, name, getattr(p, name))
        self.image_cfg_scale = getattr(p, "image_cfg_scale", None)
        self.face_restoration_model = None
        self.job_timestamp = state.job_timestamp
        self.clip_skip = opts.CLIP_stop_at_last_layers
        self.version = program_version()
        self.prompt = _first(p.prompt)
        self.negative_prompt = _first(p.negative_prompt)
        self.seed = int(_first(seed)) if seed is not None else -1
        self.subseed = int(_first(subseed)) if subseed is not None else -1
        self.all_prompts = all_prompts or p.all_prompts or [self.prompt]
        self.all_negative_prompts = all_negative_prompts or p.all_negative_prompts or [self.negative_prompt]
        self.all_seeds = all_seeds or p.all_seeds or [self.seed]
        self.all_subseeds = all_subseeds or p.all_subseeds or [self.subseed]

    def js(self):
        """As JSON, for the page and the API. Values that JSON cannot hold become null."""
        names = (
            "all_prompts", "all_negative_prompts", "seed", "all_seeds", "subseed", "all_subseeds",
            "subseed_strength", "width", "height",
            "sampler_name", "cfg_scale", "steps", "batch_size", "restore_faces", "face_restoration_model",
            "sd_model_name",
            "sd_model_hash", "sd_vae_name", "sd_vae_hash", "seed_resize_from_w", "seed_resize_from_h",
            "denoising_strength",
            "extra_generation_params", "index_of_first_image", "infotexts", "styles", "job_timestamp",
            "clip_skip",
            "is_using_inpainting_conditioning", "version",
        )  # fmt: skip
        prompts = {"prompt": self.all_prompts[0], "negative_prompt": self.all_negative_prompts[0]}
        return json.dumps(
            {**prompts, **{name: getattr(self, name) for name in names}}, default=lambda _: None
        )

    def infotext(self, p, index):
        return create_infotext(
            p,
            self.all_prompts,
            self.all_seeds,
            self.all_subseeds,
            position_in_batch=index % self.batch_size,
            iteration=index // self.batch_size,
        )

    def get_token_merging_ratio(self, for_hr=False):
        return self.token_merging_ratio
