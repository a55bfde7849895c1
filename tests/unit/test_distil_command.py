"""What the distillation's command makes of its arguments: prompts, pictures, and where the LoRA goes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from lib_lcm.distill.__main__ import output_path
from lib_lcm.distill.latents import of_pictures, read_prompts
from lib_lcm.distill.model import CannotDistill

# --- prompts ------------------------------------------------------------------------------------------------


def write(path: Path, text: str | bytes = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_prompt_stands_on_each_line(tmp_path: Path) -> None:
    text = (
        "\ufeffa cat\r\n\r\n  two   dogs,\tat night \n<lora:lcm:0.5>\n"
        "ein <lora:a b:1:0.5> Haus <hypernet:x>, grün"
    )
    prompts = read_prompts(write(tmp_path / "prompts.txt", text))
    assert prompts.texts == ["a cat", "two dogs, at night", "ein Haus , grün"]
    assert prompts.pictures is None


@pytest.mark.parametrize("text", ["a <3 b > c", "(a:1.2) [b|c] {d}", "<nothing> <>"])
def test_what_is_no_tag_of_a_network_stays(text: str, tmp_path: Path) -> None:
    assert read_prompts(write(tmp_path / "prompts.txt", text)).texts == [text]


def test_there_is_a_list_of_prompts() -> None:
    texts = read_prompts(None).texts
    assert len(texts) > 100 and len(set(texts)) == len(texts) and all(texts)


def test_a_folder_has_pictures_with_texts_beside(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "c.webp", "without.png", "notes.md", "sub.d/e.png"):
        write(tmp_path / name)
    for name, text in {
        "b": "\ufeffa <lora:x:1> dog\n",
        "a": "a cat,\nat night",
        "c": "",
        "left": "over",
    }.items():
        write(tmp_path / f"{name}.txt", text)
    prompts = read_prompts(tmp_path)
    assert prompts.texts == ["a cat, at night", "a dog", ""]
    assert prompts.pictures == [tmp_path / name for name in ("a.jpg", "b.PNG", "c.webp")]


def refused_prompts(source: Path) -> str:
    with pytest.raises(CannotDistill) as refused:
        read_prompts(source)
    assert str(source) in str(refused.value)
    return str(refused.value)


def test_prompts_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    for source in (
        tmp_path / "missing.txt",
        write(tmp_path / "utf-16.txt", "a cat".encode("utf-16")),
        write(tmp_path / "latin.txt", "grün".encode("latin-1")),
        write(tmp_path / "pictures" / "a.png", b"").parent / "a.png" / "b",
    ):
        assert "a text file in UTF-8 with one prompt a line, or a folder of pictures" in refused_prompts(
            source
        )
    write(tmp_path / "pictures" / "a.txt", b"\xff\xfe")
    assert "cannot be read" in refused_prompts(tmp_path / "pictures")


def test_no_prompts_are_refused(tmp_path: Path) -> None:
    pictures = write(tmp_path / "pictures" / "a.png").parent
    for source in (write(tmp_path / "tags.txt", "\n <lora:a:1>\n"), write(tmp_path / "empty.txt"), pictures):
        assert "holds no prompts: write one a line, or put a .txt beside each picture" in refused_prompts(
            source
        )


# --- pictures -----------------------------------------------------------------------------------------------


class Model:
    """Its latents are the pictures' colours, eight by eight pixels together."""

    latent_shape = (4, 2, 2)

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def latents(self, pictures: Tensor) -> Tensor:
        self.seen.append(pictures)
        return torch.nn.functional.avg_pool2d(pictures, 8)


def test_pictures_are_cut_to_the_square_in_the_middle(tmp_path: Path) -> None:
    wide = Image.new("RGB", (48, 16), "red")
    wide.paste("blue", (16, 0, 32, 16))
    wide.save(tmp_path / "wide.png")
    tall = Image.new("L", (32, 96), 255)
    tall.paste(0, (0, 32, 32, 64))
    tall.save(tmp_path / "tall.png")
    model = Model()
    latents = of_pictures(model, [tmp_path / "wide.png", tmp_path / "tall.png"], tmp_path)
    assert [tuple(picture.shape) for picture in model.seen] == [(1, 3, 16, 16)] * 2
    assert latents.dtype == torch.float16 and latents.shape == (2, 3, 2, 2)
    assert torch.equal(latents[0], torch.tensor([-1, -1, 1]).half().reshape(3, 1, 1).expand(3, 2, 2))
    # made smaller, its edges stay a little lighter
    torch.testing.assert_close(latents[1].float(), torch.full((3, 2, 2), -1.0), rtol=0, atol=0.05)


def test_a_picture_taken_sideways_is_set_upright(tmp_path: Path) -> None:
    picture = Image.new("RGB", (16, 16), "white")
    picture.paste("black", (0, 0, 8, 16))  # the left half, which is the upper one for the viewer
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "sideways.png", exif=exif)
    latents = of_pictures(Model(), [tmp_path / "sideways.png"], tmp_path)
    assert latents[0, 0].tolist() == [[-1, -1], [1, 1]]


@pytest.mark.parametrize(
    "mode, colour", [("P", 3), ("RGBA", (0, 0, 255, 255)), ("1", 1), ("CMYK", (0, 0, 0, 0))]
)
def test_pictures_of_every_kind_are_read(mode: str, colour: object, tmp_path: Path) -> None:
    path = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    Image.new(mode, (20, 20), colour).save(path)
    assert of_pictures(Model(), [path], tmp_path).shape == (1, 3, 2, 2)


def test_latents_of_pictures_are_made_once(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (16, 16), "red").save(path)
    folder = tmp_path / "unfinished"
    folder.mkdir()
    latents = of_pictures(Model(), [path], folder)
    path.unlink()
    again = Model()
    assert torch.equal(of_pictures(again, [path], folder), latents) and not again.seen


def refused_picture(path: Path) -> None:
    folder = path.parent / "unfinished"
    folder.mkdir(exist_ok=True)
    with pytest.raises(CannotDistill) as refused:
        of_pictures(Model(), [path], folder)
    assert str(path) in str(refused.value) and str(refused.value).endswith(": take it out.")
    assert not list(folder.iterdir())


def test_what_is_no_picture_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    refused_picture(tmp_path / "missing.png")
    refused_picture(write(tmp_path / "text.png", "a cat"))
    refused_picture(write(tmp_path / "half.png", data[: len(data) // 2]))
    refused_picture(write(tmp_path / "broken.png", data[:45] + b"\0\0\0\0" + data[49:]))
    refused_picture(write(tmp_path / "length.png", data[:33] + b"\0\0\1\0" + data[37:]))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    refused_picture(tmp_path / "whole.png")


# --- where the LoRA goes ------------------------------------------------------------------------------------


def test_the_lora_goes_into_the_webuis_folder(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for checkpoint in (models / "Stable-diffusion" / "a b.v1.5.safetensors",
                       models / "Stable-diffusion" / "mine" / "a b.v1.5.safetensors"):  # fmt: skip
        assert output_path(checkpoint, None) == models / "Lora" / "lcm_lora_a b.v1.5.safetensors"
        assert output_path(checkpoint, Path("new")) == models / "Lora" / "new.safetensors"
        assert output_path(checkpoint, Path("new.v2")) == models / "Lora" / "new.v2.safetensors"
        assert output_path(checkpoint, Path("new.safetensors")) == models / "Lora" / "new.safetensors"


def test_the_lora_of_a_checkpoint_elsewhere_lies_beside_it(tmp_path: Path, monkeypatch) -> None:
    assert output_path(tmp_path / "a.safetensors", None) == tmp_path / "lcm_lora_a.safetensors"
    monkeypatch.chdir(tmp_path)
    assert output_path(Path("a.safetensors"), None).absolute() == tmp_path / "lcm_lora_a.safetensors"
    (tmp_path / "Stable-diffusion").mkdir()
    monkeypatch.chdir(tmp_path / "Stable-diffusion")
    assert output_path(Path("a.safetensors"), None) == tmp_path / "Lora" / "lcm_lora_a.safetensors"


def test_a_path_is_taken_as_it_is_and_a_folder_gets_the_default_name(tmp_path: Path, monkeypatch) -> None:
    checkpoint = tmp_path / "models" / "Stable-diffusion" / "a.safetensors"
    assert output_path(checkpoint, tmp_path / "sub" / "b") == tmp_path / "sub" / "b.safetensors"
    assert output_path(checkpoint, Path("sub/b.safetensors")) == Path("sub/b.safetensors")
    (tmp_path / "loras").mkdir()
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "loras", Path("loras"), Path("."), Path("")):
        assert output_path(checkpoint, folder) == folder / "lcm_lora_a.safetensors"
