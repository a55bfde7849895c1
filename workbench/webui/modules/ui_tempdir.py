"""The files through which pictures reach the page: a picture that is saved already is shown from where it
is.
"""

from __future__ import annotations

import os
import tempfile

import gradio as gr

from modules import shared
from modules.images import pnginfo_of


def register_tmp_file(demo, filename):
    """Allow the page to read a file."""
    demo.temp_file_sets[0] = demo.temp_file_sets[0] | {os.path.abspath(filename)}


def check_tmp_file(demo, filename):
    return any(filename in files for files in demo.temp_file_sets)


def save_pil_to_file(self, pil_image, dir=None, format="png"):
    """The file of a picture, with its time after a "?" where it was saved before; else a new temporary one,
    with the picture's texts.
    """
    saved = getattr(pil_image, "already_saved_as", None)
    if saved and os.path.isfile(saved):
        address = f"{saved}?{os.path.getmtime(saved)}"
        register_tmp_file(shared.demo, saved)
        register_tmp_file(shared.demo, address)
        return address
    folder = shared.opts.temp_dir or dir
    os.makedirs(folder, exist_ok=True)
    with tempfile.NamedTemporaryFile(delete=False, suffix=".png", dir=folder) as file:
        pil_image.save(file, format="PNG", pnginfo=pnginfo_of(pil_image))
    return file.name


def install_ui_tempdir_override():
    gr.components.IOComponent.pil_to_temp_file = save_pil_to_file
