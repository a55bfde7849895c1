"""The class that extensions derive their scripts from, and the objects that its callbacks receive."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from workbench.webui import profiles

AlwaysVisible = object()


class MaskBlendArgs:
    """The original and the new latent about to be blended by a mask; the last blend has no denoiser."""

    def __init__(self, current_latent, nmask, init_latent, mask, blended_latent, denoiser=None, sigma=None):
        self.current_latent = current_latent
        self.nmask = nmask
        self.init_latent = init_latent
        self.mask = mask
        self.blended_latent = blended_latent
        self.denoiser = denoiser
        self.is_final_blend = denoiser is None
        self.sigma = sigma


class PostSampleArgs:
    def __init__(self, samples):
        self.samples = samples


class PostprocessImageArgs:
    def __init__(self, image, index=None):
        self.image = image
        self.index = index


class PostProcessMaskOverlayArgs:
    def __init__(self, index, mask_for_overlay, overlay_image):
        self.index = index
        self.mask_for_overlay = mask_for_overlay
        self.overlay_image = overlay_image


class PostprocessBatchListArgs:
    def __init__(self, images):
        self.images = images


@dataclass
class OnComponent:
    component: Any


class Script:
    """One script on one tab. `args` of the callbacks are the values of the components that `ui` returned."""

    name = None
    section = None
    filename = None
    args_from = None
    args_to = None
    alwayson = False
    is_txt2img = False
    is_img2img = False
    tabname = None
    group = None
    create_group = True
    infotext_fields = None
    paste_field_names = None
    api_info = None
    on_before_component_elem_id = None
    on_after_component_elem_id = None
    setup_for_ui_only = False
    controls = None

    def title(self):
        """Name in the interface and, in lower case, over the API."""
        raise NotImplementedError()

    def ui(self, is_img2img):
        """Make the components; returns those whose values the callbacks get."""

    def show(self, is_img2img):
        """AlwaysVisible, True (in the scripts drop-down) or False (not on this tab)."""
        return True

    def run(self, p, *args):
        """Do a whole generation; for scripts chosen in the drop-down. Returns a Processed."""

    def setup(self, p, *args):
        """`p` has just been made."""

    def before_process(self, p, *args):
        """First callback of a generation: override_settings are not in effect yet."""

    def process(self, p, *args):
        """The settings are in effect, prompts and seeds are known."""

    def before_process_batch(self, p, *args, **kwargs):
        """The tags have not been taken from `p.prompts` yet. kwargs: batch_number, prompts, seeds,
        subseeds.
        """

    def after_extra_networks_activate(self, p, *args, **kwargs):
        """The networks of the prompt are loaded. kwargs as above, and extra_network_data."""

    def process_before_every_sampling(self, p, *args, **kwargs):
        """Before each pass. kwargs: x, noise, c, uc."""

    def process_batch(self, p, *args, **kwargs):
        """Before the conditioning is computed. kwargs as in before_process_batch."""

    def postprocess_batch(self, p, *args, **kwargs):
        """kwargs: images [B, 3, H, W] in 0..1, batch_number."""

    def postprocess_batch_list(self, p, pp, *args, **kwargs):
        """pp.images may be changed, also in number."""

    def on_mask_blend(self, p, mba, *args):
        """Inpainting blends two latents."""

    def post_sample(self, p, ps, *args):
        """ps.samples are latents, or already decoded."""

    def postprocess_image(self, p, pp, *args):
        """pp.image is one finished image."""

    def postprocess_maskoverlay(self, p, ppmo, *args):
        """The mask and the image around it are about to be used."""

    def postprocess_image_after_composite(self, p, pp, *args):
        """As postprocess_image, after an inpainted part was put back."""

    def postprocess(self, p, processed, *args):
        """Last callback of a generation."""

    def before_hr(self, p, *args):
        """Before the hires pass."""

    def before_component(self, component, **kwargs):
        """Before any component of the page is made."""

    def after_component(self, component, **kwargs):
        """After any component of the page was made."""

    def on_before_component(self, callback, *, elem_id):
        """Call `callback(OnComponent)` before the component of that id is made."""
        self.on_before_component_elem_id = [*(self.on_before_component_elem_id or []), (elem_id, callback)]

    def on_after_component(self, callback, *, elem_id):
        """Call `callback(OnComponent)` after the component of that id was made."""
        self.on_after_component_elem_id = [*(self.on_after_component_elem_id or []), (elem_id, callback)]

    def describe(self):
        return ""

    def _tab_prefix(self) -> str:
        on_both_tabs = self.show(True) == self.show(False)
        return ("img2img_" if self.is_img2img else "txt2img_") if on_both_tabs else ""

    def elem_id(self, item_id):
        """`script_{tab}_{title}_{item}`; without the tab for a script that is on one tab only."""
        slug = re.sub(r"[^a-z_0-9]", "", re.sub(r"\s", "_", self.title().lower()))
        return f"script_{self._tab_prefix()}{slug}_{item_id}"


if not profiles.active.late_image_callbacks:
    del (
        Script.on_mask_blend,
        Script.post_sample,
        Script.postprocess_maskoverlay,
        Script.postprocess_image_after_composite,
    )


class ScriptBuiltinUI(Script):
    """A part of the WebUI's own page that is written as a script."""

    setup_for_ui_only = True

    def elem_id(self, item_id):
        return f"{self._tab_prefix()}{item_id}"

    def show(self, is_img2img):
        return AlwaysVisible
