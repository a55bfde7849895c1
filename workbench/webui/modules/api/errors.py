"""Exceptions of the API as JSON."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import HTTPException
from fastapi.responses import JSONResponse

from modules import errors


def _answer(request: Request, e: Exception) -> JSONResponse:
    """An exception with a `status_code` gives that status, any other 500."""
    body = {
        "error": type(e).__name__,
        "detail": vars(e).get("detail", ""),
        "body": vars(e).get("body", ""),
        "errors": str(e),
    }
    if not isinstance(e, HTTPException):
        errors.report(f"API error: {request.method}: {request.url} {body}", exc_info=True)
    return JSONResponse(
        status_code=vars(e).get("status_code", 500),
        content=jsonable_encoder(body),
        headers=vars(e).get("headers"),
    )


def add_error_handling(app: FastAPI) -> None:
    @app.middleware("http")
    async def answer_exceptions(request: Request, call_next):
        try:
            return await call_next(request)
        except Exception as e:
            return _answer(request, e)

    @app.exception_handler(Exception)
    async def any_exception(request: Request, e: Exception):
        return _answer(request, e)

    @app.exception_handler(HTTPException)
    async def http_exception(request: Request, e: HTTPException):
        return _answer(request, e)
