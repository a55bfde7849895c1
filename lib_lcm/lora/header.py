"""Reads and checks the header of a safetensors file, and says in words for the user why a file cannot be
used.

Only the header is read (format: https://huggingface.co/docs/safetensors), never the weights, so looking at a
file costs a few milliseconds whatever its size. The header holds the names, shapes and positions of the
tensors, and the metadata. Not by `safetensors.safe_open`, which up to 0.6 takes 0.15 s for the shapes of one
file, five minutes for 2,000, and does not say what is wrong in words for the user.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path

from lib_lcm.text import Text

# The limit of the safetensors library itself; a header of this length has a million tensors.
MAX_HEADER_BYTES = 100_000_000


class Unusable(Exception):
    """Why a file cannot be used, as the sentence's predicate, a `Text`: what is wrong, then what to do."""


_MISTAKEN_FOR_LORA = (
    (
        re.compile(rb"\s*(<!doctype\s+html|<html|<head|<\?xml|<!--)", re.IGNORECASE),
        Text("is a web page saved under this name: download it again"),
    ),
    (
        re.compile(rb"version https://git-lfs"),
        Text("is a Git LFS pointer, not the file itself: download it again"),
    ),
    (
        re.compile(rb"\s*[{\[]\s*[\"}{\[]"),
        Text("is a text file, perhaps a server's error message: download it again"),
    ),
    (
        re.compile(rb"PK\x03\x04|\x80[\x02-\x05]"),
        Text("is a PyTorch or zip file under a .safetensors name: use the .safetensors version of it"),
    ),
)
_DTYPE_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}


def read_header(path: Path) -> tuple[bytes, int]:
    """The header's bytes and the number of bytes that follow it. Raises `Unusable` or OSError."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(64)
        if not start:
            raise Unusable(Text("is empty: download it again"))
        length = int.from_bytes(start[:8], "little")
        # no header begins in another way than with a brace
        if length > MAX_HEADER_BYTES or not start[8:].lstrip().startswith(b"{"):
            for pattern, problem in _MISTAKEN_FOR_LORA:
                if pattern.match(start.removeprefix(b"\xef\xbb\xbf")):
                    raise Unusable(problem)
            if len(start) < 8:
                raise Unusable(Text("is cut off after {size} bytes: download it again", size=size))
            if length > MAX_HEADER_BYTES:
                raise Unusable(
                    Text(
                        "is not a safetensors file (a header of {length:,} bytes): download it again",
                        length=length,
                    )
                )
        if length > size - 8:
            raise Unusable(
                Text(
                    "is cut off: its header alone has {length:,} bytes, the file {size:,}; download it again",
                    length=length,
                    size=size,
                )
            )
        file.seek(8)
        header = file.read(length)
        if len(header) < length:
            raise Unusable(
                Text("became shorter while it was read: wait until it is copied or download it again")
            )
        return header, size - 8 - length


_METADATA_FIRST = re.compile(r'[ \t\r\n]*\{[ \t\r\n]*"__metadata__"[ \t\r\n]*:[ \t\r\n]*')
_METADATA_END = re.compile(r"[ \t\r\n]*(,|\})")


def split_metadata(header: bytes) -> tuple[str, dict[str, str]]:
    """The JSON text of the tensor table alone, and the metadata. Raises `Unusable`.

    The two are parsed apart because the tables of LoRAs from one trainer at one rank are the same to the
    letter, the metadata are not.
    """
    table, metadata = "", None
    try:
        text = header.decode("utf-8")
        start = _METADATA_FIRST.match(text)
        if start:  # where the safetensors library puts it
            metadata, position = _STRICT_JSON.raw_decode(text, start.end())
            end = _METADATA_END.match(text, position)
            if end is None:
                raise ValueError
            table = "{" + text[end.start(1) + (end[1] == ",") :]
        else:
            table = text
            if '"__metadata__"' in text or "\\" in text:  # a backslash could spell the name in another way
                content = _STRICT_JSON.decode(text)
                if isinstance(content, dict) and "__metadata__" in content:
                    metadata = content.pop("__metadata__")
                    table = json.dumps(content)
    except (ValueError, RecursionError):
        raise Unusable(Text("is damaged (its header is not valid JSON): download it again")) from None
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise Unusable(Text("is damaged (its metadata is not text): download it again"))
    return table, metadata


def parse_table(table: str) -> tuple[dict[str, list[int]], int]:
    """Tensor shapes by name, and the bytes that the weights take. Raises `Unusable` for what the safetensors
    library would refuse, and for repeated names.
    """
    try:
        content = json.loads(table, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Unusable(Text("is damaged (its header is not valid JSON): download it again")) from None
    if not isinstance(content, dict):
        raise Unusable(Text("is damaged (its header is not a JSON object): download it again"))
    shapes: dict[str, list[int]] = {}
    spans = []
    names = 0
    in_order = True
    position = 0
    for name, info in content.items():
        try:
            dtype, shape, (begin, end) = info["dtype"], info["shape"], info["data_offsets"]
            count = 1
            for length in shape:
                if type(length) is not int or length < 0:  # `type`, because True is an int too
                    raise ValueError
                count *= length
            if (
                type(shape) is not list
                or type(dtype) is not str
                or type(begin) is not int
                or type(end) is not int
                or begin < 0
            ):
                raise ValueError
        except (TypeError, ValueError, KeyError):
            raise Unusable(
                Text(
                    "is damaged (its header describes {tensor} wrongly): download it again",
                    tensor=_shown(name),
                )
            ) from None
        width = _DTYPE_BYTES.get(dtype)  # None: a type newer than this code, whose size is not checked
        if end - begin != count * width if width is not None else end < begin:
            raise Unusable(
                Text(
                    "is damaged (the shape and the length of {tensor} disagree): download it again",
                    tensor=_shown(name),
                )
            )
        shapes[name] = shape
        names += 1 + len(info)
        spans.append((begin, end))
        in_order = in_order and begin == position
        position = end
    if names != table.count(":"):
        # Every name in the text is followed by a colon, so as many colons as names means that none was
        # repeated. Otherwise some colon is part of a name, or a name was repeated and the parser kept the
        # last: parse again, slowly, to see which.
        try:
            _STRICT_JSON.decode(table)
        except (ValueError, RecursionError):
            raise Unusable(Text("is damaged (its header is not valid JSON): download it again")) from None
    if not in_order:
        spans.sort()
        position = 0
        for begin, end in spans:
            if begin != position:
                raise Unusable(
                    Text("is damaged (its tensors overlap): download it again")
                    if begin < position
                    else Text("is damaged (its tensors have gaps between them): download it again")
                )
            position = end
    return shapes, position


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise Unusable(
            Text("is damaged (its header names {tensor} twice): download it again", tensor=_shown(repeated))
        )
    return result


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# ValueError for bad JSON and for NaN, RecursionError for absurd nesting, `Unusable` for repeated names.
_STRICT_JSON = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_constant=_no_constant)


def _shown(tensor_name: str) -> str:
    return ascii(tensor_name if len(tensor_name) <= 120 else tensor_name[:117] + "...")
