"""The LoRA folder: what is in it, which file a name means, and which file serves a family."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lib_lcm.families import SD2, SD15, SDXL, SSD1B, UNKNOWN, Family
from lib_lcm.lora import choice
from lib_lcm.lora import library as library_module
from lib_lcm.lora.catalog import named, published_lcm
from lib_lcm.lora.library import LoraLibrary
from lib_lcm.methods import TCD
from tests.unit.lora_fixtures import (
    STYLE_TARGETS,
    header_bytes,
    kohya_lora,
    official_lora_tensors,
    targeted_layers,
    write_header,
    write_lora,
)


def put_lcm(path: Path, family: str = "sdxl", rank: int = 64) -> Path:
    return write_lora(path, official_lora_tensors(family, rank), {"format": "pt"})


def put_style(path: Path, family: str = "sdxl", rank: int = 4) -> Path:
    return write_lora(
        path, kohya_lora(targeted_layers(family, STYLE_TARGETS), rank), {"ss_output_name": path.stem}
    )


def put_small(path: Path, width: int = 2048) -> Path:
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    return write_lora(path, {f"{name}.lora_down.weight": (1, width), f"{name}.lora_up.weight": (8, 1)})


def no_hash(path: Path) -> None:
    return None


def chosen(library: LoraLibrary, family: Family) -> tuple[str | None, str | None]:
    answer = library.choose(family)
    assert (answer.file is None) == (answer.problem is not None)
    return (answer.file and answer.file.path.name, answer.known_by)


@pytest.fixture
def inspected(monkeypatch):
    """The names of the files that were opened, in order."""
    names = []
    real = library_module.inspect_lora

    def counting(path, relative):
        names.append(Path(path).name)
        return real(path, relative)

    monkeypatch.setattr(library_module, "inspect_lora", counting)
    return names


# --- which file serves a family -----------------------------------------------------------------------------


def test_the_published_file_comes_first_under_any_name_and_in_any_folder(tmp_path):
    put_lcm(tmp_path / "lcm_lora_sdxl.safetensors", rank=32)
    header, data = header_bytes(official_lora_tensors("sdxl"), {"format": "pt"})
    header += b" " * (published_lcm(SDXL).size - 8 - len(header) - data)  # the published upload's size
    write_header(tmp_path / "deep" / "down" / "xyz.safetensors", header, data)
    digest = {"xyz.safetensors": published_lcm(SDXL).sha256[0].upper()}
    library = LoraLibrary(tmp_path, sha256_of=lambda path: digest.get(path.name))
    assert chosen(library, SDXL) == ("xyz.safetensors", "hash")
    assert [file.path.name for file in library.candidates(SDXL)] == [
        "xyz.safetensors",
        "lcm_lora_sdxl.safetensors",
    ]
    digest["xyz.safetensors"] = "0" * 64
    assert chosen(LoraLibrary(tmp_path, sha256_of=lambda path: digest.get(path.name)), SDXL) == (
        "lcm_lora_sdxl.safetensors",
        "layers",
    )


def test_published_loras_are_known_by_their_content_alone(tmp_path):
    put_lcm(tmp_path / "a" / "tcd.safetensors", "sd15")
    put_lcm(tmp_path / "tcd_sd15.safetensors", "sd15", rank=32)
    of_tcd = named("tcd_sd15")
    assert LoraLibrary(tmp_path, no_hash).published() == {}
    library = LoraLibrary(tmp_path, lambda path: of_tcd.sha256[0] if path.stem == "tcd" else None)
    library.of_method(SD15, TCD)  # which waits for the hash
    assert {lora: file.path.stem for lora, file in library.published().items()} == {of_tcd: "tcd"}


def test_only_files_of_a_published_size_are_hashed_and_only_once(tmp_path):
    put_style(tmp_path / "a.safetensors", "sd15")
    path = put_lcm(tmp_path / "b.safetensors", "sd15")
    put_lcm(tmp_path / "c.safetensors", "sd15", rank=32)
    assert path.stat().st_size == published_lcm(SD15).size
    hashed = []
    library = LoraLibrary(tmp_path, sha256_of=lambda path: hashed.append(path.name))
    for _ in range(3):
        assert chosen(library, SD15) == ("b.safetensors", "layers")
    assert hashed == ["b.safetensors"]
    os.utime(path, ns=(1, 1))
    library.choose(SD15)
    assert hashed == ["b.safetensors"] * 2


def test_without_a_hash_function_the_files_themselves_are_read(tmp_path, monkeypatch):
    put_small(tmp_path / "a.safetensors", 768)
    monkeypatch.setattr(library_module, "may_be_published", lambda file: True)
    monkeypatch.setattr(choice, "published_like", lambda file: [published_lcm(SD15)])
    asked = []
    monkeypatch.setattr(
        choice, "published_of_sha256", lambda digest: asked.append(digest) or published_lcm(SD15)
    )
    assert chosen(LoraLibrary(tmp_path), SD15) == ("a.safetensors", "hash")
    import hashlib

    assert set(asked) == {hashlib.sha256((tmp_path / "a.safetensors").read_bytes()).hexdigest()}


def test_a_hash_that_cannot_be_had_is_asked_for_again(tmp_path):
    put_lcm(tmp_path / "lcm_lora_sd15.safetensors", "sd15", rank=32)
    put_lcm(tmp_path / "b.safetensors", "sd15")
    is_busy = True

    def sha256_of(path):
        if is_busy:
            raise OSError("busy")
        return published_lcm(SD15).sha256[0]

    library = LoraLibrary(tmp_path, sha256_of)
    assert chosen(library, SD15) == ("lcm_lora_sd15.safetensors", "layers")
    is_busy = False
    assert chosen(library, SD15) == ("b.safetensors", "hash")


def test_hashes_are_computed_in_the_background_and_waited_for_only_where_they_decide(tmp_path):
    put_lcm(tmp_path / "b.safetensors", "sd15")
    may_go_on, asked = threading.Event(), threading.Event()

    def slow_sha256_of(path):
        asked.set()
        assert may_go_on.wait(60)
        return published_lcm(SD15).sha256[0]

    library = LoraLibrary(tmp_path, slow_sha256_of)
    library.scan()
    assert asked.wait(60), "nobody had to choose for the hash to be begun"
    assert chosen(library, SD15) == ("b.safetensors", "layers")  # the only one: its hash cannot change that
    assert [method.name for _, method, _ in library.few_step_loras()] == ["lcm"]

    put_lcm(tmp_path / "lcm_lora_sd15.safetensors", "sd15", rank=32)
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(chosen(library, SD15)))
    waiting.start()
    # others are not held up meanwhile
    assert [file.name for file in library.scan()] == ["b", "lcm_lora_sd15"]
    assert chosen(library, SDXL)[0] is None
    assert not answers
    may_go_on.set()
    waiting.join(60)
    assert answers == [("b.safetensors", "hash")]


def test_a_published_file_whose_name_speaks_of_another_method_is_known_by_its_hash(tmp_path):
    put_lcm(tmp_path / "my turbo.safetensors", "sd15")
    assert chosen(LoraLibrary(tmp_path, lambda path: published_lcm(SD15).sha256[0]), SD15) == (
        "my turbo.safetensors",
        "hash",
    )
    library = LoraLibrary(tmp_path, no_hash)
    assert chosen(library, SD15) == (None, None)
    assert library.method_of(library.find("my turbo"))[0].name == "turbo"


def test_lcm_loras_and_files_that_cannot_be_checked_are_listed(tmp_path):
    put_lcm(tmp_path / "b.safetensors")
    put_lcm(tmp_path / "sub" / "a.safetensors", "sd15", rank=8)
    put_style(tmp_path / "style.safetensors")
    for name in ("LCM_old.pt", "style.pt", "lcm.txt"):
        (tmp_path / name).write_bytes(b"x")
    library = LoraLibrary(tmp_path, no_hash)
    assert [file.name for file, _, _ in library.few_step_loras()] == ["b", "a"]
    assert [file.path.name for file in library.unchecked()] == ["LCM_old.pt"]


def test_each_family_gets_its_own_file_whatever_the_names(tmp_path):
    put_lcm(tmp_path / "lcm_lora_sdxl.safetensors", "ssd1b")
    put_lcm(tmp_path / "lcm_lora_ssd1b.safetensors", "sd15")
    put_lcm(tmp_path / "lcm_lora_sd15.safetensors", "sdxl")
    library = LoraLibrary(tmp_path, no_hash)
    assert chosen(library, SDXL) == ("lcm_lora_sd15.safetensors", "layers")
    assert chosen(library, SSD1B) == ("lcm_lora_sdxl.safetensors", "layers")
    assert chosen(library, SD15) == ("lcm_lora_ssd1b.safetensors", "layers")


def test_a_conventional_name_with_a_header_of_the_family_is_the_last_resort(tmp_path):
    put_style(tmp_path / "lcm-lora-sdxl.safetensors")
    put_style(tmp_path / "style.safetensors")
    library = LoraLibrary(tmp_path, no_hash)
    assert chosen(library, SDXL) == ("lcm-lora-sdxl.safetensors", "name")
    put_lcm(tmp_path / "zzz.safetensors")
    assert chosen(library, SDXL) == ("zzz.safetensors", "layers")


def test_ties_go_by_conventional_name_then_depth_then_name(tmp_path):
    for name in ("c/lcm_lora_sdxl", "a/b/lcm_sdxl", "b", "a", "c/a", "lcm/SDXL/pytorch_lora_weights"):
        put_lcm(tmp_path / f"{name}.safetensors")
    library = LoraLibrary(tmp_path, no_hash)
    order = [file.path.relative_to(tmp_path).with_suffix("").as_posix() for file in library.candidates(SDXL)]
    assert order == ["c/lcm_lora_sdxl", "a/b/lcm_sdxl", "lcm/SDXL/pytorch_lora_weights", "a", "b", "c/a"]
    assert library.choose(SDXL).file == library.candidates(SDXL)[0]


def few_step(library: LoraLibrary) -> dict[str, str]:
    return {file.name: method.name for file, method, _ in library.few_step_loras()}


def test_loras_of_other_few_step_distillations_are_passed_over_and_mentioned(tmp_path):
    put_lcm(tmp_path / "Hyper-SDXL-8steps-lora.safetensors")
    put_lcm(tmp_path / "sdxl_lightning_4step_lora.safetensors")
    library = LoraLibrary(tmp_path, no_hash)
    problem = library.choose(SDXL).problem
    assert "Hyper-SDXL-8steps-lora.safetensors is a Hyper-SD LoRA, not an LCM-LoRA" in problem
    assert "is a Lightning LoRA" in problem
    assert few_step(library) == {
        "Hyper-SDXL-8steps-lora": "hyper-8", "sdxl_lightning_4step_lora": "lightning-4"
    }  # fmt: skip
    put_style(tmp_path / "hyperrealistic_cats.safetensors")
    put_style(tmp_path / "dmd2_sdxl_4step_lora.safetensors")  # attention alone is a style's
    put_lcm(tmp_path / "hyperrealism_lcm.safetensors")
    assert few_step(library) == {
        "Hyper-SDXL-8steps-lora": "hyper-8", "sdxl_lightning_4step_lora": "lightning-4",
        "hyperrealism_lcm": "lcm",
    }  # fmt: skip
    assert chosen(library, SDXL) == ("hyperrealism_lcm.safetensors", "layers")


def test_a_family_without_a_published_lcm_lora_gets_a_sentence(tmp_path):
    put_lcm(tmp_path / "lcm_sd2.safetensors", "sd2")
    library = LoraLibrary(tmp_path, no_hash)
    problem = library.choose(SD2).problem
    assert problem.startswith(
        "There is no LCM-LoRA for SD 2.x checkpoints; switch LCM off, load one of another"
    )
    assert "(SD 1.5, SDXL, SSD-1B, Segmind-Vega)" in problem
    assert "There is no LCM-LoRA for unknown checkpoints" in library.choose(UNKNOWN).problem
    assert library.candidates(UNKNOWN) == []


def test_a_style_lora_is_never_chosen(tmp_path):
    put_style(tmp_path / "calcmania_sdxl.safetensors")
    put_style(tmp_path / "lcm_comic_sdxl.safetensors")
    assert LoraLibrary(tmp_path, no_hash).candidates(SDXL) == []


# --- none found: what to do ---------------------------------------------------------------------------------


def test_an_empty_or_missing_folder_gets_the_command_and_the_place(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        problem = LoraLibrary([folder], no_hash).choose(SDXL).problem
        assert problem.startswith("No LCM-LoRA for SDXL was found: download it") and problem.endswith(".")
        assert "python install.py --download sdxl" in problem
        assert "https://huggingface.co/latent-consistency/lcm-lora-sdxl" in problem
        assert f"into {folder} as lcm_lora_sdxl.safetensors" in problem
    assert "into the LoRA folder" in LoraLibrary([], no_hash).choose(SDXL).problem


@pytest.mark.parametrize(
    "name", ["lcm_lora_sd15.safetesnors", "lcm_lora_sd15", "lcm_lora_sd15.safetensors.part"]
)
def test_a_file_that_no_webui_lists_is_named(tmp_path, name):
    put_lcm(tmp_path / name, "sd15")
    library = LoraLibrary(tmp_path, no_hash)
    assert f"{name} does not end in .safetensors" in library.choose(SD15).problem
    assert name not in library.choose(SDXL).problem
    (tmp_path / name).rename(tmp_path / "lcm_lora_sd15.safetensors")
    assert chosen(library, SD15) == ("lcm_lora_sd15.safetensors", "layers")


def test_files_beside_a_lora_are_not_taken_for_mistyped_ones(tmp_path):
    for name in (
        "lcm_lora_sdxl.png",
        "lcm_lora_sdxl.preview.png",
        "lcm_lora_sdxl.json",
        "lcm_lora_sdxl.txt",
        "lcm_lora_sdxl.civitai.info",
    ):
        (tmp_path / name).write_bytes(b"x")
    assert "found: download it" in LoraLibrary(tmp_path, no_hash).choose(SDXL).problem


def test_a_file_of_the_right_name_that_is_of_another_family_is_pointed_out(tmp_path):
    put_lcm(tmp_path / "lcm_lora_sdxl.safetensors", "ssd1b")
    problem = LoraLibrary(tmp_path, no_hash).choose(SDXL).problem
    assert "lcm_lora_sdxl.safetensors was made for SSD-1B, whatever its name" in problem


def test_a_broken_file_of_the_right_name_is_pointed_out_with_what_is_wrong(tmp_path):
    (tmp_path / "lcm_lora_sdxl.safetensors").write_bytes(b"<!DOCTYPE html>")
    (tmp_path / "lcm-lora-sdxl.ckpt").write_bytes(b"")
    problem = LoraLibrary(tmp_path, no_hash).choose(SDXL).problem
    assert "lcm_lora_sdxl.safetensors is a web page saved under this name" in problem
    assert "lcm-lora-sdxl.ckpt was not checked" in problem
    assert "\n" not in problem and problem.endswith(".")


def test_a_broken_download_under_its_original_name_is_pointed_out_for_its_family(tmp_path):
    os.truncate(put_lcm(tmp_path / "pytorch_lora_weights.safetensors"), 200_000_000)
    library = LoraLibrary(tmp_path, no_hash)
    assert "pytorch_lora_weights.safetensors is cut off" in library.choose(SDXL).problem
    assert "cut off" not in library.choose(SD15).problem


# --- names --------------------------------------------------------------------------------------------------


def test_a_name_is_found_by_stem_and_path_in_any_case_with_or_without_ending(tmp_path):
    put_small(tmp_path / "sub" / "My Style.safetensors")
    library = LoraLibrary(tmp_path, no_hash)
    for name in (
        "My Style",
        "my style",
        "sub/My Style",
        "SUB\\my style.SAFETENSORS",
        "My Style.safetensors",
        " My Style ",
    ):
        assert library.find(name).path == tmp_path / "sub" / "My Style.safetensors"
    for name in ("", "/", "My", "Style", "sub", "other/My Style", "..", "My Style.pt"):
        assert library.find(name) is None


def test_of_several_files_of_one_name_the_exact_case_then_the_shallowest_counts(tmp_path):
    put_small(tmp_path / "b" / "x.safetensors")
    put_small(tmp_path / "a" / "deep" / "x.safetensors")
    library = LoraLibrary(tmp_path, no_hash)
    assert library.find("x").path == tmp_path / "b" / "x.safetensors"
    assert library.find("a/deep/x").path == tmp_path / "a" / "deep" / "x.safetensors"
    put_small(tmp_path / "c" / "X.safetensors")
    if (tmp_path / "c" / "x.safetensors").exists():
        pytest.skip("this disk knows no upper and lower case")
    assert library.find("X").path == tmp_path / "b" / "x.safetensors"  # not scanned again: the name was known
    library.scan()
    assert library.find("X").path == tmp_path / "c" / "X.safetensors"
    assert library.find("x").path == tmp_path / "b" / "x.safetensors"


@pytest.mark.parametrize(
    "name", ["it's", 'say "hi"', "line\nbreak", "smile 😀", "a:b", "#1 100%", "..dots", "\udcff"]
)
def test_odd_names_are_found_and_described(tmp_path, name):
    path = tmp_path / f"{name}.safetensors"
    try:
        put_lcm(path)
        (tmp_path / f"{name} lcm_lora_sd15.safetensors").write_bytes(b"")
    except (OSError, UnicodeError):
        pytest.skip("this disk cannot hold the name")
    library = LoraLibrary(tmp_path, no_hash)
    assert library.find(name).path == path
    assert library.choose(SDXL).file.path == path
    for family in (SD15, SDXL):
        problem = library.choose(family).problem
        assert problem is None or problem.isprintable()


# --- the folders --------------------------------------------------------------------------------------------


def test_each_file_is_opened_once_while_it_stays_the_same(tmp_path, inspected):
    for i in range(5):
        put_small(tmp_path / f"{i}.safetensors")
    (tmp_path / "note.txt").write_text("x")
    library = LoraLibrary(tmp_path, no_hash)
    assert inspected == []
    for _ in range(3):
        assert [file.path.stem for file in library.scan()] == list("01234")
    assert [file.path.stem for file in library.files] == list("01234")
    library.choose(SDXL)
    library.find("3")
    assert sorted(inspected) == [f"{i}.safetensors" for i in range(5)]


def test_new_changed_and_vanished_files_are_noticed(tmp_path, inspected):
    path = put_small(tmp_path / "a.safetensors", 768)
    library = LoraLibrary(tmp_path, no_hash)
    assert library.find("a").family is SD15
    inspected.clear()
    put_small(path, 2048)
    os.utime(path, ns=(5, 5))
    put_small(tmp_path / "new.safetensors")
    assert library.find("a").family is SDXL
    assert library.find("new") is not None
    assert sorted(inspected) == ["a.safetensors", "new.safetensors"]
    path.unlink()
    assert library.find("a") is None
    assert [file.name for file in library.files] == ["new"]


def test_a_file_that_vanishes_between_listing_and_opening_is_listed_with_its_problem(tmp_path, monkeypatch):
    path = put_small(tmp_path / "a.safetensors")
    real = library_module.inspect_lora
    monkeypatch.setattr(
        library_module, "inspect_lora", lambda *args: (path.unlink(missing_ok=True), real(*args))[1]
    )
    library = LoraLibrary(tmp_path, no_hash)
    (file,) = library.scan()
    assert "is not there" in file.problem
    assert library.scan() == []


def test_a_file_that_is_replaced_between_listing_and_opening_is_read_again(tmp_path, monkeypatch):
    path = put_small(tmp_path / "a.safetensors", 768)
    real = library_module.inspect_lora

    def replaced_meanwhile(*args):
        file = real(*args)
        put_small(path, 2048)
        os.utime(path, ns=(5, 5))
        return file

    monkeypatch.setattr(library_module, "inspect_lora", replaced_meanwhile)
    library = LoraLibrary(tmp_path, no_hash)
    assert library.scan()[0].family is SD15
    monkeypatch.setattr(library_module, "inspect_lora", real)
    assert library.scan()[0].family is SDXL


def test_a_file_that_becomes_readable_is_read(tmp_path, monkeypatch):
    put_small(tmp_path / "a.safetensors")
    library = LoraLibrary(tmp_path, no_hash)
    real_open = open

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    assert "cannot be read" in library.scan()[0].problem
    monkeypatch.setattr("builtins.open", real_open)
    assert library.scan()[0].problem is None


def test_links_in_a_loop_end_and_linked_folders_are_searched_once(tmp_path):
    put_small(tmp_path / "loras" / "sub" / "a.safetensors")
    put_small(tmp_path / "elsewhere" / "b.safetensors")
    try:
        (tmp_path / "loras" / "sub" / "loop").symlink_to(tmp_path / "loras", target_is_directory=True)
        (tmp_path / "loras" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (tmp_path / "elsewhere" / "self").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (tmp_path / "loras" / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    except OSError:
        pytest.skip("this system allows no links")
    library = LoraLibrary([tmp_path / "loras", tmp_path / "loras" / "sub", tmp_path / "loras"], no_hash)
    assert [file.path.relative_to(tmp_path).as_posix() for file in library.scan()] == [
        "loras/gone.safetensors",
        "loras/linked/b.safetensors",
        "loras/sub/a.safetensors",
    ]
    assert "link to a file that is gone" in library.find("gone").problem
    assert library.find("linked/b") is not None


def test_several_folders_and_a_folder_named_like_a_lora(tmp_path):
    put_small(tmp_path / "one" / "a.safetensors")
    put_small(tmp_path / "two" / "folder.safetensors" / "b.safetensors")
    library = LoraLibrary([str(tmp_path / "one"), tmp_path / "two"], no_hash)
    assert [file.name for file in library.files] == ["a", "b"]
    assert library.find("folder.safetensors/b") is not None


def test_a_folder_given_relative_to_the_working_directory_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put_lcm(tmp_path / "sub" / "b.safetensors", "sd15")
    for folder in (".", "./sub", "sub/../sub"):
        library = LoraLibrary(folder, lambda path: published_lcm(SD15).sha256[0])
        assert library.choose(SD15).file.path.samefile(tmp_path / "sub" / "b.safetensors")
        assert library.find("b").path.samefile(tmp_path / "sub" / "b.safetensors")


def test_many_threads_may_ask_at_once(tmp_path):
    for i in range(20):
        put_small(tmp_path / f"{i}.safetensors")
    put_lcm(tmp_path / "lcm.safetensors")
    library = LoraLibrary(tmp_path, no_hash)
    wrong = []

    def ask():
        for i in range(20):
            if (
                library.find(str(i)) is None
                or chosen(library, SDXL) != ("lcm.safetensors", "layers")
                or len(library.scan()) != 21
            ):
                wrong.append(i)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.fixture
def walks(monkeypatch):
    """The walks through the folders, by thread."""
    threads = []
    real = library_module._walk

    def counting(folders):
        threads.append(threading.current_thread())
        return real(folders)

    monkeypatch.setattr(library_module, "_walk", counting)
    return threads


def ask_everything(library):
    assert library.find("unknown") is library.find("other") is library.at("nowhere") is None
    assert library.choose(SDXL).file is None and library.candidates(SD15) == library.few_step_loras() == []
    assert [file.name for file in library.scan()] == ["a"]


def test_within_seen_once_the_folders_are_looked_at_once(tmp_path, walks):
    put_small(tmp_path / "a.safetensors")
    library = LoraLibrary(tmp_path, no_hash)
    library.scan()
    walks.clear()
    with library.seen_once():
        ask_everything(library)
        with library.seen_once():
            ask_everything(library)
        ask_everything(library)
        assert len(walks) == 1
    put_small(tmp_path / "unknown.safetensors")
    assert library.find("unknown") is not None and len(walks) == 2


def test_seen_once_holds_for_its_own_thread_alone(tmp_path, walks):
    put_small(tmp_path / "a.safetensors")
    library = LoraLibrary(tmp_path, no_hash)
    inside, may_leave = threading.Barrier(5), threading.Event()

    def ask():
        with library.seen_once():
            ask_everything(library)
            inside.wait(60)
            assert may_leave.wait(60)
            ask_everything(library)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    inside.wait(60)
    library.scan()
    library.scan()
    may_leave.set()
    for thread in threads:
        thread.join(60)
    assert [walks.count(thread) for thread in (*threads, threading.current_thread())] == [1, 1, 1, 1, 2]
