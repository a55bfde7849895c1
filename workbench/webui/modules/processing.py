"""Running a generation: settings, scripts, networks, sampling and saving, in the WebUI's order."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from modules import (
    devices,
    extra_networks,
    images,
    rng,
    scripts,
    sd_models,
    sd_samplers,
    sd_samplers_common,
    sd_vae,
    shared,
)
from modules.paths import data_path
from modules.processing_base import (  # noqa: F401
    DecodedSamples,
    StableDiffusionProcessing,
    decode_latent_batch,
    fix_seed,
    get_fixed_seed,
    opt_C,
    opt_f,
    txt2img_image_conditioning,
)
from modules.processing_img2img import StableDiffusionProcessingImg2Img, create_binary_mask  # noqa: F401
from modules.processing_infotext import Processed, create_infotext, program_version  # noqa: F401
from modules.processing_txt2img import StableDiffusionProcessingTxt2Img  # noqa: F401
from modules.sd_hijack import model_hijack
from modules.shared import opts, state
from workbench.webui import profiles


def create_random_tensors(
    shape, seeds, subseeds=None, subseed_strength=0.0, seed_resize_from_h=0, seed_resize_from_w=0, p=None
):  # fmt: skip
    return rng.ImageRNG(
        shape, seeds, subseeds, subseed_strength, seed_resize_from_h, seed_resize_from_w
    ).next()


def uncrop(image, dest_size, paste_loc):
    """The image scaled into its place (x, y, width, height) in an otherwise transparent one."""
    x, y, width, height = paste_loc
    base = Image.new("RGBA", dest_size)
    base.paste(images.resize_image(1, image, width, height), (x, y))
    return base


def apply_overlay(image, paste_loc, overlay):
    """(image with the original around the mask laid over it, the image without)"""
    if overlay is None:
        return image, image.copy()
    if paste_loc is not None:
        image = uncrop(image, overlay.size, paste_loc)
    result = image.convert("RGBA")
    result.alpha_composite(overlay)
    return result.convert("RGB"), image


def process_images(p: StableDiffusionProcessing) -> Processed:
    """Run a generation with its `override_settings` in effect.

    A setting that is not in the config file is not restored afterwards: a fault that the WebUI has.
    """
    if p.scripts is not None:
        p.scripts.before_process(p)
    stored = {key: opts.data[key] for key in p.override_settings if key in opts.data}
    try:
        if sd_models.checkpoint_aliases.get(p.override_settings.get("sd_model_checkpoint")) is None:
            p.override_settings.pop("sd_model_checkpoint", None)
            sd_models.reload_model_weights()
        for key, value in p.override_settings.items():
            opts.set(key, value, is_api=True, run_callbacks=False)
            if key == "sd_model_checkpoint":
                sd_models.reload_model_weights()
        if profiles.active.schedulers:
            sd_samplers.fix_p_invalid_sampler_and_scheduler(p)
        return process_images_inner(p)
    finally:
        if p.override_settings_restore_afterwards:
            for key, value in stored.items():
                setattr(opts, key, value)


def process_images_inner(p: StableDiffusionProcessing) -> Processed:
    """A generation with the settings as they are."""
    _prepare(p)
    if p.scripts is not None:
        p.scripts.process(p)

    output_images: list[Image.Image] = []
    infotexts: list[str] = []
    with torch.no_grad():
        p.init(p.all_prompts, p.all_seeds, p.all_subseeds)
        if state.job_count == -1:
            state.job_count = p.n_iter
        for n in range(p.n_iter):
            p.iteration = n
            state.skipped = False
            if state.interrupted or state.stopping_generation:
                break
            sd_models.reload_model_weights()  # back from a refiner or a hires checkpoint
            pictures = _generate_batch(p, n)
            if pictures is None:
                break
            _finish_batch(p, pictures, output_images, infotexts)

    if not infotexts and profiles.active.survives_early_stop:
        infotexts.append(Processed(p, []).infotext(p, 0))
    p.color_corrections = None
    index_of_first_image = _add_grid(p, output_images, infotexts)
    if not p.disable_extra_networks and p.extra_network_data:
        extra_networks.deactivate(p, p.extra_network_data)
    result = Processed(
        p,
        images_list=output_images,
        seed=p.all_seeds[0],
        info=infotexts[0],
        subseed=p.all_subseeds[0],
        index_of_first_image=index_of_first_image,
        infotexts=infotexts,
    )
    if p.scripts is not None:
        p.scripts.postprocess(p, result)
    return result


def _prepare(p):
    """Seeds, prompts and the names of what is used."""
    seed = p.seed if isinstance(p.seed, list) else get_fixed_seed(p.seed)
    subseed = p.subseed if isinstance(p.subseed, list) else get_fixed_seed(p.subseed)
    p.restore_faces = bool(p.restore_faces)
    p.tiling = bool(p.tiling)
    if p.refiner_checkpoint not in (None, "", "None", "none"):
        p.refiner_checkpoint_info = sd_models.get_closet_checkpoint_match(p.refiner_checkpoint)
        if p.refiner_checkpoint_info is None:
            raise Exception(f"Could not find checkpoint with name {p.refiner_checkpoint}")
    p.sd_model_name = shared.sd_model.sd_checkpoint_info.name_for_extra
    p.sd_model_hash = shared.sd_model.sd_model_hash
    p.sd_vae_name = sd_vae.get_loaded_vae_name()
    p.sd_vae_hash = sd_vae.get_loaded_vae_hash()
    model_hijack.apply_circular(p.tiling)
    model_hijack.clear_comments()
    p.fill_fields_from_opts()
    p.setup_prompts()
    count = len(p.all_prompts)
    # with variations, the seed stays and the variation seed counts
    stride = 1 if p.subseed_strength == 0 else 0
    p.all_seeds = seed if isinstance(seed, list) else [seed + stride * i for i in range(count)]
    p.all_subseeds = subseed if isinstance(subseed, list) else [subseed + i for i in range(count)]


def _generate_batch(p, n):
    """Pictures [B, 3, H, W] in 0..1 of batch n; None if a script has emptied the batch."""
    batch = slice(n * p.batch_size, (n + 1) * p.batch_size)
    p.prompts = p.all_prompts[batch]
    p.negative_prompts = p.all_negative_prompts[batch]
    p.seeds = p.all_seeds[batch]
    p.subseeds = p.all_subseeds[batch]
    p.rng = rng.ImageRNG(
        (shared.sd_model.latent_channels, p.height // opt_f, p.width // opt_f), p.seeds, subseeds=p.subseeds,
        subseed_strength=p.subseed_strength, seed_resize_from_h=p.seed_resize_from_h,
        seed_resize_from_w=p.seed_resize_from_w,
    )  # fmt: skip
    if p.scripts is not None:
        p.scripts.before_process_batch(
            p, batch_number=n, prompts=p.prompts, seeds=p.seeds, subseeds=p.subseeds
        )
    if not p.prompts:
        return None
    p.parse_extra_network_prompts()
    if not p.disable_extra_networks:
        extra_networks.activate(p, p.extra_network_data)
    if p.scripts is not None:
        p.scripts.process_batch(p, batch_number=n, prompts=p.prompts, seeds=p.seeds, subseeds=p.subseeds)
    sd_models.apply_alpha_schedule_override(p.sd_model, p)
    p.setup_conds()
    p.extra_generation_params.update(model_hijack.extra_generation_params)
    for comment in model_hijack.comments:
        p.comment(comment)
    if n == 0 and not shared.cmd_opts.no_prompt_history:
        (Path(data_path) / "params.txt").write_text(Processed(p, []).infotext(p, 0), encoding="utf-8")
    if p.n_iter > 1:
        state.job = f"Batch {n + 1} out of {p.n_iter}"
    samples = p.sample(
        conditioning=p.c, unconditional_conditioning=p.uc, seeds=p.seeds, subseeds=p.subseeds,
        subseed_strength=p.subseed_strength,
        prompts=p.prompts,
    )  # fmt: skip
    if p.scripts is not None:
        post_sample = scripts.PostSampleArgs(samples)
        p.scripts.post_sample(p, post_sample)
        samples = post_sample.samples
    if not getattr(samples, "already_decoded", False):
        devices.test_for_nans(samples, "unet")
        if opts.sd_vae_decode_method != "Full":
            p.extra_generation_params["VAE Decoder"] = opts.sd_vae_decode_method
        samples = decode_latent_batch(p.sd_model, samples, target_device=devices.cpu, check_for_nans=True)
    pictures = torch.clamp((torch.stack(list(samples)).float() + 1.0) / 2.0, min=0.0, max=1.0)
    state.nextjob()
    if p.scripts is not None:
        p.scripts.postprocess_batch(p, pictures, batch_number=n)
        p.prompts = p.all_prompts[batch]
        p.negative_prompts = p.all_negative_prompts[batch]
        batch_list = scripts.PostprocessBatchListArgs(list(pictures))
        p.scripts.postprocess_batch_list(p, batch_list, batch_number=n)
        pictures = batch_list.images
    return pictures


def _infotext(p, index=0, use_main_prompt=False):
    return create_infotext(
        p,
        p.prompts,
        p.seeds,
        p.subseeds,
        use_main_prompt=use_main_prompt,
        index=index,
        all_negative_prompts=p.negative_prompts,
    )


def _finish_batch(p, pictures, output_images, infotexts):
    """Scripts, overlay and saving, image by image."""
    for i, picture in enumerate(pictures):
        p.batch_index = i
        image = sd_samplers_common.tensor_to_image(picture)
        if p.scripts is not None:
            args = scripts.PostprocessImageArgs(image, i + p.iteration * p.batch_size)
            p.scripts.postprocess_image(p, args)
            image = args.image
        mask_for_overlay = getattr(p, "mask_for_overlay", None)
        overlays = getattr(p, "overlay_images", None) or []
        overlay = overlays[i] if i < len(overlays) else None
        if p.scripts is not None:
            mask_args = scripts.PostProcessMaskOverlayArgs(i, mask_for_overlay, overlay)
            p.scripts.postprocess_maskoverlay(p, mask_args)
            mask_for_overlay, overlay = mask_args.mask_for_overlay, mask_args.overlay_image
        image, without_overlay = apply_overlay(image, p.paste_to, overlay)
        if p.scripts is not None:
            args = scripts.PostprocessImageArgs(image, i + p.iteration * p.batch_size)
            p.scripts.postprocess_image_after_composite(p, args)
            image = args.image
        text = _infotext(p, i)
        if p.save_samples():
            images.save_image(
                image, p.outpath_samples, "", p.seeds[i], p.prompts[i], opts.samples_format, info=text, p=p
            )
        infotexts.append(text)
        if opts.enable_pnginfo:
            image.info["parameters"] = text
        output_images.append(image)
        if mask_for_overlay is None:
            continue
        if opts.return_mask:
            output_images.append(mask_for_overlay.convert("RGB"))
        if opts.return_mask_composite:
            mask = images.resize_image(2, mask_for_overlay, image.width, image.height).convert("L")
            output_images.append(
                Image.composite(without_overlay.convert("RGBA"), Image.new("RGBA", image.size), mask)
            )


def _add_grid(p, output_images, infotexts) -> int:
    """Put a grid of all images first, if the settings want one; returns the index of the first single
    image.
    """
    wanted = (opts.return_grid or opts.grid_save) and not p.do_not_save_grid
    if not wanted or not output_images or (len(output_images) < 2 and opts.grid_only_if_multiple):
        return 0
    grid = images.image_grid(output_images, p.batch_size)
    text = _infotext(p, use_main_prompt=True)
    if opts.grid_save:
        images.save_image(
            grid, p.outpath_grids, "grid", p.all_seeds[0], p.all_prompts[0], info=text, p=p, grid=True
        )
    if not opts.return_grid:
        return 0
    if opts.enable_pnginfo:
        grid.info["parameters"] = text
    output_images.insert(0, grid)
    infotexts.insert(0, text)
    return 1
