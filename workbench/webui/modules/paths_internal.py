"""Where things are. Plain strings, as in the WebUI."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from modules.shared_cmd_options import WEBUI_ROOT, cmd_opts

cwd = os.getcwd()
modules_path = str(WEBUI_ROOT / "modules")
script_path = str(WEBUI_ROOT)
data_path = cmd_opts.data_dir
models_path = str(Path(cmd_opts.ckpt_dir).parent)
extensions_dir = str(Path(data_path) / "extensions")
extensions_builtin_dir = str(WEBUI_ROOT / "extensions-builtin")
config_states_dir = str(Path(data_path) / "config_states")
default_output_dir = str(Path(data_path) / "outputs")
roboto_ttf_file = None
sd_configs_path = str(WEBUI_ROOT / "configs")
normalized_filepath = os.path.abspath
python = sys.executable
