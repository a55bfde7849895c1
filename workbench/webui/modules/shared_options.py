"""The settings that the workbench itself knows. Extensions add theirs with `shared.opts.add_option`."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from modules.options import OptionInfo, options_section
from modules.paths_internal import default_output_dir
from workbench.webui import presets, profiles


def _checkpoint_choices():
    from modules import sd_models

    return {"choices": sd_models.checkpoint_tiles()}


def _refresh_checkpoints():
    from modules import sd_models

    sd_models.list_models()


def _sampler_choices():
    from modules import sd_samplers

    return {"choices": [sampler.name for sampler in sd_samplers.all_samplers]}


def _localization_choices():
    from modules import localization

    return {"choices": ["None", *localization.localizations]}


def _range(minimum, maximum, step):
    return {"minimum": minimum, "maximum": maximum, "step": step}


options_templates: dict[str, OptionInfo] = {}

options_templates.update(
    options_section(
        ("saving-images", "Saving images"),
        {
            "samples_save": OptionInfo(True, "Always save all generated images"),
            "samples_format": OptionInfo("png", "File format for images"),
            "save_images_before_highres_fix": OptionInfo(
                False, "Save a copy of image before applying hires fix"
            ),
            "grid_save": OptionInfo(False, "Always save all generated image grids"),
            "return_grid": OptionInfo(True, "Show grid in results for web"),
            "grid_only_if_multiple": OptionInfo(True, "Do not save grids consisting of one picture"),
            "enable_pnginfo": OptionInfo(True, "Write infotext to metadata of the generated image"),
            "outdir_txt2img_samples": OptionInfo(
                str(Path(default_output_dir) / "txt2img-images"), "Output directory for txt2img images"
            ),
            "outdir_img2img_samples": OptionInfo(
                str(Path(default_output_dir) / "img2img-images"), "Output directory for img2img images"
            ),
            "outdir_txt2img_grids": OptionInfo(
                str(Path(default_output_dir) / "txt2img-grids"), "Output directory for txt2img grids"
            ),
            "outdir_img2img_grids": OptionInfo(
                str(Path(default_output_dir) / "img2img-grids"), "Output directory for img2img grids"
            ),
            "save_init_img": OptionInfo(False, "Save init images when using img2img"),
            "outdir_init_images": OptionInfo(
                str(Path(default_output_dir) / "init-images"), "Directory for saving init images"
            ),
            "temp_dir": OptionInfo("", "Directory for temporary images; leave empty for default"),
            "return_mask": OptionInfo(False, "For inpainting, include the greyscale mask in results for web"),
            "return_mask_composite": OptionInfo(
                False, "For inpainting, include masked composite in results for web"
            ),
        },
    )
)

options_templates.update(
    options_section(
        ("sd", "Stable Diffusion"),
        {
            "sd_model_checkpoint": OptionInfo(
                None,
                "Stable Diffusion checkpoint",
                gr.Dropdown,
                _checkpoint_choices,
                refresh=_refresh_checkpoints,
                infotext=profiles.active.checkpoint_in_infotexts,
            ),
            "sd_checkpoints_limit": OptionInfo(
                2, "Maximum number of checkpoints loaded at the same time", gr.Slider, _range(1, 10, 1)
            ),
            "enable_prompt_comments": OptionInfo(True, "Comments in prompts"),
            "CLIP_stop_at_last_layers": OptionInfo(
                1, "Clip skip", gr.Slider, _range(1, 12, 1), infotext="Clip skip"
            ),
            "randn_source": OptionInfo(
                "GPU", "Random number generator source", gr.Radio, {"choices": ["GPU", "CPU"]}, infotext="RNG"
            ),
            "sd_vae_decode_method": OptionInfo(
                "Full",
                "VAE type for decode",
                gr.Radio,
                {"choices": ["Full", "TAESD"]},
                infotext="VAE Decoder",
            ),
            "enable_quantization": OptionInfo(False, "Round timesteps to whole numbers"),
            "emphasis": OptionInfo(
                "Original",
                "Emphasis mode",
                gr.Radio,
                {"choices": ["None", "Ignore", "Original", "No norm"]},
                infotext="Emphasis",
            ),
            "batch_cond_uncond": OptionInfo(True, "Batch cond/uncond"),
            "persistent_cond_cache": OptionInfo(True, "Persistent cond cache"),
            "use_old_scheduling": OptionInfo(
                False, "Use old prompt editing timelines", infotext="Old prompt editing timelines"
            ),
        },
    )
)

options_templates.update(
    options_section(
        ("img2img", "img2img"),
        {
            "initial_noise_multiplier": OptionInfo(
                1.0,
                "Noise multiplier for img2img",
                gr.Slider,
                _range(0.0, 1.5, 0.001),
                infotext="Noise multiplier",
            ),
            "inpainting_mask_weight": OptionInfo(
                1.0, "Inpainting conditioning mask strength", infotext="Conditional mask weight"
            ),
            "img2img_fix_steps": OptionInfo(
                False, "With img2img, do exactly the amount of steps the slider specifies"
            ),
            "img2img_extra_noise": OptionInfo(
                0.0, "Extra noise multiplier for img2img and hires fix", infotext="Extra noise"
            ),
            "img2img_background_color": OptionInfo(
                "#ffffff",
                "With img2img, fill transparent parts of the input image with this color",
                gr.ColorPicker,
            ),
        },
    )
)

options_templates.update(
    options_section(
        ("infotext", "Infotext"),
        {
            "add_model_hash_to_info": OptionInfo(True, "Add model hash to infotext"),
            "add_model_name_to_info": OptionInfo(True, "Add model name to infotext"),
            "add_version_to_infotext": OptionInfo(True, "Add program version to infotext"),
            "add_user_name_to_info": OptionInfo(False, "Add user name to infotext"),
            "disable_weights_auto_swap": OptionInfo(
                True, "Disregard checkpoint information from pasted infotext"
            ),
            "infotext_skip_pasting": OptionInfo(
                [], "Disregard fields from pasted infotext", gr.Dropdown, {"choices": [], "multiselect": True}
            ),
            "lora_add_hashes_to_infotext": OptionInfo(True, "Add Lora hashes to infotext"),
            "send_seed": OptionInfo(True, "Send seed when sending prompt or image to other interface"),
            "send_size": OptionInfo(True, "Send size when sending prompt or image to another interface"),
        },
    )
)

options_templates.update(
    options_section(
        ("extra_networks", "Extra Networks"),
        {
            "sd_lora": OptionInfo("None", "Add network to prompt"),
            "extra_networks_default_multiplier": OptionInfo(
                1.0, "Default multiplier for extra networks", gr.Slider, _range(0.0, 2.0, 0.01)
            ),
            "lora_preferred_name": OptionInfo(
                "Alias from file",
                "When adding to prompt, refer to Lora by",
                gr.Radio,
                {"choices": ["Alias from file", "Filename"]},
            ),
            "lora_in_memory_limit": OptionInfo(
                0, "Number of Lora networks to keep cached in memory", gr.Number, {"precision": 0}
            ),
        },
    )
)

if profiles.active.loras_are_patches:
    del options_templates["lora_in_memory_limit"]

options_templates.update(
    options_section(
        ("ui-language", "User interface"),
        {
            "localization": (
                OptionInfo("None", "Localization", gr.Dropdown, _localization_choices).needs_reload_ui()
            )
        },
    )
)

options_templates.update(
    options_section(
        ("ui", "Live previews"),
        {
            "live_previews_enable": OptionInfo(True, "Show live previews of the created image"),
            "show_progress_every_n_steps": OptionInfo(
                10, "Live preview display period", gr.Slider, _range(-1, 32, 1)
            ),
            "show_progress_type": OptionInfo("Full", "Live preview method", gr.Radio, {"choices": ["Full"]}),
            "live_preview_content": OptionInfo(
                "Prompt",
                "Live preview subject",
                gr.Radio,
                {"choices": ["Combined", "Prompt", "Negative prompt"]},
            ),
        },
    )
)

options_templates.update(
    options_section(
        ("sampler-params", "Sampler parameters"),
        {
            "hide_samplers": OptionInfo(
                [], "Hide samplers in user interface", gr.CheckboxGroup, _sampler_choices
            ),
            "eta_ancestral": OptionInfo(
                1.0, "Eta for k-diffusion samplers", gr.Slider, _range(0.0, 1.0, 0.01), infotext="Eta"
            ),
            "s_churn": OptionInfo(
                0.0, "sigma churn", gr.Slider, _range(0.0, 100.0, 0.01), infotext="Sigma churn"
            ),
            "s_tmin": OptionInfo(
                0.0, "sigma tmin", gr.Slider, _range(0.0, 10.0, 0.01), infotext="Sigma tmin"
            ),
            "s_tmax": OptionInfo(
                0.0, "sigma tmax", gr.Slider, _range(0.0, 999.0, 0.01), infotext="Sigma tmax"
            ),
            "s_noise": OptionInfo(
                1.0, "sigma noise", gr.Slider, _range(0.0, 1.1, 0.001), infotext="Sigma noise"
            ),
            "s_min_uncond": OptionInfo(
                0.0, "Negative Guidance minimum sigma", gr.Slider, _range(0.0, 15.0, 0.01), infotext="NGMS"
            ),
            "s_min_uncond_all": OptionInfo(
                False, "Negative Guidance minimum sigma all steps", infotext="NGMS all steps"
            ),
            "skip_early_cond": OptionInfo(
                0.0,
                "Ignore negative prompt during early sampling",
                gr.Slider,
                _range(0.0, 1.0, 0.01),
                infotext="Skip Early CFG",
            ),
            "sigma_min": OptionInfo(0.0, "sigma min", gr.Number, infotext="Schedule min sigma"),
            "sigma_max": OptionInfo(0.0, "sigma max", gr.Number, infotext="Schedule max sigma"),
            "rho": OptionInfo(0.0, "rho", gr.Number, infotext="Schedule rho"),
            "eta_noise_seed_delta": OptionInfo(
                0, "Eta noise seed delta", gr.Number, {"precision": 0}, infotext="ENSD"
            ),
            "always_discard_next_to_last_sigma": OptionInfo(
                False, "Always discard next-to-last sigma", infotext="Discard penultimate sigma"
            ),
            "sgm_noise_multiplier": OptionInfo(
                False, "SGM noise multiplier", infotext="SGM noise multiplier"
            ),
            "hires_fix_use_firstpass_conds": OptionInfo(
                False, "For hires fix, calculate conds of second pass using extra networks of first pass"
            ),
            "refiner_switch_by_sample_steps": OptionInfo(
                False, "Switch to refiner by sampling steps", infotext="Refiner switch by sampling steps"
            ),
            "hires_fix_refiner_pass": OptionInfo(
                "second pass",
                "Hires fix: which pass to enable refiner for",
                gr.Radio,
                {"choices": ["first pass", "second pass", "both passes"]},
            ),
        },
    )
)

if profiles.active.native_lcm:  # A1111 1.8 has these too
    options_templates.update(
        options_section(
            ("compatibility", "Compatibility"),
            {
                "use_downcasted_alpha_bar": OptionInfo(
                    False,
                    "Downcast model alphas_cumprod to fp16 before sampling",
                    infotext="Downcast alphas_cumprod",
                ),
                "sd_noise_schedule": OptionInfo(
                    "Default",
                    "Noise schedule for sampling",
                    gr.Radio,
                    {"choices": ["Default", "Zero Terminal SNR"]},
                    infotext="Noise Schedule",
                ),
            },
        )
    )

if not profiles.active.schedulers:
    options_templates.update(
        options_section(
            ("sampler-params", "Sampler parameters"),
            {
                "k_sched_type": OptionInfo(
                    "Automatic",
                    "Scheduler type",
                    gr.Dropdown,
                    {"choices": ["Automatic", "karras", "exponential", "polyexponential"]},
                    infotext="Schedule type",
                )
            },
        )
    )

if profiles.active.has_presets:
    options_templates.update(options_section((None, "Presets"), presets.options()))

options_templates.update(
    options_section(
        (None, "Hidden options"),
        {
            "disabled_extensions": OptionInfo([], "Disable these extensions"),
            "disable_all_extensions": OptionInfo("none", "Disable all extensions"),
            "sd_checkpoint_hash": OptionInfo("", "SHA256 hash of the current checkpoint"),
        },
    )
)

restricted_opts = {
    "outdir_txt2img_samples",
    "outdir_img2img_samples",
    "outdir_txt2img_grids",
    "outdir_img2img_grids",
    "outdir_init_images",
    "temp_dir",
}
