"""What the WebUI hangs on to the model for a generation: comments for the user and additions to the
infotext.
"""

from __future__ import annotations

import torch

from workbench.webui import profiles


class EmbeddingDatabase:
    """The workbench has no textual inversion."""

    def __init__(self):
        self.word_embeddings = {}
        self.skipped_embeddings = {}

    def load_textual_inversion_embeddings(self, force_reload=False, sync_with_sd_model=True):
        """Nothing to load."""


class StableDiffusionModelHijack:
    def __init__(self):
        self.comments: list[str] = []
        self.extra_generation_params: dict = {}
        self.embedding_db = EmbeddingDatabase()
        self.circular_enabled = False

    def clear_comments(self):
        self.comments = []
        self.extra_generation_params = {}

    def get_prompt_lengths(self, text):
        from modules import shared

        return shared.sd_model.get_prompt_lengths_on_ui(text)

    def apply_circular(self, enable):
        """Makes the convolutions of the current model see the opposite edge beyond each edge (tiling), or
        zeros. Not in Forge.
        """
        from modules import shared

        self.circular_enabled = bool(enable)
        if profiles.active.forge:
            return
        for module in (shared.sd_model.model, shared.sd_model.first_stage_model):
            for layer in module.modules():
                if isinstance(layer, torch.nn.Conv2d):
                    layer.padding_mode = "circular" if enable else "zeros"


model_hijack = StableDiffusionModelHijack()
