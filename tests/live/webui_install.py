"""An existing installation of a WebUI, started for the tests and stopped again, with nothing of the person's
own touched.

It runs on a free port with a data folder of its own: fresh settings, no extensions but this one and the
tests' probe, copies of the LCM-LoRAs, the person's checkpoints where they are. launch.py is told to install
and to download nothing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from lib_lcm.families import SD15, SDXL, Family, of_width
from lib_lcm.lora.file import inspect_lora
from lib_lcm.lora.header import Unusable, parse_table, read_header, split_metadata
from workbench.server import HostProcess, free_port

EXTENSION = Path(__file__).resolve().parents[2]
PROBE = Path(__file__).resolve().parent / "probe"
FAMILIES = (SD15, SDXL)
FLAGS = (
    "--api",
    "--skip-prepare-environment",
    "--skip-version-check",
    "--skip-python-version-check",
    "--skip-torch-cuda-test",
)
NO_DOWNLOADS = ("--no-download-sd-model", "--do-not-download-clip")
SETTINGS = {
    "samples_save": False,
    "grid_save": False,
    # A1111 1.6 cannot override a setting that config.json lacks, and img2img's batch overrides these two
    "save_to_dirs": True,
    "samples_filename_pattern": "",
    "show_progress_type": "Approx cheap",  # other previews download weights
    # reForge: each checkpoint's own, where by itself it draws with that of another checkpoint
    "sd_text_encoder": "None",
    # Forge Neo waits for Enter where a file of settings has no such mark
    "VERSION_UID": "PY313",
    # its page has 1024 by itself, which takes minutes without a GPU
    **{
        f"{preset}_{tab}_{side}": 128
        for preset in ("sd", "xl")
        for tab in ("t2i", "i2i")
        for side in ("width", "height")
    },
}
# Forge Neo pastes nothing into a text field that its page's saved defaults do not know, as on its first start
DEFAULTS = {
    f"{field}/value": ""
    for field in (
        "txt2img/Prompt",
        "txt2img/Negative Prompt",
        "txt2img/Hires prompt",
        "txt2img/Hires negative prompt",
        "img2img/Prompt",
        "img2img/Negative Prompt",
    )
}
# a WebUI passes over arguments that it does not know
ENVIRONMENT = {"IGNORE_CMD_ARGS_ERRORS": "1"}


class InstallProblem(Exception):
    """The installation cannot be tested as it is; the message is one sentence that says what to do."""


def find_python(folder: Path, given: Path | None = None) -> Path:
    """The interpreter that the WebUI in `folder` runs with: `given`, or the one of its own virtual
    environment or one-click package.
    """
    if given is not None:
        if not given.is_file():
            raise InstallProblem(
                f"{given} is not there: --webui-python names the interpreter that the WebUI runs with."
            )
        return given
    # the last: packages that bring their own Python
    places = [folder / "venv", folder / ".venv", folder.parent / "system" / "python"]
    for place in places:
        for name in ("bin/python", "Scripts/python.exe", "python.exe"):
            if (place / name).is_file():
                return place / name
    raise InstallProblem(
        f"{folder} has no Python of its own (venv): start the WebUI once, or name its interpreter with"
        " --webui-python."
    )


def checkpoint_family(path: Path) -> Family | None:
    """The family of an ordinary text-to-image checkpoint, by its header; None for any other file."""
    try:
        shapes, _ = parse_table(split_metadata(read_header(path)[0])[0])
    except (Unusable, OSError, ValueError):
        return None
    prefix = "model.diffusion_model."
    if shapes.get(f"{prefix}input_blocks.0.0.weight", [0, 0])[1] != 4:  # 9: inpainting, 8: InstructPix2Pix
        return None
    if f"{prefix}middle_block.1.proj_in.weight" not in shapes or "v_pred" in shapes:  # the first: SSD-1B
        return None
    width = next((shape[1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight")), None)
    return of_width(width)


def pick_checkpoints(files: Iterable[tuple[str, Path]]) -> dict[Family, str]:
    """Of checkpoints, (name, file), one name for each family: the first that has the family in its name, else
    the first by its header.

    Raises InstallProblem where a family has none.
    """
    files = sorted(files)
    picked = {}
    for family in FAMILIES:
        named = (name for name, _ in files if family.name in name)
        by_header = (name for name, path in files if checkpoint_family(path) is family)
        name = next(named, None) or next(by_header, None)
        if name is None:
            raise InstallProblem(
                f"There is no {family.label} checkpoint (.safetensors): the tests need one of SD 1.5 and one"
                " of SDXL."
            )
        picked[family] = name
    return picked


def copy_lcm_loras(source: Path, target: Path) -> None:
    """Copies one LCM-LoRA of each family to `target`, under the names that the tests use; they add files
    there and take them away.

    Raises InstallProblem where a family has none.
    """
    target.mkdir(parents=True, exist_ok=True)
    loras = [inspect_lora(path) for path in sorted(source.rglob("*.safetensors"))]
    for family in FAMILIES:
        lora = next((lora for lora in loras if lora.is_lcm and lora.family is family), None)
        if lora is None:
            hint = f"python install.py --download {family} --lora-dir {source}"
            raise InstallProblem(f"{source} has no LCM-LoRA for {family.label}: get one with `{hint}`.")
        shutil.copyfile(lora.path, target / f"lcm_lora_{family}.safetensors")


def link_folder(target: Path, link: Path) -> None:
    """Makes `target` appear at `link`: a symbolic link, or a junction on Windows, where links need a
    privilege.
    """
    if os.name == "nt":
        import _winapi

        _winapi.CreateJunction(str(target), str(link))
    else:
        link.symlink_to(target, target_is_directory=True)


def prepare_data_dir(data_dir: Path, models: Path) -> list[str]:
    """Fills the data folder of one run, and gives the arguments that make the WebUI use it and the
    checkpoints below `models`.
    """
    checkpoints = models / "Stable-diffusion"
    if not checkpoints.is_dir():
        raise InstallProblem(
            f"{checkpoints} is not there: --webui-models names the folder that holds Stable-diffusion and"
            " Lora."
        )
    # by their names without ending, in whose order the WebUI's list will be looked through too
    names = {
        path.relative_to(checkpoints).with_suffix("").as_posix(): path
        for path in checkpoints.rglob("*.safetensors")
    }
    first = names[pick_checkpoints(names.items())[SD15]]
    loras = data_dir / "models" / "Lora"
    copy_lcm_loras(models / "Lora", loras)
    (data_dir / "tmp").mkdir()  # Forge Neo fails at pictures that are not saved without it
    extensions = data_dir / "extensions"
    extensions.mkdir(parents=True)
    link_folder(EXTENSION, extensions / "sd-webui-lcm")
    link_folder(PROBE, extensions / "lcm-test-probe")
    settings = {**SETTINGS, "sd_model_checkpoint": first.relative_to(checkpoints).as_posix()}
    (data_dir / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    (data_dir / "ui-config.json").write_text(json.dumps(DEFAULTS), encoding="utf-8")
    places = {"--data-dir": data_dir, "--ckpt-dir": checkpoints, "--lora-dir": loras, "--ckpt": first}
    return [part for name, path in places.items() for part in (name, str(path))]


class InstalledWebUI(HostProcess):
    """The WebUI installed in `folder`, running; see `HostProcess`. Raises InstallProblem where it cannot be
    tested as it is.

    `data_dir` is an empty folder for this run. `models` holds Stable-diffusion and Lora, by default the
    installation's own. `arguments` are further ones for launch.py: what this machine needs, such as
    "--use-cpu all --no-half". `auth` is "user:password", which its API then asks for.
    """

    def __init__(
        self,
        folder: Path,
        data_dir: Path,
        *,
        python: Path | None = None,
        models: Path | None = None,
        arguments: Sequence[str] = (),
        auth: str | None = None,
        timeout: float = 900.0,
    ):
        folder = folder.absolute()
        if not (folder / "launch.py").is_file():
            raise InstallProblem(f"{folder} is not a WebUI: --webui names the folder that holds launch.py.")
        # not resolved: a virtual environment's python is a link, and its place is what makes it one
        python = find_python(folder, None if python is None else python.absolute())
        places = prepare_data_dir(data_dir, folder / "models" if models is None else models.absolute())
        port = free_port()
        # Forge's page may read files of its data folder only, so with one elsewhere it would be refused its
        # own JavaScript
        places += ["--gradio-allowed-path", str(folder)]
        command = [str(python), "launch.py", *FLAGS, *NO_DOWNLOADS, "--port", str(port), *places, *arguments]
        if auth:
            command += ["--api-auth", auth]
        super().__init__(
            str(folder),
            command,
            folder=folder,
            port=port,
            environment=ENVIRONMENT,
            auth=auth,
            timeout=timeout,
        )
