"""What keyboards and screen readers get of the accordion and gradio leaves out."""

from tests.browser import needs_chromium

pytestmark = needs_chromium


def heard(page, tab: str = "txt2img") -> str:
    return page.run(
        "tab => document.querySelector(`#script_${tab}_lcm_enabled .lcm-announced`)?.textContent ?? ''", tab
    )


def attribute(page, selector: str, name: str):
    return page.run(
        f"document.querySelector('#script_txt2img_lcm_enabled {selector}').getAttribute('{name}')"
    )


def test_screen_readers_are_told_of_what_is_new_alone(page):
    assert heard(page) == "4 steps" and attribute(page, ".lcm-announced", "aria-live") == "polite"
    page.run(
        """() => { window.changes = 0; new MutationObserver(() => { window.changes += 1; }).observe(
            document.querySelector('.lcm-announced'),
            { childList: true, characterData: true, subtree: true }); }"""
    )
    for line, changes in (("4 steps", 0), ("2 steps", 1), ("2 steps", 1)):
        page.changed()
        page.pass_time(100)
        page.answer(line=line)
        page.pass_time(1_000)
        assert heard(page) == line and page.run("window.changes") == changes


def test_what_is_not_shown_is_announced_when_it_is(page):
    page.run("document.querySelector('#script_txt2img_lcm_enabled').style.display = 'none'")
    page.changed()
    page.pass_time(100)
    page.answer(line="8 steps")
    page.pass_time(2_000)
    assert heard(page) == "4 steps"
    page.run("document.querySelector('#script_txt2img_lcm_enabled').style.display = ''")
    page.pass_time(1_100)
    assert heard(page) == "8 steps"


def test_tick_arrow_field_and_button_have_names(page):
    assert (
        attribute(page, "input[type=checkbox]", "aria-label")
        == attribute(page, ".icon", "aria-label")
        == "LCM"
    )
    assert attribute(page, ".icon", "role") == "button" and attribute(page, ".icon", "tabindex") == "0"
    label = attribute(page, "input[type=number]", "aria-labelledby")
    assert page.run("id => document.getElementById(id).textContent", label) == "Steps"
    assert attribute(page, "[id$=_refresh]", "aria-label") == "Look again"


def test_the_accordion_unfolds_when_a_refusal_is_known_and_may_be_folded_again(page):
    page.run(
        """() => { window.header = document.querySelector('#script_txt2img_lcm_enabled .label-wrap');
        header.addEventListener('click', () => header.classList.toggle('open')); }"""
    )

    def is_open_after(refused: bool) -> bool:
        page.changed()
        page.pass_time(200)
        page.answer(refused=refused)
        return page.run("header.classList.contains('open')")

    assert not is_open_after(False) and is_open_after(True)
    page.run("header.click()")
    assert not is_open_after(True)
    assert not is_open_after(False) and is_open_after(True) and is_open_after(False)


def test_the_arrow_folds_the_accordion_by_enter_and_space_and_says_how_it_stands(page):
    page.run(
        """() => { const header = document.querySelector('#script_txt2img_lcm_enabled .label-wrap');
        window.clicks = 0;
        header.addEventListener('click', () => { window.clicks += 1; header.classList.toggle('open'); }); }"""
    )
    assert attribute(page, ".icon", "aria-expanded") == "false"
    press = """key => document.querySelector('#script_txt2img_lcm_enabled .icon').dispatchEvent(
        new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }))"""
    for number, (key, is_open) in enumerate((("Enter", "true"), (" ", "false")), start=1):
        is_left_to_the_browser = page.run(press, key)
        assert page.run("window.clicks") == number and not is_left_to_the_browser
        assert attribute(page, ".icon", "aria-expanded") == is_open
    assert page.run(press, "Tab") and page.run("window.clicks") == 2
