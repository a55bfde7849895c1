"""Trains the workbench's small models from nothing: `python -m workbench.train --all`, on a CPU or a GPU.

Stages, in order: `text-sd15`, `text-sdxl` (the text transformers), `vae` (autoencoder), `decoder` (the
decoder alone, encoder frozen), `latents` (pools of encoded pictures), `teacher-sd15` (a denoiser),
`lora-sd15` (its LCM-LoRA), `teacher-sdxl`, `lora-sdxl`, `teacher-sd15-lit` (a second SD 1.5 checkpoint, of
another look), `style-sd15` (a style LoRA), `teacher-ssd1b`, `lora-ssd1b`, `classifier` (a second opinion
beside the judge's) and `evaluate` (the figures).

`--budget MINUTES` spreads that time over the stages. An interrupted run goes on where it was when the same
command is given again. Beside the repository it needs torch, diffusers, transformers, safetensors, numpy,
scipy, Pillow and tqdm.
"""
