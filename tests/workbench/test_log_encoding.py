"""A WebUI whose output goes to a file on Windows cannot write every letter: a message must not break the
generation.
"""

import pytest

from workbench.server import Server  # not a prepared one: this is also where the command itself is started

ALSO = [pytest.param(profile, marks=pytest.mark.long) for profile in ("a1111-1.6", "forge")]


@pytest.mark.parametrize("profile", ["a1111-1.10", *ALSO])
def test_messages_that_the_log_cannot_hold_do_not_disturb_the_generation(profile, tmp_path):
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    with Server(["--profile", profile, "--data-dir", str(tmp_path)], environment=environment) as server:
        made = server.client.txt2img(
            "a big red cross on a blue mosaic", lcm={"enabled": True}, steps=20, cfg_scale=7
        )
        assert "Steps: 8" in made.infotext and "LCM LoRA: lcm_lora_sd15" in made.infotext
        assert any(line.startswith("LCM: Steps 20 ? 8, CFG 7 ? 2") for line in server.log)
