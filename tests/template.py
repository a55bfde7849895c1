"""A Python that has imported the libraries, and forks for each program that it is to run.

    python -u template.py SOCKET

SOCKET is the number of a socket, from which it reads the requests of tests/prepared.py until that is
closed. Each is a JSON object and four open files: the program's streams, and one to which the number of its
process is written, and at its end the exit status, a line each.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import warnings
from contextlib import suppress

# What a workbench imports that takes its time, and nothing of this repository.
LIBRARIES = (
    "torch",
    "gradio",
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.unets.unet_2d_condition",
    "transformers.models.clip.modeling_clip",
    "torchvision.transforms",
    "torchsde",
    "torchdiffeq",
    "scipy.integrate",
)
LONGEST_REQUEST = 2**17  # bytes


def next_request(requests: socket.socket) -> dict:
    """What this process is to run: the template itself never returns from here."""
    while True:
        text, files, *_ = socket.recv_fds(requests, LONGEST_REQUEST, 4)
        if not text:
            os._exit(0)
        if os.fork() == 0:
            break
        for file in files:
            os.close(file)
    requests.close()
    *streams, report = files
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    program = os.fork()
    if program:
        for stream in streams:
            os.close(stream)
        with suppress(BrokenPipeError):  # whoever asked is gone
            os.write(report, f"{program}\n".encode())
            _, status = os.waitpid(program, 0)
            os.write(report, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    os.close(report)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    return json.loads(text)


def run(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """As `python *arguments`."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    kind, *rest = arguments
    sys.argv[:] = ["-c", *rest[1:]] if kind == "-c" else rest if kind == "-m" else arguments
    first = {"-c": "", "-m": folder}.get(kind, os.path.dirname(os.path.abspath(kind)))
    sys.path[:0] = [first, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    if kind == "-c":
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif kind == "-m":
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, where nobody shall find anything
    requests = socket.socket(fileno=int(sys.argv[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for library in LIBRARIES:
            importlib.import_module(library)
    gc.freeze()  # so that collecting garbage does not copy what the processes share
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # its children need no waiting for
    run(**next_request(requests))
