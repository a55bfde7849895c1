"""The page of Live's tests, and one where Live is ticked already."""

import pytest

from tests.browser import open_page, wait_until
from tests.live.live_mode.live_page import LivePage
from tests.prompts import PROMPT


def is_idle(webui) -> bool:
    """Whether nothing is being drawn."""
    return webui.client.get("/sdapi/v1/progress?skip_current_image=true")["state"]["job_count"] == 0


@pytest.fixture
def page(browser, webui):
    webui.loaded()
    page = open_page(browser, webui.client.url)
    page.locator("#script_txt2img_lcm_enabled").wait_for()
    page.wait_for_function("typeof opts === 'object' && Object.keys(opts).length > 0")
    with webui.settings(samples_save=True):  # so that what is not saved is not for another reason
        yield page
    webui.client.post("/lcm-test-probe/release")
    wait_until(page, lambda: is_idle(webui))
    page.close()  # not before: A1111's "Reload UI" can wait for ever for a page that was closed while its job waited


@pytest.fixture
def live(page, webui):
    """Live is ticked and its first picture is there."""
    live = LivePage(page, webui)
    live.prompt.fill(PROMPT)
    live.tick.check()
    live.wait_for_picture(1)
    live.forget()
    return live
