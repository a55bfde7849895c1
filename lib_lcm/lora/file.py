"""Reads a LoRA file's header: which model family it was made for, by which method, and whether the file is
whole.

The weights are never read (see `header`): the names and shapes of the tensors (`key_names`, `layers`) are
enough. They tell the family by the width of the cross-attention keys (`layers`) and, for SSD-1B, by the
layout of the UNet (`unet_layouts`).

Method. A style LoRA adds to some layers; distillation for few steps changes all of them, with plain LoRA
pairs. Which method it was, the layers do not say, since all are made with the same scripts: our distiller's
metadata entry `lcm_distillation` does, or a word in the name, which is a guess. Where neither speaks, layers
of one rank under diffusers' names and without the metadata of kohya's or LyCORIS' trainers (`ss_...`) are
taken for an LCM-LoRA's. Resizing changes ranks and adds such metadata, so neither speaks against a name.
What a file's content says about it, its hash, is looked up in `choice`.

What the header cannot tell: (1) A style LoRA trained on convolutions too, without the text encoder, with the
same rank for both, under diffusers' names (kohya's SD 1.5 trainer uses them), and stripped of its metadata
looks like an LCM-LoRA. (2) Models that share SDXL's layout and width (Kolors) count as SDXL. (3) An SSD-1B
LoRA that covers only some blocks counts as SDXL.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib_lcm.families import Family
from lib_lcm.lora.header import MAX_HEADER_BYTES as MAX_HEADER_BYTES  # for callers of `inspect_lora`
from lib_lcm.lora.header import Unusable, parse_table, read_header, split_metadata
from lib_lcm.lora.layers import Layers, recognise
from lib_lcm.lora.names import conventional_family
from lib_lcm.methods import LCM, Method, method_named, named_in, steps_in
from lib_lcm.text import Text, sentence_of

PICKLE_ENDINGS = frozenset({".pt", ".ckpt", ".bin", ".pth"})
BY_YOU, BY_HASH, BY_METADATA, BY_LAYERS, BY_NAME = KNOWN_BY = ("you", "hash", "metadata", "layers", "name")
"""How a file's method is known, the surest first."""
# Our distiller's metadata entry: the hyper-parameters as JSON, with the method where it is not LCM.
DISTILLATION_METADATA = "lcm_distillation"
# What kohya's scripts and LyCORIS write, even when told to write no metadata (`sshs_` are their hashes).
TRAINER_METADATA_PREFIXES = ("ss_", "sshs_")
# Longer values (kohya's tag statistics reach megabytes) are not kept: a library holds thousands of these
# objects.
MAX_METADATA_VALUE = 1000


@dataclass(frozen=True)
class LoraFile:
    """What the header of one LoRA file says.

    `family` is None when the file is not a LoRA or does not say what it was made for. `rank` is the commonest
    one, None for kinds without a rank. `modules` counts the layers that the file changes. `method` is None
    for a file that was not made for few steps, and one with a `problem`, one sentence that says what is wrong
    with the file and what to do; `known_by` says how it is known. `has_kohya_names`: every WebUI reads the
    names of its tensors. `metadata` leaves out values longer than 1,000 characters.
    """

    path: Path
    family: Family | None = None
    method: Method | None = None
    known_by: str | None = None
    rank: int | None = None
    modules: int = 0
    has_text_encoder: bool = False
    has_kohya_names: bool = False
    problem: Text | None = None
    size: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The file's name without its ending, as the WebUI lists it."""
        return self.path.stem

    @property
    def distilled_from(self) -> tuple[str, str] | None:
        """Name and SHA-256 of the checkpoint that our distiller made it of; None for all other files."""
        made = _hyper_parameters(self.metadata) if self.known_by == BY_METADATA else {}
        name, sha256 = made.get("base_model"), made.get("base_model_sha256")
        return (name, sha256) if isinstance(name, str) and isinstance(sha256, str) else None

    @property
    def is_lcm(self) -> bool:
        """Whether it is an LCM-LoRA, as far as header and name say."""
        return self.method is LCM


def inspect_lora(path: str | os.PathLike[str], relative: str | None = None) -> LoraFile:
    """Read the header of the LoRA file at `path` and say what it is. `relative` is its path in the LoRA
    folder, with forward slashes; without it the file's own name alone can speak of a method.

    Never raises for a bad, missing or unreadable file: `problem` then holds the sentence for the user.
    """
    path = Path(path)
    size = 0
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise Unusable(Text("is a folder: give the .safetensors file inside it"))
        if not stat.S_ISREG(status.st_mode):
            raise Unusable(Text("is not an ordinary file: put the .safetensors file itself in its place"))
        size = status.st_size
        if path.suffix.lower() in PICKLE_ENDINGS:
            raise Unusable(
                Text(
                    "was not checked, because opening a file of this kind can run code: use the .safetensors"
                    " version of it"
                )
            )
        header, data_bytes = read_header(path)
        table, metadata = split_metadata(header)
        layers = _layers_of_table(table)
        return _describe(path, relative or path.name, size, data_bytes, layers, metadata)
    except Unusable as error:
        return LoraFile(path, size=size, problem=_problem(path, sentence_of(error)))
    except FileNotFoundError:
        gone = (
            Text("is a link to a file that is gone: put the file back or download it again")
            if os.path.islink(path)
            else Text("is not there: put the file back or download it again")
        )
        return LoraFile(path, problem=_problem(path, gone))
    except PermissionError:
        return LoraFile(
            path, size=size, problem=_problem(path, Text("cannot be read: allow the WebUI's user to read it"))
        )
    except (OSError, ValueError) as error:
        # ValueError: a name the system cannot hold, such as one with a NUL
        reason = getattr(error, "strerror", None) or error
        return LoraFile(
            path,
            size=size,
            problem=_problem(
                path,
                Text("cannot be read ({reason}): check the disk and the file's name", reason=str(reason)),
            ),
        )


def _problem(path: Path, what: str) -> Text:
    return Text("{file} {what}.", file=shown_name(path), what=what)


def listed_problem(file: LoraFile) -> Text:
    """The problem of a file that has one, without the full stop: as part of another sentence."""
    assert file.problem is not None
    return Text("{file} {what}", **file.problem.values)


def shown_name(path: str | os.PathLike[str]) -> str:
    """The file's name as it can stand in a one-line message: line breaks and other unprintable characters are
    escaped.
    """
    name = Path(path).name or str(path)
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in name
    )


_layers_by_digest: dict[bytes, Layers] = {}


def _layers_of_table(table: str) -> Layers:
    """Read the tensor table's JSON text. Raises `Unusable`. Tables seen before are not read again."""
    digest = hashlib.sha256(table.encode()).digest()
    layers = _layers_by_digest.get(digest)
    if layers is None:
        if len(_layers_by_digest) >= 4096:  # about a megabyte
            _layers_by_digest.clear()
        layers = _layers_by_digest[digest] = recognise(*parse_table(table))
    return layers


def _describe(
    path: Path, relative: str, size: int, data_bytes: int, layers: Layers, metadata: Mapping[str, str]
) -> LoraFile:
    """The verdict on a file whose header could be read, over `data_bytes` of weights."""
    problem = layers.foreign
    if layers.data_bytes > data_bytes:
        problem = Text(
            "is cut off: {there:,} of {size:,} bytes of weights are there; download it again",
            there=data_bytes,
            size=layers.data_bytes,
        )
    elif layers.data_bytes < data_bytes:
        problem = Text(
            "is damaged ({bytes:,} bytes follow its last tensor): download it again",
            bytes=data_bytes - layers.data_bytes,
        )
    elif layers.incomplete:
        problem = Text(
            "is incomplete ({count} of its {modules} layers lack half of their weights): download it again",
            count=layers.incomplete,
            modules=layers.modules,
        )
    known: tuple[Method | None, str | None] = (None, None)
    if problem is None and layers.family is not None:
        known = _method(relative, layers.family, layers, metadata)
    return LoraFile(
        path,
        family=layers.family,
        method=known[0],
        known_by=known[1],
        rank=layers.rank,
        modules=layers.modules,
        has_text_encoder=layers.has_text_encoder,
        has_kohya_names=layers.has_kohya_names,
        problem=None if problem is None else _problem(path, problem),
        size=size,
        metadata={key: value for key, value in metadata.items() if len(value) <= MAX_METADATA_VALUE},
    )


def _method(
    relative: str, family: Family, layers: Layers, metadata: Mapping[str, str]
) -> tuple[Method | None, str | None]:
    """The method of a whole file, and how it is known."""
    is_trained = is_of_trainer(metadata)
    if DISTILLATION_METADATA in metadata and layers.is_plain_unet_lora and not is_trained:
        return method_named(_hyper_parameters(metadata).get("method")) or LCM, BY_METADATA
    named = named_in(relative)
    if named in (None, LCM):
        if layers.is_distilled and not is_trained:
            return LCM, BY_LAYERS
        is_named = conventional_family(relative) is family or (named is LCM and layers.covers_unet)
        return (LCM, BY_NAME) if is_named else (None, None)
    # layers of attention alone are a style's, unless it is one without a trainer's metadata that names steps
    may_be_distilled = layers.is_plain_unet_lora and not is_trained and steps_in(relative) is not None
    return (named, BY_NAME) if layers.covers_unet or may_be_distilled else (None, None)


def is_of_trainer(metadata: Mapping[str, str]) -> bool:
    """Whether it is what kohya's or LyCORIS' trainers, or tools that resize LoRAs, write."""
    return any(key.startswith(TRAINER_METADATA_PREFIXES) for key in metadata)


def _hyper_parameters(metadata: Mapping[str, str]) -> Mapping[str, Any]:
    """What our distiller noted in a file; nothing where that cannot be read."""
    try:
        parameters = json.loads(metadata.get(DISTILLATION_METADATA, ""))
    except (ValueError, RecursionError):
        return {}
    return parameters if isinstance(parameters, dict) else {}
