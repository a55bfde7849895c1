"""Full latent consistency models (arXiv 2310.04378), whose UNet takes the guidance scale as an input: their
conversion for WebUIs, and what that input is.
"""

PROJECTION_KEY = "lcm.cond_proj.weight"
"""Where a converted checkpoint has the projection of the guidance scale: under none of the prefixes by which
WebUIs look for their models' weights, so that they pass over it and log nothing. Within the UNet's prefix,
Forge would call it unexpected.
"""
EMBEDDING_WIDTH = 256
"""What that projection takes."""
