"""The button that gets a missing LCM-LoRA, in a real browser, against a hub on this machine that does not have the file."""

import http.server
import threading

import pytest

from tests.browser import needs_chromium, open_accordion, open_page
from workbench.server import Server

pytestmark = needs_chromium


class _NothingHere(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.paths.append(self.path)
        self.send_error(404)

    do_HEAD = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture
def hub():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _NothingHere)
    server.paths = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_missing_lora_can_be_fetched_from_the_page_and_a_failure_is_one_sentence(browser, hub, tmp_path):
    loras = tmp_path / "Lora"
    loras.mkdir()
    environment = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}", "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
    arguments = ["--data-dir", str(tmp_path / "data"), "--lora-dir", str(loras)]
    with Server(arguments, environment=environment) as server:
        server.client.txt2img("a star", steps=1)  # so that a checkpoint is loaded
        page = open_page(browser, server.url)
        open_accordion(page)
        button = page.locator("#script_txt2img_lcm_download").first
        button.wait_for(state="visible")
        assert button.inner_text() == "Download lcm_lora_sd15 (135 MB, licence OpenRAIL++)"
        status = page.locator(".lcm-status").first
        assert "No LCM-LoRA for SD 1.5 was found" in status.inner_text()
        button.click()
        page.wait_for_function("document.querySelector('.lcm-status').innerText.includes('404')")
        assert "latent-consistency/lcm-lora-sdv1-5" in hub.paths[0]
        page.close()
    assert list(loras.glob("*.safetensors")) == []
