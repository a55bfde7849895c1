"""What tests do on the page of a WebUI, and what they read from it."""

import re
from contextlib import contextmanager

from playwright.sync_api import Error

from tests.browser import wait_until
from tests.prompts import PROMPT

KNOWN_PAGE_ERRORS = ("reading 'props'", "ForgeCanvas is not defined")
"""Errors of the WebUI's own page, there without any extension: A1111's, and Forge's where its canvas script
arrives later than gradio is ready.
"""
STATUS = "#script_txt2img_lcm_status"
MESSAGES = "#script_txt2img_lcm_messages .lcm-warnings"


def settle(page) -> None:
    """Until the accordion has answered all that was changed on the page, and nothing there waits for
    anything.
    """
    # gradio reports a change a frame later
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.wait_for_selector("body[data-lcm-settled]", state="attached")


def unknown_errors(errors: list[str]) -> list[str]:
    """Those of a page's errors that are not the WebUI's own."""
    return [error for error in errors if not any(known in error for known in KNOWN_PAGE_ERRORS)]


@contextmanager
def slowed_down(page, milliseconds: int):
    """Every request of the page takes that much longer for a while."""
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    limits = {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
    network.send("Network.emulateNetworkConditions", {**limits, "latency": milliseconds})
    yield
    network.send("Network.emulateNetworkConditions", {**limits, "latency": 0})
    network.detach()


def state_of(page) -> str:
    """What is on the page, for the report of a test that fails; why that cannot be told where the page is
    gone.
    """
    try:
        return "\n".join([*_fields(page), *page.locator(".lcm-status").all_text_contents(), *page.said])
    except Error as error:
        return str(error)


def _fields(page) -> list[str]:
    return page.evaluate(
        """() => [`the page is ${document.visibilityState}`, ...[...document.querySelectorAll(
            ":is(#txt2img_prompt, #txt2img_steps, #img2img_prompt, #img2img_steps, [id^=script_][id*=_lcm_])"
                + " :is(input, textarea)"
        )].map((field) => {
            const value = field.type === "checkbox" ? field.checked : field.value;
            return `${field.closest("div[id]").id}: ${value}`;
        })]"""
    )


def questions(page) -> list[str]:
    """From now on, the addresses of what the page asks its server through gradio."""
    asked = []
    page.on(
        "request",
        lambda request: (
            asked.append(request.url) if "/run/" in request.url or "/queue/join" in request.url else None
        ),
    )
    return asked


def reload_ui(page, server) -> None:
    """Presses "Reload UI", and returns when both the server and the page, which loads itself anew, are there
    again; closes the page.
    """
    # the last that a page gets while it opens
    page.wait_for_function("typeof opts === 'object' && Object.keys(opts).length > 0")
    starts = server.starts
    page.evaluate("window.isBeforeReload = true")
    # the page asks whether the server is back, too early on a slow machine
    page.route("**/internal/ping", lambda route: route.abort())
    page.evaluate("setTimeout(() => document.getElementById('settings_restart_gradio').click(), 0)")
    for _ in range(600):
        if server.starts > starts:
            break
        page.wait_for_timeout(1_000)
    assert server.starts == starts + 1, server.end_of_log()
    page.unroute("**/internal/ping")
    # The page comes back by itself. Closing it before that can leave the browser waiting for ever.
    page.wait_for_function(
        "!window.isBeforeReload && document.querySelector('#txt2img_generate')", timeout=180_000
    )
    page.close()


def open_tab(page, tab: str) -> None:
    page.locator("#tabs > .tab-nav button", has_text=tab).first.click()


def accordion(page, tab="txt2img"):
    return page.locator(f"#script_{tab}_lcm_enabled").first


def is_ticked(page, tab="txt2img") -> bool:
    """Whether LCM is on, by the hidden checkbox that every host has."""
    return page.locator(f"#script_{tab}_lcm_enabled-checkbox input[type=checkbox]").first.is_checked()


def untick(page, tab="txt2img") -> None:
    """Switches LCM off, in A1111 1.6 by closing the accordion, which shows no tick there."""
    header = accordion(page, tab).locator(".label-wrap").first
    shown = header.locator("input[type=checkbox]")
    if shown.count():
        shown.first.uncheck()
    else:
        header.click(position={"x": 200, "y": 8})
    wait_until(page, lambda: not is_ticked(page, tab))


def number(page, name: str):
    return page.locator(f"#script_txt2img_lcm_{name} input[type=number]").first


def set_number(page, name: str, value) -> None:
    number(page, name).fill(str(value))
    number(page, name).press("Tab")


def status(page, tab="txt2img") -> str:
    """The status line with all its details, which are its tooltip."""
    line = page.locator(f"#script_{tab}_lcm_status .lcm-status").first
    return line.get_attribute("title") or line.inner_text()


_DETAILS = "(line => line?.title || line?.innerText || '')(document.querySelector('.lcm-status'))"


def short_status(page) -> str:
    return page.locator("#script_txt2img_lcm_status .lcm-status").first.inner_text()


def wait_for_status(page, text: str) -> None:
    """Until txt2img's status line, with its details, holds it."""
    page.wait_for_function(f"text => ({_DETAILS}).includes(text)", arg=text)


def wait_for_status_to_begin(page, text: str) -> None:
    """As `wait_for_status`: the line of a LCM that is off holds what would be done with it, and only its
    beginning says that it is on.
    """
    page.wait_for_function(f"text => ({_DETAILS}).startsWith(text)", arg=text)


def infotext(page) -> str:
    info = page.locator("#html_info_txt2img").first
    info.filter(has_text="Steps:").wait_for()
    return info.inner_text()


def generate(page, webui) -> None:
    page.fill("#txt2img_prompt textarea", PROMPT)
    for name in ("width", "height"):
        field = page.locator(f"#txt2img_{name} input[type=number]").first
        field.fill(str(webui.side))
        field.press("Tab")
    page.click("#txt2img_generate")


def send_to_img2img(page) -> None:
    """Sends the shown picture to img2img. A click while the page still hears of the picture can be lost."""
    settle(page)
    page.click("#txt2img_send_to_img2img")


def set_host_number(page, element_id: str, value) -> None:
    field = page.locator(f"#{element_id} input[type=number]").first
    field.fill(str(value))
    field.press("Tab")


def choose(page, element_id: str, label: str, is_beginning: bool = False) -> None:
    """Picks the entry of one of the WebUI's drop-downs that is, or begins with, `label`."""
    page.locator(f"#{element_id} input").first.click()
    page.locator(f'#{element_id} li[aria-label{"^" if is_beginning else ""}="{label}"]').first.click()


def editor(page, mode: str):
    """The picture's editor in img2img ("img2img_image") or Inpaint ("img2maskimg"), which on Forge is one of
    its own.
    """
    tab = {"img2img_image": "img2img_img2img_tab", "img2maskimg": "img2img_inpaint_tab"}[mode]
    return page.locator(f"#{mode}:has(input), #{tab} .forge-container").first


def lora_drop_down(page, tab="txt2img"):
    return page.locator(f"#script_{tab}_lcm_lora input").first


def open_lora_list(page):
    """The entries of the LoRA list, which is open now. New ones would close it, so the page is at rest
    before.
    """
    settle(page)
    lora_drop_down(page).blur()  # it opens when it gets the focus
    lora_drop_down(page).click()
    entries = page.locator("#script_txt2img_lcm_lora ul.options li")
    entries.first.wait_for()
    return entries


def close_lora_list(page) -> None:
    lora_drop_down(page).blur()
    # while it fades out, another click would not open it
    page.locator("#script_txt2img_lcm_lora ul.options li").first.wait_for(state="detached")


def listed_loras(page) -> list[str]:
    """The entries of the LoRA list."""
    texts = open_lora_list(page).all_inner_texts()
    close_lora_list(page)
    return [text.replace("✓", "").replace("\u00a0", " ").strip() for text in texts]


def choose_lora(page, text: str | re.Pattern) -> None:
    """Picks the first entry that holds `text`, in whatever case; returns when the page has answered."""
    open_lora_list(page).filter(has_text=text).first.click()
    close_lora_list(page)
    settle(page)


def wait_for_preset(page, label: str | None) -> None:
    """Until that one is shown as picked; None for none."""
    picked = page.locator("#script_txt2img_lcm_quality label:has(input:checked)")
    if label is None:
        picked.wait_for(state="detached")
    else:
        picked.filter(has_text=label).first.wait_for()


def warnings(page) -> list[str]:
    return page.locator(f"{MESSAGES} li").all_text_contents()


def note_at(page, element_id: str) -> str:
    """The note that the accordion puts at one of the WebUI's controls, or "none"."""
    return page.evaluate("id => getComputedStyle(document.getElementById(id), '::after').content", element_id)
