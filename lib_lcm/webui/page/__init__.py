"""The accordion on the txt2img and img2img tabs."""
