"""Live's runs as the server draws them, without a page: the API's `force_task_id` names a run's task."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from uuid import uuid4

import pytest
from PIL import Image

from tests.live.test_generation import same
from tests.live.test_loras import disturbed
from tests.prompts import OTHER, PROMPT, THIRD
from tests.waiting import wait_for
from workbench.client import ApiError, decode_image

ROUTE = "/internal/lcm/live-stop"
LCM = {"enabled": True, "steps": 2, "cfg": 1}


class Session:
    """One tab of a page with Live ticked."""

    def __init__(self, webui, folder):
        self.webui = webui
        self.name = uuid4().hex[:12]
        self.folder = folder

    def task(self, number: int) -> str:
        return f"task(lcm-live-{self.name}-{number})"

    def draw(self, number: int, prompt: str = PROMPT, **fields):
        """The pictures of a run, and the UNet's calls for them."""
        fields = {"lcm": LCM, "save_images": True, "force_task_id": self.task(number), **fields}
        return self.webui.txt2img(prompt, **fields)

    def stop(self, number: int, **fields) -> str:
        return self.webui.client.post(ROUTE, {"task": self.task(number), **fields})["state"]

    def files(self) -> list[int]:
        """The numbers of the runs whose pictures are there."""
        names = [file.stem for file in self.folder.glob(f"lcm-live-{self.name}-*.png")]
        return sorted(int(name.split("-")[-1].removesuffix(".draft")) for name in names)

    def drafts(self) -> int:
        """How many of those pictures are drafts."""
        return len(list(self.folder.glob(f"lcm-live-{self.name}-*.draft.png")))


@pytest.fixture
def sessions(webui, tmp_path):
    """Makes sessions; their files go into a folder of the test's, and ordinary pictures are saved."""
    webui.needs_task_names()
    webui.loaded()
    with webui.settings(temp_dir=str(tmp_path), samples_save=True):
        yield lambda: Session(webui, tmp_path)


@pytest.fixture
def session(sessions) -> Session:
    return sessions()


@contextmanager
def held(webui, generate, *arguments, **fields):
    """A generation that is in the midst of sampling until the block is left."""
    webui.disturb_next(at_call=1, do="hold")
    with ThreadPoolExecutor() as threads:
        running = threads.submit(generate, *arguments, **fields)
        try:
            wait_for(lambda: {"callback": "held"} in webui.client.get("/lcm-test-probe/events"))
            yield running
        finally:
            webui.client.post("/lcm-test-probe/release")


def test_a_live_run_draws_one_picture_and_saves_none(session, webui):
    made, calls = session.draw(1, n_iter=2, batch_size=2)
    assert len(made.images) == 1 and [call["rows"] for call in calls] == [1, 1]
    assert webui.events_of("image_saved") == [] and session.files() == [1]
    shown = Image.open(session.folder / f"lcm-live-{session.name}-1.png")
    assert same(shown, made.image) and shown.info["parameters"] == made.infotext
    ordinary, _ = webui.txt2img(PROMPT, lcm=LCM, save_images=True)
    assert len(webui.events_of("image_saved")) == 1 and same(ordinary.image, made.image)


def test_of_img2img_neither_the_first_picture_is_saved_nor_the_mask_shown(session, webui):
    picture = Image.new("RGB", (webui.side, webui.side), "red")
    mask = Image.new("L", picture.size, 0)
    mask.paste(255, (0, 0, webui.side // 2, webui.side))
    fields = {"lcm": LCM, "save_images": True, "mask": mask}
    with webui.settings(save_init_img=True, return_mask=True):
        made, _ = webui.img2img(PROMPT, [picture], force_task_id=session.task(1), **fields)
        assert len(made.images) == 1 and webui.events_of("image_saved") == [] and session.files() == [1]
        ordinary, _ = webui.img2img(PROMPT, [picture], **fields)
        assert len(ordinary.images) > 1 and len(webui.events_of("image_saved")) > 1
    # beside grid and mask
    assert any(image.size == made.image.size and same(image, made.image) for image in ordinary.images)


@pytest.mark.parametrize(
    "mode", ["inside before_process", "inside postprocess_image", "inside postprocess", "detail as ADetailer"]
)
def test_a_generation_inside_a_run_is_drawn_as_asked_and_neither_shown_nor_saved(session, webui, mode):
    plain, _ = session.draw(1)
    made, calls = session.draw(2, **disturbed(mode))
    assert webui.events_of("image_saved") == [] and session.files() == [1, 2]
    shown = Image.open(session.folder / f"lcm-live-{session.name}-2.png")
    assert same(made.image, plain.image) and same(shown, made.image)
    assert made.infotext == plain.infotext == shown.info["parameters"]
    assert len(calls) == 2 + 2
    assert len(session.draw(3)[1]) == 2 and session.files() == [1, 2, 3]


def test_a_run_that_was_withdrawn_is_not_drawn_and_the_last_picture_stays(session, webui):
    first, _ = session.draw(1)
    assert session.stop(3) == "withdrawn"
    for number in (2, 3):
        made, calls = session.draw(number, OTHER)
        assert calls == [] and len(made.images) == 1
        assert same(made.image, first.image) and made.infotext == first.infotext
    assert session.files() == [1] and webui.events_of("image_saved") == []
    made, calls = session.draw(4, OTHER)
    assert len(calls) == 2 and not same(made.image, first.image) and session.files() == [1, 4]


def test_a_first_run_that_was_withdrawn_shows_nothing(session):
    session.stop(1)
    made, calls = session.draw(1)
    assert (made.images, made.infotexts, calls, session.files()) == ([], [], [], [])


def test_a_run_of_another_session_is_not_withdrawn(session, sessions):
    sessions().stop(1)
    assert len(session.draw(1)[1]) == 2


def test_three_files_stay_and_as_many_as_the_page_needs_when_live_is_off(session):
    for number in range(1, 6):
        session.draw(number)
    assert session.files() == [3, 4, 5]
    session.stop(5, files_kept=1)
    assert session.files() == [5]
    for number in range(6, 10):
        session.draw(number)
    assert session.files() == [7, 8, 9]
    session.stop(9, files_kept=0)
    assert session.files() == []
    made, _ = session.draw(9, OTHER)  # withdrawn: the last picture is gone
    assert made.images == []


def test_a_file_that_cannot_be_deleted_now_is_deleted_with_a_later_run(session, sessions):
    for number in range(1, 4):
        session.draw(number)
    first = session.folder / f"lcm-live-{session.name}-1.png"
    first.unlink()
    first.mkdir()  # which nobody can delete as a file, as on Windows one that is being sent
    session.draw(4)
    session.stop(4, files_kept=0)
    assert session.files() == [1]
    first.rmdir()
    first.touch()
    sessions().draw(1)
    assert session.files() == []


def test_a_run_of_a_page_that_has_gone_away_leaves_no_file(session, webui):
    with held(webui, session.draw, 1) as run:
        assert session.stop(1, also_running=False, files_kept=0) == "running"
    assert len(run.result()[1]) == 2, "it was interrupted"
    assert session.files() == []


def test_a_running_one_is_interrupted_where_that_is_asked_for_and_the_last_picture_stays(session, webui):
    first, _ = session.draw(1)
    with held(webui, session.draw, 2, OTHER) as run:
        assert session.stop(2, also_running=True) == "interrupted"
    made, calls = run.result()
    assert len(calls) == 1 and same(made.image, first.image) and session.files() == [1]
    assert len(session.draw(3, OTHER)[1]) == 2


def test_no_other_job_is_interrupted_not_even_after_a_run_that_failed(session, webui):
    webui.disturb_next(at_call=1, do="fail")
    with pytest.raises(ApiError):
        session.draw(1)
    with held(webui, webui.txt2img, THIRD, steps=3, cfg_scale=1) as other:
        assert [session.stop(number, also_running=True) for number in (1, 2)] == ["withdrawn", "withdrawn"]
    assert len(other.result()[1]) == 3
    assert len(session.draw(3)[1]) == 2


def test_the_oldest_of_many_pages_leaves_no_file(sessions):
    first, *others = [sessions() for _ in range(17)]
    first.draw(1)
    for other in others[:-1]:
        other.draw(1)
    assert first.files() == [1]
    others[-1].draw(1)
    assert first.files() == [] and others[0].files() == [1]


@pytest.mark.parametrize(
    "body, sentence",
    [
        ({"task": "task(abc)"}, "'task' must be the name of a live run."),
        ({}, "'task' must be the name of a live run."),
        ({"task": "task(lcm-live-abcdefgh-1)", "files_kept": 2}, "'files_kept' must be 0 or 1."),
    ],
)
def test_a_bad_request_is_refused_with_a_sentence(webui, body, sentence):
    with pytest.raises(ApiError) as error:
        webui.client.post(ROUTE, body)
    assert (error.value.status, error.value.body) == (422, {"detail": sentence})


@pytest.mark.parametrize("family, name", [("sd15", "taesd"), ("sdxl", "taesdxl")])
def test_a_live_picture_is_the_tiny_decoders_and_generates_is_not(session, webui, tiny_decoder, family, name):
    checkpoint = getattr(webui, family)
    before, _ = webui.txt2img(PROMPT, checkpoint, lcm=LCM)
    tiny_decoder(name)
    draft, _ = session.draw(1, checkpoint=checkpoint)
    assert session.drafts() == 1 and "LCM draft: TAESD" in draft.infotext
    assert webui.events_of("download") == [] and webui.all_settings()["sd_vae_decode_method"] == "Full"
    after, _ = webui.txt2img(PROMPT, checkpoint, lcm=LCM)
    assert same(after.image, before.image) and after.infotext == before.infotext
    with webui.settings(sd_vae_decode_method="TAESD"):
        by_setting, _ = webui.txt2img(PROMPT, checkpoint, lcm=LCM)
        live, _ = session.draw(2, checkpoint=checkpoint)
    assert same(draft.image, by_setting.image) and not same(draft.image, before.image)
    assert same(live.image, by_setting.image) and session.drafts() == 1, "Generate makes no better one"


@pytest.mark.parametrize("other", [None, "taesdxl"])
def test_a_live_picture_is_the_vaes_where_it_has_no_tiny_decoder(session, webui, tiny_decoder, other):
    if other:
        tiny_decoder(other)
    made, _ = session.draw(1)
    assert webui.events_of("download") == [] and session.drafts() == 0
    ordinary, _ = webui.txt2img(PROMPT, lcm=LCM)
    assert same(made.image, ordinary.image) and made.infotext == ordinary.infotext


def test_the_infotext_of_a_draft_draws_the_picture_that_generate_would(session, webui, tiny_decoder):
    if not webui.reads_infotexts:
        pytest.skip("this WebUI draws no picture from an infotext")
    ordinary, _ = webui.txt2img(PROMPT, lcm=LCM)
    tiny_decoder()
    draft, _ = session.draw(1)
    again = webui.txt2img_of_infotext(draft.infotext)
    assert same(decode_image(again["images"][0]), ordinary.image)


def test_a_broken_tiny_decoder_is_told_of_once_and_a_new_one_is_used(session, webui, tiny_decoder):
    tiny_decoder(is_broken=True)
    ordinary, _ = webui.txt2img(PROMPT, lcm=LCM)
    for number in (1, 2):
        assert same(session.draw(number)[0].image, ordinary.image)
    assert session.drafts() == 0
    tiny_decoder()
    session.draw(3)
    assert session.drafts() == 1
    if webui.server is not None:
        webui.txt2img(THIRD, steps=1, cfg_scale=1)
        line = "LCM: Live decodes with the VAE, as taesd_decoder.pth cannot be used"
        wait_for(lambda: any(line in text for text in webui.server.log))
        assert sum(line in text for text in webui.server.log) == 1


def test_latents_of_nothing_but_nan_are_no_fault_of_the_tiny_decoder(session, webui, tiny_decoder):
    tiny_decoder()
    webui.disturb_next(at_call=2, do="nan")
    # a real Forge draws it
    with suppress(ApiError) if webui.is_of_forge else pytest.raises(ApiError, match="NaN"):
        session.draw(1)
    assert session.drafts() == 0
    session.draw(2)
    assert session.drafts() == 1


def test_a_live_picture_with_a_hires_pass_is_the_vaes(session, webui, tiny_decoder):
    tiny_decoder()
    made, _ = session.draw(1, **webui.hires)
    ordinary, _ = webui.txt2img(PROMPT, lcm=LCM, **webui.hires)
    assert session.drafts() == 0 and same(made.image, ordinary.image)


def test_a_generation_inside_a_draft_leaves_it_as_it_is(session, tiny_decoder):
    tiny_decoder()
    plain, _ = session.draw(1)
    made, _ = session.draw(2, **disturbed("detail as ADetailer"))
    assert same(made.image, plain.image) and session.drafts() == 2
