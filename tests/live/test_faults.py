"""What goes wrong around a generation with LCM: the user gets the WebUI's own error, and the next pictures
are right.
"""

import threading
from contextlib import contextmanager

import pytest

from tests.live.profiles import one_profile
from tests.live.test_generation import ON, TRAILING_4, same, timesteps
from tests.live.test_loras import SD15, SDXL, files, loras
from tests.prompts import OTHER, PROMPT
from tests.waiting import wait_for
from workbench.client import ApiError

PLAIN = {"steps": 2, "cfg_scale": 3}
TWO_STEPS = {**ON, "steps": 2}


def look(webui) -> list:
    """Everything that a fault could have left a trace in: settings, samplers, LoRAs, and pictures without and
    with LCM.
    """
    webui.loaded()  # the setting sd_checkpoint_hash is that of the last request's checkpoint
    seen = [webui.all_settings(), webui.client.get("/sdapi/v1/samplers")]
    seen.append(sorted(lora["path"] for lora in webui.client.get("/sdapi/v1/loras")))
    requests = ({**PLAIN}, {"lcm": TWO_STEPS, **PLAIN}, {"sampler_name": "LCM", **PLAIN}, {**PLAIN})
    for request in requests:
        made, calls = webui.txt2img(OTHER, **request)
        seen.append((made.image.convert("RGB").tobytes(), made.infotext, calls))
    return seen


@pytest.fixture(scope="module")
def untouched(webui) -> list:
    """What `look` shows before any fault."""
    webui.txt2img(OTHER, steps=1)  # settings that the first generation writes are there
    return look(webui)


@pytest.fixture
def unharmed(webui, untouched):
    """What the test does leaves no trace: everything is as before it, to the bit."""
    yield
    seen = look(webui)
    changed = {name for name in {*untouched[0], *seen[0]} if untouched[0].get(name) != seen[0].get(name)}
    assert changed == set() and seen == untouched


def outcome(generate) -> tuple[int, str, str]:
    """HTTP status, error and its text of a request; of one that succeeds (200, "", "")."""
    try:
        generate()
    except ApiError as error:
        return error.status, error.body.get("error"), error.body.get("errors") or error.body.get("detail")
    return 200, "", ""


# --- exceptions ---------------------------------------------------------------------------------------------

BEFORE, AFTER = "LCM test fault before", "LCM test fault after"


def faulty(**titles) -> dict:
    """A request's field that makes other scripts raise in these callbacks."""
    return {
        "alwayson_scripts": {
            {"before": BEFORE, "after": AFTER}[place]: {"args": [names]} for place, names in titles.items()
        }
    }


@pytest.mark.parametrize("place", ["before", "after"])
def test_other_scripts_that_fail_in_every_callback_change_nothing(webui, unharmed, place):
    state = webui.client.get("/lcm-test-faults/state")
    order = state["order"]
    assert order.index(BEFORE) < order.index("LCM") < order.index(AFTER)
    right, calls = webui.txt2img(PROMPT, lcm=ON, **webui.hires)
    webui.client.get("/lcm-test-faults/state")
    made, faulty_calls = webui.txt2img(PROMPT, lcm=ON, **webui.hires, **faulty(**{place: state["callbacks"]}))
    raised = {entry.split(": ")[1] for entry in webui.client.get("/lcm-test-faults/state")["raised"]}
    assert raised >= {
        "process",
        "before_process_batch",
        "process_batch",
        "before_hr",
        "postprocess_image",
        "postprocess",
        "cfg_denoiser",
    }
    assert same(made.image, right.image) and faulty_calls == calls and made.infotext == right.infotext


@pytest.mark.parametrize("fault", ["fail", "out of memory", "nan"])
@pytest.mark.parametrize("call", [1, 4, 6], ids=["first step", "last step", "hires pass"])
def test_an_error_while_sampling_reaches_the_user_as_the_webuis_own(webui, unharmed, fault, call):
    def with_fault(**request):
        webui.disturb_next(at_call=call, do=fault)
        return outcome(lambda: webui.txt2img(PROMPT, steps=4, **webui.hires, **request))

    expected = with_fault(cfg_scale=1, sampler_name="Euler")
    assert with_fault(lcm=ON) == expected
    assert with_fault(lcm={**ON, "cfg": 1.5}) == expected
    if expected[0] == 200:
        assert fault == "nan", "this WebUI did not take notice of it"  # not every one looks for that
        right, _ = webui.txt2img(PROMPT, steps=4, lcm=ON, **webui.hires)
        webui.disturb_next(at_call=call, do=fault)
        broken, _ = webui.txt2img(PROMPT, steps=4, lcm=ON, **webui.hires)
        assert not same(broken.image, right.image)
    else:
        error = {"fail": "RuntimeError", "out of memory": "OutOfMemoryError", "nan": "NansException"}[fault]
        assert (expected[0], expected[1]) == (500, error)


# --- interrupts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["interrupt", "skip"])
def test_stopped_at_any_step_of_either_pass(webui, unharmed, how):
    for call in range(9):
        webui.disturb_next(at_call=call, do=how)
        if how == "interrupt" and call == 0 and not webui.survives_early_stop:
            with pytest.raises(ApiError, match="list index out of range"):  # its own
                webui.txt2img(PROMPT, lcm=ON, **webui.hires)
            assert webui.calls() == []
        else:
            made, calls = webui.txt2img(PROMPT, lcm=ON, **webui.hires)
            visited = timesteps(calls)
            if how == "interrupt":
                assert visited == [*TRAILING_4, 499, 379, 259, 139][:call]
                assert len(made.images) == (call > 0)
            else:
                assert visited[: min(call, 4)] == TRAILING_4[:call]
            assert loras(calls) == [[SD15]] * len(calls)
        _again, calls = webui.txt2img(PROMPT, lcm=TWO_STEPS)
        assert timesteps(calls) == [999, 499] and loras(calls) == [[SD15]] * 2


# --- the LoRA's file while a picture is being made ----------------------------------------------------------


@contextmanager
def held(webui, call: int, **request):
    """A generation that stands still at this call of the UNet; gives a list in which its picture or error is
    afterwards.
    """
    result = []
    request = {
        "width": webui.side,
        "height": webui.side,
        "override_settings": {"sd_model_checkpoint": webui.sd15},
        **request,
    }

    def generate():
        try:
            result.append(webui.client.txt2img(PROMPT, **request))
        except ApiError as error:
            result.append(error)

    webui.calls()
    webui.disturb_next(at_call=call, do="hold")
    thread = threading.Thread(target=generate)

    def is_held() -> bool:
        assert thread.is_alive() and not result, result
        return {"callback": "held"} in webui.client.get("/lcm-test-probe/events")

    thread.start()
    try:
        wait_for(is_held)
        yield result
    finally:
        webui.client.post("/lcm-test-probe/release")
        thread.join()


def delete(path):
    path.unlink()


def cut_off(path):
    replace(path, path.read_bytes()[: path.stat().st_size // 2])


def take_another_familys(path):
    replace(path, path.with_name(f"{SDXL}.safetensors").read_bytes())


def replace(path, content: bytes):
    # by another name first: the WebUI may have the file mapped into its memory, and would die if it got
    # shorter there
    other = path.with_suffix(".part")
    other.write_bytes(content)
    other.replace(path)


FILE_FAULTS = [delete, cut_off, take_another_familys]


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_a_file_that_vanishes_during_a_generation_does_not_hurt_it(webui, unharmed, fault):
    options = {**TWO_STEPS, "lora": "mine"}
    with files(webui, mine=SD15) as [path]:
        right, _ = webui.txt2img(PROMPT, lcm=options)
        backup = path.read_bytes()
        with held(webui, 2, lcm=options) as result:
            fault(path)
        assert same(result[0].image, right.image) and result[0].infotext == right.infotext
        refused = outcome(lambda: webui.txt2img(PROMPT, lcm=options))
        assert refused[0] == 422 and "mine" in refused[2]
        replace(path, backup)
        assert same(webui.txt2img(PROMPT, lcm=options)[0].image, right.image)


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_a_hires_pass_whose_file_has_vanished_is_refused_or_right(webui, unharmed, fault):
    options = {**TWO_STEPS, "lora": "mine"}
    with files(webui, mine=SD15) as [path]:
        right, _ = webui.txt2img(PROMPT, lcm=options, **webui.hires)
        with held(webui, 2, lcm=options, **webui.hires) as result:
            fault(path)
        calls = webui.calls()
        if isinstance(result[0], ApiError):
            assert result[0].status == 422 and "mine" in result[0].body["detail"] and len(calls) == 2
        else:
            assert same(result[0].image, right.image) and loras(calls) == [["mine"]] * 4


# --- many at once, and for long -----------------------------------------------------------------------------

CLIENTS = 4
KINDS = [
    {"lcm": {**ON, "steps": 1}},
    {"lcm": {**ON, "steps": 2, "weight": 0.5}},
    {"lcm": {**ON, "steps": 2, "cfg": 1.5}},
    {"lcm": {**ON, "steps": 2, "schedule": "webui"}},
    {"lcm": {**ON, "steps": 1, "lora": "none"}},
    {"lcm": {**ON, "steps": 2}, "prompt": f"{PROMPT} <lora:{SD15}:0.3>"},
    {"prompt": f"{PROMPT} <lora:{SD15}:0.7>", "steps": 2, "cfg_scale": 1},
    {"steps": 2, "cfg_scale": 3},
    {"steps": 1, "cfg_scale": 1, "sampler_name": "LCM"},
]
HIRES = {"lcm": {**ON, "steps": 2}, "hires": True}
OF_SDXL = {"lcm": {**ON, "steps": 1}, "sdxl": True}
REFUSED = {"lcm": {**ON, "steps": 2, "lora": SDXL}}


def ask(webui, kind: dict, seed: int):
    request = {"prompt": PROMPT, "width": webui.side, "height": webui.side, **kind, "seed": seed}
    checkpoint = webui.sdxl if request.pop("sdxl", False) else webui.sd15
    if request.pop("hires", False):
        request |= webui.hires
    return webui.client.txt2img(
        request.pop("prompt"), override_settings={"sd_model_checkpoint": checkpoint}, **request
    )


def answer(webui, kind: dict, seed: int) -> tuple:
    """What a client gets: infotexts and pixels, or status and sentence."""
    try:
        made = ask(webui, kind, seed)
    except ApiError as error:
        return error.status, error.body["detail"]
    return made.infotexts, made.image.convert("RGB").tobytes()


@one_profile
@pytest.mark.parametrize("requests", [48, pytest.param(200, marks=pytest.mark.long)])
def test_four_clients_at_once_each_get_the_pictures_they_asked_for(webui, unharmed, requests):
    """Every answer is, to the bit, the one that the same request gets alone, whatever settings and rescans
    come in between.
    """
    kinds = [*KINDS, HIRES, OF_SDXL, REFUSED]
    jobs = [(kind, seed) for seed in (1, 2) for kind in range(len(kinds))]
    alone = {(kind, seed): answer(webui, kinds[kind], seed) for kind, seed in jobs}
    pictures = [right for right in alone.values() if right[0] != 422]
    # so that a mixed-up answer is seen
    assert len({str(right[0]) for right in pictures}) == len(pictures) == len(jobs) - 2
    settings = webui.all_settings()
    wrong, answered = [], []

    def disturb(number):
        if number % 3 == 0:
            webui.client.post("/sdapi/v1/refresh-loras")
        elif number % 3 == 1:
            webui.client.post(
                "/sdapi/v1/options",
                {"lcm_max_steps": 8 - number % 2, "lcm_max_cfg": 2.0 - 0.1 * (number % 5)},
            )
        else:
            try:
                webui.client.post("/lcm/v1/plan", {"prompt": PROMPT, "args": [TWO_STEPS]})
            except ApiError as error:  # which it says while another client's checkpoint is loaded
                assert error.status == 409, error
            webui.client.get("/lcm/v1/status")

    def client(first):
        for number in range(first, requests, CLIENTS):
            kind, seed = jobs[(number * 7) % len(jobs)]
            try:
                got = answer(webui, kinds[kind], seed)
                if got != alone[kind, seed]:
                    wrong.append((kinds[kind], got[0]))
                answered.append(number)
                disturb(number)
            except Exception as error:  # a thread's exception would be lost
                wrong.append((kinds[kind], str(error)))

    clients = [threading.Thread(target=client, args=(first,)) for first in range(CLIENTS)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    changed = ("lcm_max_steps", "lcm_max_cfg")
    webui.client.post("/sdapi/v1/options", {name: settings[name] for name in changed})
    assert wrong == []
    assert sorted(answered) == list(range(requests))


@one_profile
@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_memory_does_not_grow(webui, tell, count):
    """The first 50 fill caches."""
    warm = 50

    def resident() -> int:
        return webui.client.get("/lcm-test-faults/state")["resident"]

    def generate(number):
        ask(webui, KINDS[number % len(KINDS)], number)
        if number % 10 == 0:
            webui.calls()  # forgets what the probe has noted

    for number in range(warm):
        generate(number)
    after_warm = resident()
    for number in range(warm, count):
        generate(number)
    at_end = resident()
    growth = at_end / after_warm - 1
    tell(
        f"memory: {after_warm / 2**20:,.0f} MiB after {warm} generations, {at_end / 2**20:,.0f} MiB after"
        f" {count:,} ({growth:+.1%})"
    )
    assert growth <= 0.05
