"""Makes a checkpoint for WebUIs of a full latent consistency model as it is published, which is a UNet alone.

The new file is the base checkpoint, in its own layout, with the tensors of the other UNet in the place of its
own, and the projection of the guidance scale under a key that WebUIs pass over. Tensors are copied as bytes,
in the precision in which they are stored, and a few megabytes at a time.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lib_lcm.checkpoints import EMBEDDING_WIDTH, PROJECTION_KEY
from lib_lcm.families import SDXL, UNKNOWN, Family, of_width
from lib_lcm.lora.file import shown_name
from lib_lcm.lora.header import Unusable, parse_table, read_header, split_metadata
from lib_lcm.lora.key_names import split_key
from lib_lcm.lora.unet_layouts import outline_of, sdxl_or_smaller

UNET_PREFIXES = ("model.diffusion_model.", "unet.")
"""Of a UNet in a whole checkpoint: in the original layout, and in the workbench's."""
PLACES = tuple(
    f"{folder}diffusion_pytorch_model{variant}.safetensors"
    for folder in ("unet/", "")
    for variant in (".fp16", "")
)
"""Where a diffusers folder has its UNet. Half precision first: it is what WebUIs compute in."""
LEFT_OUT = "model_ema."
"""Of the base: a second copy of the UNet that was replaced."""
UNTRUE_METADATA = ("modelspec.", "sshs_")
"""Of the base: title and hashes, which are another file's now."""
CHUNK_BYTES = 16 * 2**20
_PROJECTION = "time_embedding_cond_proj.weight"

Progress = Callable[[int, int], None]  # bytes written, bytes in all


class ConversionError(Exception):
    """Why there is no new checkpoint, as one sentence."""


@dataclass(frozen=True)
class _Tensor:
    """One tensor's entry in a header; `place` is the file it is in and where its first byte is there."""

    dtype: str
    shape: list[int]
    size: int
    place: tuple[Path, int]

    @property
    def item_size(self) -> int:
        return self.size // (math.prod(self.shape) or 1)


@dataclass(frozen=True)
class _File:
    path: Path
    tensors: dict[str, _Tensor]
    metadata: dict[str, str]

    @property
    def name(self) -> str:
        return shown_name(self.path)


@dataclass(frozen=True)
class _Unet:
    """A file's UNet: its tensors' names in the file by layer and part ("conv_in.weight", the layer in
    diffusers' names with underscores).
    """

    keys: dict[str, str]
    family: Family


def convert(source: Path, base: Path, output: Path, progress: Progress = lambda done, total: None) -> Family:
    """Writes the checkpoint `output` and returns the family of its UNet.

    `source` is the published model: a safetensors file of the UNet alone in diffusers' names, a folder that
    has one, or a whole checkpoint. `base` is a checkpoint of the same family. Raises ConversionError, and
    then leaves nothing behind.
    """
    file, rest = _opened(published_file(source)), _opened(base)
    new, old = _unet(file), _unet(rest, is_whole=True)
    replaced = _replacing(file, new, rest, old)
    of_base = {
        key: tensor
        for key, tensor in rest.tensors.items()
        if not key.startswith(LEFT_OUT) and key != old.keys.get(_PROJECTION)
    }
    metadata = {key: value for key, value in rest.metadata.items() if not key.startswith(UNTRUE_METADATA)}
    _write(output, {**of_base, **replaced}, metadata, progress)
    return old.family


def published_file(source: Path) -> Path:
    """The file of the UNet: `source` itself, or the one in that folder. Raises ConversionError."""
    if not source.is_dir():
        return source
    found = next((source / place for place in PLACES if (source / place).is_file()), None)
    if found is None:
        raise ConversionError(f"{source} has none of {', '.join(PLACES)}: name the UNet's safetensors file.")
    return found


def _opened(path: Path) -> _File:
    """What the header of a file says. Raises ConversionError."""
    try:
        header, data_bytes = read_header(path)
        table, metadata = split_metadata(header)
        length = parse_table(table)[1]
    except Unusable as problem:
        raise ConversionError(f"{shown_name(path)} {problem}.") from None
    except OSError as error:
        raise ConversionError(f"{path} cannot be read ({error.strerror or error}): check its path.") from None
    if length != data_bytes:
        raise ConversionError(
            f"{shown_name(path)} has {data_bytes:,} bytes of weights, and its header says {length:,}:"
            " download it again."
        )
    start = 8 + len(header)
    tensors = {}
    for name, entry in json.loads(table).items():
        begin, end = entry["data_offsets"]
        tensors[name] = _Tensor(entry["dtype"], entry["shape"], end - begin, (path, start + begin))
    return _File(path, tensors, metadata)


def _unet(file: _File, is_whole: bool = False) -> _Unet:
    """The UNet of a file, of a checkpoint where `is_whole`. Raises ConversionError."""
    prefix = next(
        (prefix for prefix in UNET_PREFIXES if any(key.startswith(prefix) for key in file.tensors)), ""
    )
    if is_whole and not prefix:
        raise ConversionError(
            f"{file.name} is no checkpoint in the original layout (none of its tensors begins with"
            f" {UNET_PREFIXES[0]}): name one that the WebUI loads."
        )
    keys, widths = {}, set()
    for key, tensor in file.tensors.items():
        if not key.startswith(prefix):
            continue
        name = split_key(key)
        keys[f"{name.module}.{name.part}"] = key
        if name.is_cross_attention_input and len(tensor.shape) == 2:
            widths.add(tensor.shape[1])
    family = (of_width(widths.pop()) if len(widths) == 1 else None) or UNKNOWN
    if family is SDXL:
        family = sdxl_or_smaller(outline_of(name.rpartition(".")[0] for name in keys))
    if family is UNKNOWN:
        raise ConversionError(
            f"{file.name} holds no UNet of a kind that is known: name that of a full LCM, and with --base a"
            " whole checkpoint."
        )
    return _Unet(keys, family)


def _replacing(file: _File, new: _Unet, base: _File, old: _Unet) -> dict[str, _Tensor]:
    """The tensors of the new UNet under the names that the base has for its own, with the projection. Raises
    ConversionError for what does not fit.
    """
    if _PROJECTION not in new.keys:
        raise ConversionError(
            f"{file.name} is no full latent consistency model that takes the guidance scale (it has no"
            " time_embedding.cond_proj): use it with LCM as it is."
        )
    if new.family is not old.family:
        raise ConversionError(
            f"{file.name} is a UNet of {new.family.label}, and {base.name} a checkpoint of"
            f" {old.family.label}: name a base of {new.family.label}."
        )
    old_keys = {name: key for name, key in old.keys.items() if name != _PROJECTION}
    missing = [key for name, key in old_keys.items() if name not in new.keys]
    if missing:
        raise ConversionError(_not_all(f"{file.name} has nothing for", missing, f"of {base.name}"))
    unknown = [key for name, key in new.keys.items() if name not in old.keys and name != _PROJECTION]
    if unknown:
        raise ConversionError(_not_all(f"{base.name} has no place for", unknown, f"of {file.name}"))
    found = {key: file.tensors[new.keys[name]] for name, key in old_keys.items()}
    for key, tensor in found.items():
        expected = base.tensors[key].shape
        if tensor.shape != expected:
            raise ConversionError(f"{key} is {tensor.shape} in {file.name} and {expected} in {base.name}.")
    projection = file.tensors[new.keys[_PROJECTION]]
    channels = file.tensors[new.keys["time_embedding_linear_1.weight"]].shape[-1]
    if projection.shape != [channels, EMBEDDING_WIDTH]:
        raise ConversionError(
            f"time_embedding.cond_proj of {file.name} is {projection.shape}, and not"
            f" {[channels, EMBEDDING_WIDTH]}."
        )
    return {**found, PROJECTION_KEY: projection}


def _not_all(what: str, keys: list[str], where: str) -> str:
    more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    return f"{what} {keys[0]}{more} {where}."


# --- writing ------------------------------------------------------------------------------------------------


def _write(
    output: Path, tensors: Mapping[str, _Tensor], metadata: Mapping[str, str], progress: Progress
) -> None:
    """Writes beside `output` and renames, so that no WebUI sees half a file. Raises ConversionError."""
    # as the safetensors library does it: the widest first, so that each begins at a multiple of its width
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].item_size, item[0]))
    header = _header(ordered, metadata)
    total = sum(tensor.size for _, tensor in ordered)
    partial = output.with_name(output.name + ".part")
    try:
        _refuse_existing(output)
        free = shutil.disk_usage(output.parent).free
        if free < total + len(header):
            raise ConversionError(
                f"{output.name} needs {total / 1e9:.1f} GB, and {output.parent} has {free / 1e9:.1f} GB left:"
                " make room, or choose another place with --output."
            )
        try:
            with open(partial, "wb") as file:
                file.write(header)
                done = 0
                for chunk in _bytes_of([tensor for _, tensor in ordered]):
                    file.write(chunk)
                    done += len(chunk)
                    progress(done, total)
                file.flush()
                os.fsync(file.fileno())
            _refuse_existing(output)
            os.replace(partial, output)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ConversionError(f"{output} could not be written ({error.strerror or error}).") from None


def _refuse_existing(output: Path) -> None:
    if output.exists():
        raise ConversionError(f"{output} is there already: move it, or choose another name with --output.")


def _header(tensors: list[tuple[str, _Tensor]], metadata: Mapping[str, str]) -> bytes:
    """The beginning of a safetensors file, its length included."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt", **metadata}}
    position = 0
    for name, tensor in tensors:
        offsets = [position, position + tensor.size]
        entries[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": offsets}
        position += tensor.size
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


def _bytes_of(tensors: list[_Tensor]) -> Iterator[bytes]:
    """The bytes of tensors one after another, in pieces. Raises ConversionError for a file that has become
    shorter.
    """
    files: dict[Path, BinaryIO] = {}
    try:
        for tensor in tensors:
            path, start = tensor.place
            if path not in files:
                files[path] = open(path, "rb")
            files[path].seek(start)
            left = tensor.size
            while left:
                chunk = files[path].read(min(left, CHUNK_BYTES))
                if not chunk:
                    raise ConversionError(f"{shown_name(path)} became shorter while it was read.")
                left -= len(chunk)
                yield chunk
    finally:
        for file in files.values():
            file.close()
