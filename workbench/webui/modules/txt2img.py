"""The Generate button of the txt2img tab."""

from __future__ import annotations

from contextlib import closing

from modules import processing, scripts, shared
from modules.infotext_utils import create_override_settings_dict
from modules.shared import opts
from modules.ui_common import plaintext_to_html


def txt2img_create_processing(request, values: dict, override_settings_texts, script_args):
    """The processing object for what the tab says; `values` are fields of the processing class."""
    p = processing.StableDiffusionProcessingTxt2Img(
        sd_model=shared.sd_model,
        outpath_samples=opts.outdir_txt2img_samples,
        outpath_grids=opts.outdir_txt2img_grids,
        override_settings=create_override_settings_dict(override_settings_texts or []),
        **values,
    )
    same = {
        "hr_checkpoint_name": "Use same checkpoint",
        "hr_sampler_name": "Use same sampler",
        "hr_scheduler": "Use same scheduler",
    }
    for name, label in same.items():
        if getattr(p, name, None) == label:
            setattr(p, name, None)
    return start(p, request, scripts.scripts_txt2img, script_args)


def start(p, request, runner, script_args):
    """Give a processing object its user and scripts."""
    p.user = getattr(request, "username", None)
    p.scripts = runner
    p.script_args = script_args
    return p


def run(p, runner, script_args):
    """The generation, or what the script chosen in the drop-down makes of it."""
    return runner.run(p, *script_args) or processing.process_images(p)


def finish(p, make):
    """Run `make()`, which processes `p`; returns (images, info as JSON, infotext as HTML, comments as
    HTML).
    """
    with closing(p):
        processed = make()
    shared.total_tqdm.clear()
    comments = plaintext_to_html(processed.comments, classname="comments")
    return processed.images, processed.js(), plaintext_to_html(processed.info), comments


def txt2img(request, values, override_settings_texts, script_args):
    p = txt2img_create_processing(request, values, override_settings_texts, script_args)
    return finish(p, lambda: run(p, scripts.scripts_txt2img, script_args))
