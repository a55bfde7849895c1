"""Trains the workbench's small models from nothing: `python -m workbench.train --all`.

Stages, in order: `vae` (autoencoder), `latents` (a pool of encoded pictures), `decoder` (the decoder alone, encoder frozen),
`teacher-sdxl`, `teacher-sd15` (denoisers with their text encoders), `lora-sd15`, `lora-sdxl` (LCM-LoRAs), and `evaluate-sd15`,
`evaluate-sdxl` (the figures).
"""
