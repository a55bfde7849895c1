"""Puts the JavaScript and style sheets of the workbench and of the extensions into gradio's page."""

from __future__ import annotations

import re
from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from fastapi.exceptions import HTTPException
from fastapi.responses import FileResponse

from modules import localization, scripts, shared

ROUTE = "/workbench/v1/page"
_EXTERNAL = re.compile(rb"""<script[^>]*\ssrc="https://[^>]*>\s*</script>|<link[^>]*\shref="https://[^>]*>""")
"""What gradio's page would load from the internet: fonts, and a script for pages in frames."""
_STYLE = "<style>div.prose.min{min-height:0}</style>"
"""What every WebUI's own style sheet says, and decides where things are: gradio would give an HTML text 96 px
while it is asked for.
"""
_template_response = gr.routes.templates.TemplateResponse


def javascript_files() -> list[Path]:
    return [Path(file.path) for file in scripts.list_scripts("javascript", ".js")]


def style_files() -> list[Path]:
    return [Path(path) for path in scripts.list_files_with_name("style.css")]


_translations = ""


def read_localization() -> None:
    """The page is about to be built: what is sent with it from now on is in the language of the settings."""
    global _translations
    _translations = localization.localization_js(shared.opts.localization)


def _head() -> bytes:
    tags = [f"<script>{_translations}</script>", _STYLE]
    for kind, files in (("js", javascript_files()), ("css", style_files())):
        for index, file in enumerate(files):
            address = f"{ROUTE}/{kind}/{index}/{file.name}?{int(file.stat().st_mtime)}"
            tags.append(
                f'<script src="{address}"></script>'
                if kind == "js"
                else f'<link rel="stylesheet" href="{address}">'
            )
    return "\n".join(tags).encode()


def _template_response_with_head(*args, **kwargs):
    response = _template_response(*args, **kwargs)
    body = _EXTERNAL.sub(b"", response.body)
    response.body = body.replace(b"</head>", _head() + b"</head>", 1)
    response.init_headers()
    return response


def install() -> None:
    """Make gradio's page carry our files."""
    gr.routes.templates.TemplateResponse = _template_response_with_head


def add_routes(app: FastAPI) -> None:
    @app.get(ROUTE + "/{kind}/{index}/{name}")
    def page_file(kind: str, index: int, name: str):
        files = {"js": javascript_files, "css": style_files}.get(kind, list)()
        if not 0 <= index < len(files) or files[index].name != name:
            raise HTTPException(status_code=404, detail=f"no page file {kind}/{index}/{name}")
        return FileResponse(files[index], media_type="text/javascript" if kind == "js" else "text/css")
