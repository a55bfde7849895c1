"""LCM for the Stable Diffusion WebUI: pictures in 1-8 sampling steps.

Nothing in this package imports the WebUI, gradio or fastapi; only `lib_lcm.webui` does.
"""

__version__ = "0.1.0"
