"""The command line as extensions see it: `cmd_opts`, with the WebUI's names. `workbench.__main__` fills it in
first.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

WEBUI_ROOT = Path(__file__).resolve().parent.parent
WORKBENCH_ROOT = WEBUI_ROOT.parent
DEFAULT_MODELS = WORKBENCH_ROOT / "models"

cmd_opts = Namespace(
    api=True,
    api_auth=None,
    api_log=False,
    api_server_stop=False,
    allow_code=False,
    ckpt=None,
    ckpt_dir=str(DEFAULT_MODELS / "Stable-diffusion"),
    lora_dir=str(DEFAULT_MODELS / "Lora"),
    data_dir=str(WORKBENCH_ROOT.parent / "workbench-data"),
    disable_all_extensions="none",
    disable_extra_extensions=False,
    enable_insecure_extension_access=False,
    embeddings_dir="",
    extensions=[],
    freeze_settings=False,
    gradio_auth=None,
    gradio_debug=False,
    hide_ui_dir_config=False,
    listen=False,
    localizations_dir="",
    lowram=False,
    lowvram=False,
    medvram=False,
    medvram_sdxl=False,
    no_gradio_queue=False,
    no_half=True,
    no_half_vae=True,
    no_hashing=False,
    no_prompt_history=False,
    nowebui=False,
    opt_channelslast=False,
    port=7861,
    precision="full",
    server_name=None,
    share=False,
    skip_install=False,
    subpath=None,
    theme=None,
    ui_config_file="",
    ui_settings_file="",
    use_cpu=["all"],
)


def configure(**values) -> None:
    """Set options by name; the files of settings and of the page's defaults follow `data_dir`."""
    for name, value in values.items():
        setattr(cmd_opts, name, value)
    cmd_opts.localizations_dir = str(Path(cmd_opts.data_dir) / "localizations")
    cmd_opts.ui_config_file = str(Path(cmd_opts.data_dir) / "ui-config.json")
    cmd_opts.ui_settings_file = str(Path(cmd_opts.data_dir) / "config.json")


configure()
