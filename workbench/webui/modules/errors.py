"""Reporting errors without stopping."""

from __future__ import annotations

import sys
import textwrap
import traceback

_shown: set[str] = set()


def report(message: str, *, exc_info: bool = False) -> None:
    """Print a message to stderr, with the traceback of the exception being handled when exc_info is set."""
    print("\n".join(f"*** {line}" for line in message.splitlines()), file=sys.stderr)
    if exc_info:
        print(textwrap.indent(traceback.format_exc(), "    "), file=sys.stderr)
        print("---", file=sys.stderr)


def print_error_explanation(message: str) -> None:
    bar = "=" * max(len(line) for line in message.splitlines() or [""])
    print(f"{bar}\n{message}\n{bar}", file=sys.stderr)


def display(e: Exception, task: str, *, full_traceback: bool = False) -> None:
    """Print an exception that happened while doing `task`."""
    print(f"{task}: {type(e).__name__}", file=sys.stderr)
    print(
        textwrap.indent("".join(traceback.format_exception(type(e), e, e.__traceback__)), "    "),
        file=sys.stderr,
    )


def display_once(e: Exception, task: str) -> None:
    if task not in _shown:
        _shown.add(task)
        display(e, task)


def run(code, task: str) -> None:
    try:
        code()
    except Exception as e:
        display(e, task)
