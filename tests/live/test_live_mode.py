"""Live mode in a real browser: what is changed in the page is drawn, once, at the end, with nothing saved and nothing left behind."""

import io
import re

import pytest

from tests.browser import needs_chromium, open_page
from tests.live.page import choose, open_tab
from tests.prompts import OTHER, PROMPT, THIRD

DEBOUNCE = 0.3

pytestmark = [*needs_chromium, pytest.mark.profiles("a1111-1.10", "a1111-1.6")]


class LivePage:
    """The page with LCM ticked on one tab, pictures of the test's size in it, and what the WebUI did since."""

    def __init__(self, page, webui, tab="txt2img"):
        self.page = page
        self.webui = webui
        self.tab = tab
        self.set_number("width", webui.side)
        self.set_number("height", webui.side)
        header = page.locator(f"#script_{tab}_lcm_enabled .label-wrap").first
        header.click(position={"x": 200, "y": 8})
        page.locator(f"#script_{tab}_lcm_live").wait_for(state="visible")
        self.forget()

    def set_number(self, name, value):
        field = self.page.locator(f"#{self.tab}_{name} input[type=number]").first
        field.fill(str(value))
        field.press("Tab")

    @property
    def tick(self):
        return self.page.locator(f"#script_{self.tab}_lcm_live input[type=checkbox]").first

    @property
    def prompt(self):
        return self.page.locator(f"#{self.tab}_prompt textarea").first

    @property
    def line(self) -> str:
        return self.page.locator(f"#script_{self.tab}_lcm_live_status .lcm-live-status").first.inner_text()

    @property
    def seed(self) -> str:
        return self.page.locator(f"#{self.tab}_seed :is(input, textarea)").first.input_value()

    def wait_for_line(self, text):
        selector = f"#script_{self.tab}_lcm_live_status .lcm-live-status"
        self.page.wait_for_function("([s, t]) => document.querySelector(s).innerText.includes(t)", arg=[selector, text])

    def forget(self):
        self.webui.client.request("DELETE", "/lcm-test-probe/calls")

    def events(self, callback) -> list[dict]:
        return [event for event in self.webui.client.get("/lcm-test-probe/events") if event["callback"] == callback]

    def drawn(self) -> list[str]:
        """The first prompts of the generations that began since `forget`."""
        return [event["prompts"][0] for event in self.events("process")]

    def saved(self) -> list[str]:
        return [event["filename"] for event in self.events("image_saved")]

    def shown(self) -> int:
        """The number of the live run whose picture is in the gallery, 0 for none."""
        sources = self.page.evaluate(f"[...document.querySelectorAll('#{self.tab}_gallery img')].map(image => image.src)")
        numbers = [int(found[1]) for source in sources if (found := re.search(r"lcm-live-\w+-(\d+)\.png", source))]
        return max(numbers, default=0)

    def wait_for_picture(self, number):
        """Until the picture of that live run is in the gallery, and the run over."""
        pattern = f"lcm-live-\\w+-{number}\\.png"
        script = """([tab, pattern]) => [...document.querySelectorAll(`#${tab}_gallery img`)].some(
            image => image.complete && new RegExp(pattern).test(image.src))"""
        self.page.wait_for_function(script, arg=[self.tab, pattern])

    def wait_until(self, condition, what):
        for _ in range(600):
            if condition():
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"{what} did not happen; drawn: {self.drawn()}, line: {self.line!r}")

    def open_tab(self):
        open_tab(self.page, self.tab)

    def note_pauses(self):
        """From now on, `pauses` has the milliseconds from the last input in the prompt to each press of Generate."""
        script = """tab => { let typed = -Infinity; window.lcmTestPauses = [];
            document.querySelector(`#${tab}_prompt textarea`).addEventListener('input', () => { typed = performance.now(); }, true);
            document.querySelector(`#${tab}_generate`).addEventListener(
                'click', () => window.lcmTestPauses.push(performance.now() - typed), true); }"""
        self.page.evaluate(script, self.tab)

    @property
    def pauses(self) -> list[float]:
        return self.page.evaluate("window.lcmTestPauses")

    def delay_next_press(self, milliseconds):
        """gradio deals with the next press of Generate only then; None: never."""
        script = """([tab, wait]) => {
            const { id } = window.gradio_config.components.find(component => component.props.elem_id === `${tab}_generate`);
            const delay = event => {
                if (event.detail.id !== id || event.detail.event !== 'click') return;
                window.removeEventListener('gradio', delay, true);
                event.stopImmediatePropagation();
                if (wait === null) return;
                const { target, detail } = event;
                setTimeout(() => target.dispatchEvent(new CustomEvent('gradio', { bubbles: true, detail })), wait);
            };
            window.addEventListener('gradio', delay, true); }"""
        self.page.evaluate(script, [self.tab, milliseconds])

    def pictures_there(self, numbers) -> list[int]:
        """Of the live runs of these numbers, those whose picture can still be had from the server."""
        sources = self.page.evaluate(f"[...document.querySelectorAll('#{self.tab}_gallery img')].map(image => image.src)")
        address = next(source for source in sources if "lcm-live" in source)
        return [number for number in numbers if is_there(self.page, address_of(address, number))]

    def settle(self):
        """Long enough for a run that should not come to come."""
        self.page.wait_for_timeout(1000 * (DEBOUNCE + 1.5))


@pytest.fixture
def page(browser, webui):
    webui.txt2img(PROMPT, steps=1, cfg_scale=1)  # so that a checkpoint is loaded
    page = open_page(browser, webui.client.url)
    page.locator("#script_txt2img_lcm_enabled").wait_for()
    page.wait_for_function("typeof opts === 'object' && Object.keys(opts).length > 0")
    with webui.settings(samples_save=True):  # so that what is not saved is not for another reason
        yield page
    webui.client.post("/lcm-test-probe/release")
    page.close()


@pytest.fixture
def live(page, webui):
    """Live is ticked and its first picture is there."""
    live = LivePage(page, webui)
    live.prompt.fill(PROMPT)
    live.tick.check()
    live.wait_for_picture(1)
    live.forget()
    return live


def test_ticking_live_draws_a_picture_without_saving_it(page, webui):
    live = LivePage(page, webui)
    live.prompt.fill(PROMPT)
    live.settle()
    assert live.drawn() == [] and live.line == ""
    live.tick.check()
    live.wait_for_picture(1)
    assert live.drawn() == [PROMPT] and live.saved() == []
    assert [call["timesteps"] for call in webui.calls()] == [[999], [759], [499], [259]]


def test_a_picture_follows_what_is_typed_once_the_typing_stops(live):
    """On a slow machine the typing itself pauses, so there may be pictures in between; but none within the debounce after a key."""
    live.note_pauses()
    live.prompt.fill("")
    live.prompt.press_sequentially(OTHER, delay=20)
    live.wait_until(lambda: live.drawn()[-1:] == [OTHER], "the picture of all that was typed")
    live.settle()
    assert live.drawn()[-1] == OTHER
    assert len(live.pauses) == len(live.drawn()) and min(live.pauses) >= 1000 * DEBOUNCE
    assert live.saved() == []


def test_the_pause_is_the_settings(live):
    with live.webui.settings(lcm_live_debounce=2):
        live.page.evaluate("opts.lcm_live_debounce = 2")
        live.note_pauses()
        live.prompt.fill(OTHER)
        live.wait_for_picture(2)
    assert len(live.pauses) == 1 and live.pauses[0] >= 2000


def test_any_character_of_a_long_prompt_counts(live):
    long = f"{PROMPT}{' ' * (2500 - len(PROMPT))}"
    live.prompt.fill(f"{long} x")
    live.wait_for_picture(2)
    live.prompt.fill(f"{long} y")
    live.wait_for_picture(3)


def test_a_picture_follows_a_slider_and_a_value_that_is_put_back_draws_nothing(live):
    live.set_number("width", live.webui.side + 64)
    live.wait_for_picture(2)
    assert [event["width"] for event in live.events("process")] == [live.webui.side + 64]
    live.page.evaluate(
        """() => { const field = document.querySelector('#txt2img_prompt textarea');
        for (const text of [field.value + ' x', field.value]) { field.value = text; updateInput(field); } }"""
    )
    live.settle()
    assert len(live.drawn()) == 1


def test_nothing_is_drawn_again_while_nothing_changes(live):
    live.page.mouse.move(300, 300)
    live.page.mouse.click(640, 5)
    live.settle()
    assert live.drawn() == []


def test_a_random_seed_is_held_and_shown_and_given_back(live):
    held = live.seed
    assert int(held) >= 0 and f"seed {held}" in live.line.replace("\n", " ")
    live.prompt.fill(OTHER)
    live.wait_for_picture(2)
    assert [event["seed"] for event in live.events("process")] == [int(held)]
    live.page.locator("#txt2img_random_seed").first.click()
    live.wait_for_picture(3)
    assert live.seed not in ("-1", held)
    live.tick.uncheck()
    live.page.wait_for_function("document.querySelector('#txt2img_seed :is(input, textarea)').value === '-1'")


def test_a_seed_of_the_users_own_is_used_and_stays(page, webui):
    live = LivePage(page, webui)
    live.set_number("seed", 77)
    live.tick.check()
    live.wait_for_picture(1)
    assert [event["seed"] for event in live.events("process")] == [77]
    live.tick.uncheck()
    live.settle()
    assert live.seed == "77"


def test_generate_makes_the_same_picture_and_saves_it(live):
    live.page.click("#txt2img_generate")
    live.wait_until(lambda: live.saved() != [], "saving")
    live.settle()
    assert live.drawn() == [PROMPT] and [event["seed"] for event in live.events("process")] == [int(live.seed)]
    assert live.shown() == 0
    live.prompt.fill(OTHER)
    live.wait_for_picture(2)
    assert len(live.saved()) == 1


def test_generate_pressed_during_a_run_is_done_after_it(live):
    live.webui.disturb_next(at_call=1, do="hold")
    live.prompt.fill(OTHER)
    live.wait_until(lambda: live.events("held"), "the run")
    live.page.click("#txt2img_generate")
    live.settle()
    live.webui.client.post("/lcm-test-probe/release")
    live.wait_until(lambda: live.saved() != [], "saving")
    live.settle()
    assert live.drawn() == [OTHER, OTHER] and len(live.saved()) == 1


def test_a_press_that_is_dealt_with_too_late_draws_and_saves_nothing(live):
    live.delay_next_press(7000)
    live.prompt.fill(OTHER)
    live.wait_for_line("Generate did not answer")
    live.wait_until(lambda: live.events("postprocess"), "the late run")
    live.settle()
    assert live.saved() == [] and live.webui.calls() == []
    live.prompt.fill(THIRD)
    live.wait_for_picture(3)


def test_generate_is_the_users_also_where_a_live_press_got_lost(live):
    live.delay_next_press(None)
    live.prompt.fill(OTHER)
    live.wait_for_line("Generate did not answer")
    live.page.click("#txt2img_generate")
    live.wait_until(lambda: live.saved() != [], "saving")
    live.settle()
    assert live.drawn() == [OTHER] and len(live.saved()) == 1


def test_one_run_at_a_time_and_the_latest_input_wins(live):
    live.webui.disturb_next(at_call=1, do="hold")
    live.prompt.fill(OTHER)
    live.wait_until(lambda: live.events("held"), "the run")
    for text in ("first", "second", THIRD):
        live.prompt.fill(text)
        live.page.wait_for_timeout(1000 * DEBOUNCE + 200)
    assert live.drawn() == [OTHER] and live.shown() == 1
    live.webui.client.post("/lcm-test-probe/release")
    live.wait_for_picture(3)
    live.settle()
    assert live.drawn() == [OTHER, THIRD]


def test_a_run_in_progress_is_finished_and_shown(live):
    live.webui.disturb_next(at_call=3, do="hold")
    live.prompt.fill(OTHER)
    live.wait_until(lambda: live.events("held"), "the run")
    live.prompt.fill(THIRD)
    live.page.wait_for_timeout(1000 * DEBOUNCE + 300)
    live.webui.client.post("/lcm-test-probe/release")
    live.wait_for_picture(2)
    live.wait_for_picture(3)
    assert len(live.webui.calls()) == 8  # both to their end


def test_a_run_that_keeps_newer_input_waiting_too_long_is_interrupted(live):
    with live.webui.settings(lcm_live_patience=1):
        live.page.evaluate("opts.lcm_live_patience = 1")
        live.webui.disturb_next(at_call=2, do="hold")
        live.prompt.fill(OTHER)
        live.wait_until(lambda: live.events("held"), "the run")
        live.prompt.fill(THIRD)
        live.page.wait_for_timeout(1000 * DEBOUNCE + 2500)
        live.webui.client.post("/lcm-test-probe/release")
        live.wait_for_picture(3)
    assert live.drawn() == [OTHER, THIRD]
    assert [call["timesteps"] for call in live.webui.calls()] == [[999], [759], [999], [759], [499], [259]]
    assert live.shown() == 3


def test_nothing_is_left_behind_when_live_is_switched_off(live):
    live.webui.disturb_next(at_call=1, do="hold")
    live.prompt.fill(OTHER)
    live.wait_until(lambda: live.events("held"), "the run")
    live.prompt.fill(THIRD)
    live.tick.uncheck()
    live.page.wait_for_timeout(500)
    live.webui.client.post("/lcm-test-probe/release")
    live.wait_for_picture(2)  # it had begun
    live.settle()
    assert live.drawn() == [OTHER] and live.line == ""
    progress = live.webui.client.get("/sdapi/v1/progress")
    assert progress["state"]["job_count"] == 0 and progress["state"]["interrupted"] is False


def test_a_run_that_waits_for_another_job_is_taken_back_when_live_is_switched_off(live, browser):
    """The other job is one of another page, and comes to its end undisturbed."""
    other = LivePage(open_page(browser, live.webui.client.url), live.webui)
    live.webui.disturb_next(at_call=1, do="hold")
    other.prompt.fill(OTHER)
    other.page.click("#txt2img_generate")
    live.wait_until(lambda: live.events("held"), "the other job")
    live.prompt.fill(THIRD)
    live.wait_for_line("queue")
    live.tick.uncheck()
    live.page.wait_for_timeout(500)
    live.webui.client.post("/lcm-test-probe/release")
    live.wait_until(lambda: len(live.events("postprocess")) == 2, "the end of both")
    live.settle()
    other.page.close()
    assert len(live.saved()) == 1  # the other job's
    assert len(live.webui.calls()) == 4  # those of the other job, to its end
    assert live.shown() == 1  # the picture before


def test_impatience_reaches_no_other_job(live, browser):
    other = LivePage(open_page(browser, live.webui.client.url), live.webui)
    live.page.evaluate("opts.lcm_live_patience = 0")
    live.webui.disturb_next(at_call=1, do="hold")
    other.prompt.fill(OTHER)
    other.page.click("#txt2img_generate")
    live.wait_until(lambda: live.events("held"), "the other job")
    live.prompt.fill("withdrawn")
    live.wait_for_line("queue")
    live.prompt.fill(THIRD)
    live.page.wait_for_timeout(1000 * DEBOUNCE + 1000)
    live.webui.client.post("/lcm-test-probe/release")
    live.wait_for_picture(3)
    assert [call["timesteps"] for call in live.webui.calls()] == 2 * [[999], [759], [499], [259]]
    other.page.close()


def test_two_pages_draw_by_turns(live, browser):
    other = LivePage(open_page(browser, live.webui.client.url), live.webui)
    other.prompt.fill(OTHER)
    other.tick.check()
    live.prompt.fill(THIRD)
    live.wait_for_picture(2)
    other.wait_for_picture(1)
    assert set(live.drawn()) == {OTHER, THIRD}
    other.page.close()


def test_nothing_starts_while_an_input_method_is_composing(live):
    live.prompt.fill("")
    live.wait_for_picture(2)
    live.settle()
    live.forget()
    live.prompt.focus()
    keyboard = live.page.context.new_cdp_session(live.page)
    for text in ("h", "ho", "hos", "ほし"):
        keyboard.send("Input.imeSetComposition", {"text": text, "selectionStart": len(text), "selectionEnd": len(text)})
        live.page.wait_for_timeout(1000 * DEBOUNCE + 300)
    assert live.prompt.input_value() == "ほし"  # it is in the field, and yet
    assert live.drawn() == []
    keyboard.send("Input.insertText", {"text": "星"})
    live.wait_until(lambda: live.drawn() == ["星"], "the picture")


def test_live_waits_for_lcm(live):
    live.page.locator("#script_txt2img_lcm_enabled-visible-checkbox, #script_txt2img_lcm_enabled input[type=checkbox]").first.uncheck()
    live.wait_for_line("tick LCM")
    live.prompt.fill(OTHER)
    live.settle()
    assert live.drawn() == []


def test_live_waits_while_a_script_is_chosen(live):
    choose(live.page, "tab_txt2img #script_list", "X/Y/Z plot")
    live.wait_for_line("Live waits: a script is chosen.")
    live.prompt.fill(OTHER)
    live.settle()
    assert live.drawn() == []
    choose(live.page, "tab_txt2img #script_list", "None")
    live.wait_for_picture(2)
    assert live.drawn() == [OTHER]


def test_a_failing_run_is_told_and_not_repeated(live):
    live.webui.disturb_next(at_call=1, do="fail")
    live.prompt.fill(OTHER)
    live.wait_for_line("No picture came")
    live.settle()
    assert live.drawn() == [OTHER]
    live.prompt.fill(THIRD)
    live.wait_for_picture(3)


def test_batches_and_grids_are_left_to_generate(live):
    live.set_number("batch_size", 3)
    live.wait_for_picture(2)
    assert [len(event["prompts"]) for event in live.events("process")] == [1]
    assert live.saved() == []


def test_only_a_few_files_stay_in_the_temporary_folder_and_one_when_live_is_off(live):
    for number in range(2, 7):
        live.prompt.fill(f"{PROMPT} {number}")
        live.wait_for_picture(number)
    assert live.pictures_there(range(1, 7)) == [4, 5, 6]
    live.tick.uncheck()
    live.wait_until(lambda: live.pictures_there(range(1, 7)) == [6], "the removal")  # the gallery shows it: it may be sent on
    live.tick.check()
    for number in (7, 8):
        live.prompt.fill(f"{PROMPT} {number}")
        live.wait_for_picture(number)
    assert live.pictures_there(range(1, 9)) == [6, 7, 8]


def test_a_page_that_goes_away_leaves_no_file(live):
    live.prompt.fill(OTHER)
    live.wait_for_picture(2)
    shown = live.page.locator("#txt2img_gallery img[src*=lcm-live]").first.get_attribute("src")
    live.webui.disturb_next(at_call=1, do="hold")
    live.prompt.fill(THIRD)
    live.wait_until(lambda: live.events("held"), "the run")
    live.page.goto("about:blank")
    live.page.wait_for_timeout(500)
    live.webui.client.post("/lcm-test-probe/release")
    for _ in range(100):
        if live.events("postprocess"):
            break
        live.page.wait_for_timeout(100)
    live.page.wait_for_timeout(1000)
    assert [number for number in (1, 2, 3) if is_there(live.page, address_of(shown, number))] == []


def address_of(address: str, number: int) -> str:
    """The address of another live run's picture."""
    return re.sub(r"-\d+\.png.*", f"-{number}.png", address)


def is_there(page, address: str) -> bool:
    return page.request.get(address).ok


def test_the_infotext_of_a_live_picture_draws_it_again(live):
    live.prompt.fill(OTHER)
    live.wait_for_picture(2)
    info = live.page.locator("#html_info_txt2img").first
    info.filter(has_text=OTHER).wait_for()
    text = info.inner_text()
    assert f"Seed: {live.seed}" in text and "Sampler: LCM" in text and "LCM LoRA: lcm_lora_sd15" in text


# --- img2img ------------------------------------------------------------------------------------------------------------------


def picture_file(webui) -> dict:
    made, _ = webui.txt2img(PROMPT, steps=2, cfg_scale=1)
    data = io.BytesIO()
    made.image.save(data, "PNG")
    return {"name": "start.png", "mimeType": "image/png", "buffer": data.getvalue()}


def open_img2img(page, webui, seed=5):
    open_tab(page, "img2img")
    live = LivePage(page, webui, "img2img")
    live.prompt.fill(PROMPT)
    live.set_number("seed", seed)
    return live


def test_on_img2img_a_picture_follows_the_picture_and_the_strength(page, webui):
    start = picture_file(webui)
    live = open_img2img(page, webui)
    live.tick.check()
    live.wait_for_line("waits for a picture")
    live.settle()
    assert live.drawn() == []
    with webui.settings(save_init_img=True):
        page.locator("#img2img_image input[type=file]").first.set_input_files(start)
        live.wait_for_picture(1)
        live.set_number("denoising_strength", 0.5)
        live.wait_for_picture(2)
        live.settle()
        assert webui.all_settings()["save_init_img"] is True
    assert live.saved() == []
    assert [call["timesteps"] for call in webui.calls()][-4:] == [[499], [379], [259], [139]]


def settled_box(locator) -> dict:
    """Where an element is, once it has stopped moving: the first picture in the gallery makes the page lay itself out anew."""
    boxes = [locator.bounding_box()]
    for _ in range(100):
        locator.page.wait_for_timeout(300)
        boxes.append(locator.bounding_box())
        if boxes[-1] == boxes[-2]:
            break
    return boxes[-1]


def test_on_img2img_a_picture_follows_each_stroke(page, webui):
    start = picture_file(webui)
    live = open_img2img(page, webui)
    page.locator("#mode_img2img > .tab-nav button", has_text=re.compile(r"^\s*Inpaint\s*$")).first.click()
    page.locator("#img2maskimg input[type=file]").first.set_input_files(start)
    canvas = page.locator("#img2maskimg canvas").first
    canvas.wait_for(state="visible")
    live.tick.check()
    live.wait_for_picture(1)
    for number, height, is_within in ((2, 0.3, True), (3, 0.6, True), (4, 0.8, False)):  # the last one ends outside the editor
        canvas.scroll_into_view_if_needed()  # ticking Live may have scrolled the page far down
        box = settled_box(canvas)
        end = box if is_within else page.locator("#img2img_results").bounding_box()
        page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + height * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + height * box["height"])
        page.mouse.move(end["x"] + 0.6 * end["width"], end["y"] + height * end["height"], steps=5)
        page.mouse.up()
        live.wait_for_picture(number)
    live.settle()
    assert len(live.drawn()) == 4 and live.saved() == []


def test_on_img2img_live_waits_while_its_batch_is_open(page, webui):
    start = picture_file(webui)
    live = open_img2img(page, webui)
    page.locator("#img2img_image input[type=file]").first.set_input_files(start)
    live.tick.check()
    live.wait_for_picture(1)
    modes = page.locator("#mode_img2img > .tab-nav button")
    modes.filter(has_text=re.compile(r"^\s*Batch\s*$")).first.click()
    live.wait_for_line("Live waits: it does not draw batches.")
    live.prompt.fill(OTHER)
    live.settle()
    assert live.drawn() == [PROMPT]
    modes.filter(has_text=re.compile(r"^\s*img2img\s*$")).first.click()
    live.wait_for_picture(2)
    assert live.drawn() == [PROMPT, OTHER]


@pytest.fixture
def both(live, webui):
    """Live is ticked on both tabs of the page, img2img's is open, and each has its first picture."""
    start = picture_file(webui)
    other = open_img2img(live.page, webui)
    live.page.locator("#img2img_image input[type=file]").first.set_input_files(start)
    other.tick.check()
    other.wait_until(lambda: other.shown(), "the first picture")
    live.forget()
    return live, other


def test_both_tabs_of_a_page_draw_one_after_the_other(both):
    """Each draws while it is open, and nothing where nothing has changed since."""
    live, other = both
    live.open_tab()
    live.settle()
    assert live.drawn() == []
    live.prompt.fill(OTHER)
    live.wait_for_picture(2)
    other.open_tab()
    other.prompt.fill(THIRD)
    other.wait_for_picture(2)
    other.settle()
    assert live.drawn() == [OTHER, THIRD] and live.saved() == []
    assert live.shown() == other.shown() == 2


def test_a_press_on_one_tab_stays_live_while_the_other_tab_starts(both):
    live, other = both
    live.open_tab()
    live.delay_next_press(4000)
    live.prompt.fill(OTHER)
    live.wait_for_line("drawing")
    other.open_tab()
    other.prompt.fill(THIRD)
    live.wait_until(lambda: len(live.events("postprocess")) == 2, "both pictures")
    live.settle()
    assert sorted(live.drawn()) == sorted([OTHER, THIRD]) and live.saved() == []
    assert live.shown() == other.shown() == 2
