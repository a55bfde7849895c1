"""The page of `python dev.py demo`, as somebody sees it for the first time."""

from tests.browser import open_page, with_chromium
from tests.live.page import choose
from workbench.server import Server


@with_chromium
def test_its_one_script_shows_its_fields_and_its_examples_are_prompts(browser):
    with Server([]) as server:
        page = open_page(browser, server.url)
        kind = page.locator("#tab_txt2img [data-testid=block-info]", has_text="X type")
        assert not kind.is_visible()
        choose(page, "script_list", "X/Y/Z plot")
        kind.wait_for(state="visible")
        page.get_by_text("a small yellow circle on a purple mosaic").first.click()
        page.wait_for_function(
            "document.querySelector('#txt2img_prompt textarea').value.startsWith('a small yellow circle')"
        )
        page.close()
