"""img2img and inpainting."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps

from modules import images, masking, rng, scripts, sd_hijack, sd_samplers, sd_samplers_common, shared
from modules.processing_base import StableDiffusionProcessing, opt_f
from modules.shared import opts

LATENT_RESIZE = 3
"""Resize mode "Just resize (latent upscale)"."""
FILL, ORIGINAL, LATENT_NOISE, LATENT_NOTHING = range(4)
"""What the masked area starts from."""


def create_binary_mask(image, round=True):
    """The mask as L; of an RGBA picture that is not opaque everywhere, its alpha channel."""
    if image.mode != "RGBA" or image.getextrema()[-1] == (255, 255):
        return image.convert("L")
    alpha = image.getchannel("A")
    return alpha.point(lambda value: 255 if value > 128 else 0) if round else alpha


@dataclass(repr=False)
class StableDiffusionProcessingImg2Img(StableDiffusionProcessing):
    """Pictures from pictures, or parts of them: white in the mask is made anew."""

    init_images: list = None
    resize_mode: int = 0
    denoising_strength: float = 0.75
    image_cfg_scale: float = None
    mask: Any = None
    mask_blur_x: int = 4
    mask_blur_y: int = 4
    mask_blur: int = None
    mask_round: bool = True
    inpainting_fill: int = 0
    inpaint_full_res: bool = True
    inpaint_full_res_padding: int = 0
    inpainting_mask_invert: int = 0
    initial_noise_multiplier: float = None
    latent_mask: Any = None
    force_task_id: str = None

    image_mask: Any = field(default=None, init=False)
    nmask: torch.Tensor = field(default=None, init=False)
    image_conditioning: torch.Tensor = field(default=None, init=False)
    init_img_hash: str = field(default=None, init=False)
    mask_for_overlay: Any = field(default=None, init=False)
    init_latent: torch.Tensor = field(default=None, init=False)

    def __post_init__(self):
        super().__post_init__()
        self.image_mask = self.mask
        self.mask = None
        if self.initial_noise_multiplier is None:
            self.initial_noise_multiplier = opts.initial_noise_multiplier

    def _prepare_mask(self):
        """(mask at the processing size or None, region to crop the picture to or None); sets what the overlay
        needs.
        """
        if self.image_mask is None:
            return None, None
        params = self.extra_generation_params
        mask = create_binary_mask(self.image_mask, round=self.mask_round)
        if self.inpainting_mask_invert:
            mask = ImageOps.invert(mask)
            params["Mask mode"] = "Inpaint not masked"
        if self.mask_blur_x > 0 or self.mask_blur_y > 0:
            mask = mask.filter(ImageFilter.GaussianBlur(max(self.mask_blur_x, self.mask_blur_y)))
            params["Mask blur"] = self.mask_blur
        if not self.inpaint_full_res:
            mask = images.resize_image(self.resize_mode, mask, self.width, self.height)
            self.mask_for_overlay = mask.point(lambda value: min(value * 2, 255))
            return mask, None
        region = masking.get_crop_region_v2(mask, self.inpaint_full_res_padding)
        if region is None:
            self.inpaint_full_res = False
            sd_hijack.model_hijack.comments.append(
                'Unable to perform "Inpaint Only mask" because mask is blank, switch to img2img mode.'
            )
            return None, None
        self.mask_for_overlay = mask
        region = masking.expand_crop_region(region, self.width, self.height, mask.width, mask.height)
        self.paste_to = (region[0], region[1], region[2] - region[0], region[3] - region[1])
        params["Inpaint area"] = "Only masked"
        params["Masked area padding"] = self.inpaint_full_res_padding
        return images.resize_image(2, mask.crop(region), self.width, self.height), region

    def _prepare_image(self, img, mask, region) -> np.ndarray:
        """One initial picture as [3, H, W] in 0..1."""
        if opts.save_init_img:
            name = hashlib.md5(img.tobytes()).hexdigest()
            images.save_image(
                img,
                opts.outdir_init_images,
                None,
                forced_filename=name,
                save_to_dirs=False,
                existing_info=img.info,
            )
        image = images.flatten(img, opts.img2img_background_color)
        if region is None and self.resize_mode != LATENT_RESIZE:
            image = images.resize_image(self.resize_mode, image, self.width, self.height)
        if mask is not None:
            if self.mask_for_overlay.size != image.size:
                self.mask_for_overlay = images.resize_image(
                    self.resize_mode, self.mask_for_overlay, image.width, image.height
                )
            overlay = Image.new("RGBa", image.size)
            overlay.paste(
                image.convert("RGBA").convert("RGBa"),
                mask=ImageOps.invert(self.mask_for_overlay.convert("L")),
            )
            self.overlay_images.append(overlay.convert("RGBA"))
        if region is not None:
            image = images.resize_image(2, image.crop(region), self.width, self.height)
        if mask is not None and self.inpainting_fill != ORIGINAL:
            image = masking.fill(image, self.latent_mask if self.latent_mask is not None else mask)
            if self.inpainting_fill == FILL:
                self.extra_generation_params["Masked content"] = "fill"
        return np.moveaxis(np.asarray(image, dtype=np.float32) / 255.0, 2, 0)

    def init(self, all_prompts, all_seeds, all_subseeds):
        self.extra_generation_params["Denoising strength"] = self.denoising_strength
        self.image_cfg_scale = self.image_cfg_scale if self.sd_model.cond_stage_key == "edit" else None
        self.sampler = sd_samplers.create_sampler(self.sampler_name, self.sd_model)
        mask, region = self._prepare_mask()
        if mask is not None:
            self.overlay_images = []
        pictures = [self._prepare_image(img, mask, region) for img in self.init_images]
        if len(pictures) == 1:
            pictures = pictures * self.batch_size
            if self.overlay_images is not None:
                self.overlay_images = self.overlay_images * self.batch_size
        elif len(pictures) <= self.batch_size:
            self.batch_size = len(pictures)
        else:
            raise RuntimeError(
                f"bad number of images passed: {len(pictures)}; expecting {self.batch_size} or less"
            )
        batch = torch.from_numpy(np.stack(pictures)).to(shared.device)
        self.init_latent = sd_samplers_common.images_tensor_to_samples(batch, model=self.sd_model)
        if self.resize_mode == LATENT_RESIZE:
            self.init_latent = torch.nn.functional.interpolate(
                self.init_latent, size=(self.height // opt_f, self.width // opt_f), mode="bilinear"
            )
        if mask is not None:
            self._mask_latent(self.latent_mask if self.latent_mask is not None else mask, all_seeds)
        self.image_conditioning = self.img2img_image_conditioning(
            batch * 2 - 1, self.init_latent, mask, self.mask_round
        )

    def _mask_latent(self, mask, all_seeds):
        """`nmask` is 1 where the latent is made anew, `mask` where it stays; both [4, h, w]."""
        channels, height, width = self.init_latent.shape[1:]
        latent_mask = np.asarray(mask.convert("L").resize((width, height)), dtype=np.float32) / 255
        if self.mask_round:
            latent_mask = np.around(latent_mask)
        self.nmask = torch.from_numpy(np.tile(latent_mask[None], (channels, 1, 1))).to(self.init_latent)
        self.mask = 1.0 - self.nmask
        if self.inpainting_fill == LATENT_NOISE:
            noise = rng.ImageRNG(self.init_latent.shape[1:], all_seeds[: len(self.init_latent)]).next()
            self.init_latent = self.init_latent * self.mask + noise * self.nmask
            self.extra_generation_params["Masked content"] = "latent noise"
        elif self.inpainting_fill == LATENT_NOTHING:
            self.init_latent = self.init_latent * self.mask
            self.extra_generation_params["Masked content"] = "latent nothing"

    def sample(self, conditioning, unconditional_conditioning, seeds, subseeds, subseed_strength, prompts):
        x = self.rng.next()
        if self.initial_noise_multiplier != 1.0:
            self.extra_generation_params["Noise multiplier"] = self.initial_noise_multiplier
            x *= self.initial_noise_multiplier
        if self.scripts is not None:
            self.scripts.process_before_every_sampling(
                p=self, x=self.init_latent, noise=x, c=conditioning, uc=unconditional_conditioning
            )
        samples = self.sampler.sample_img2img(
            self,
            self.init_latent,
            x,
            conditioning,
            unconditional_conditioning,
            image_conditioning=self.image_conditioning,
        )
        if self.mask is None:
            return samples
        blended = samples * self.nmask + self.init_latent * self.mask
        if self.scripts is None:
            return blended
        args = scripts.MaskBlendArgs(samples, self.nmask, self.init_latent, self.mask, blended)
        self.scripts.on_mask_blend(self, args)
        return args.blended_latent


def _get_mask_blur(self):
    return self.mask_blur_x if self.mask_blur_x == self.mask_blur_y else None


def _set_mask_blur(self, value):
    if isinstance(value, int):
        self.mask_blur_x = self.mask_blur_y = value


StableDiffusionProcessingImg2Img.mask_blur = property(_get_mask_blur, _set_mask_blur)
