"""A WebUI whose output goes to a file on Windows cannot write every letter: a message must not break the generation."""

from workbench.server import Server


def test_messages_that_the_log_cannot_hold_do_not_disturb_the_generation(tmp_path):
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    with Server(["--data-dir", str(tmp_path)], environment=environment) as server:
        made = server.client.txt2img("a big red cross on a blue mosaic", lcm={"enabled": True}, steps=20, cfg_scale=7)
        assert "Steps: 8" in made.infotext and "LCM LoRA: lcm_lora_sd15" in made.infotext
        assert any(line.startswith("LCM: CFG 7 ? 2, Steps 20 ? 8") for line in server.log)
