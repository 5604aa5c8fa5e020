"""Errors as RFC 9457 problem documents: what came, what was wanted, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import METRICS

BODY_LIMIT = 1_000_000
"""Bytes; a history of a thousand long ids fits."""
MEDIA_TYPE = "application/problem+json"
ALWAYS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that are answered however many wait."""


class FieldProblem(BaseModel):
    """One thing wrong with a request."""

    field: str = Field(examples=["query.k"])
    problem: str = Field(examples=["Input should be less than or equal to 500"])
    got: str = Field(examples=["501"])


class ProblemDocument(BaseModel):
    """RFC 9457."""

    type: str = Field("about:blank", examples=["about:blank"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["query.k: Input should be less than or equal to 500, but it is 501"])
    errors: list[FieldProblem] = []


class Problem(HTTPException):
    """Raise to answer with a problem document."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {MEDIA_TYPE: {"schema": ProblemDocument.model_json_schema()}}}
    for status, text in {
        400: "The body cannot be read, or the cursor is none of this list's",
        413: "The body is too large",
        422: "The request is malformed; each error names its field",
        503: "No release is loaded yet, what came cannot be kept, or too many ask at once",
    }.items()
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {
        "description": "There is no such item, or no such path",
        "content": {MEDIA_TYPE: {"schema": ProblemDocument.model_json_schema()}},
    }
}


UNKEPT: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {MEDIA_TYPE: {"schema": ProblemDocument.model_json_schema()}}}
    for status, text in {415: "The body is not said to be JSON", 507: "The event log is full: nothing was kept"}.items()
}
FORBIDDEN: dict[int | str, dict[str, Any]] = {
    403: {
        "description": "A trace is asked for without the key to see it",
        "content": {MEDIA_TYPE: {"schema": ProblemDocument.model_json_schema()}},
    }
}
GONE: dict[int | str, dict[str, Any]] = {
    410: {
        "description": "The cursor is too old",
        "content": {MEDIA_TYPE: {"schema": ProblemDocument.model_json_schema()}},
    }
}


def document(
    status: int, detail: str, errors: list[FieldProblem] | None = None, headers: dict[str, str] | None = None
) -> Response:
    """A problem document as a response."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    body = ProblemDocument(type="about:blank", title=title, status=status, detail=detail, errors=errors or [])
    content = to_json(body, exclude_none=True)
    return Response(content, status, headers={**(headers or {}), "Cache-Control": "no-store"}, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every error of the app a problem document."""

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  registered for this type
        return document(error.status_code, str(error.detail), headers=dict(error.headers or {}))

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101  registered for this type
        errors = [field_problem(finding) for finding in error.errors()]
        detail = "; ".join(f"{e.field}: {e.problem}, but it is {e.got}" for e in errors[:3])
        return document(422, detail, errors)

    async def unexpected(_: Request, __: Exception) -> Response:
        return document(500, "this is a bug of the service; its log says more")

    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unexpected)


def field_problem(finding: Mapping[str, Any]) -> FieldProblem:
    """One of pydantic's findings, fit to be sent back."""
    field = ".".join(str(part) for part in finding["loc"])
    got = "missing" if finding["type"] == "missing" else short(finding.get("input"))
    return FieldProblem(field=field, problem=finding["msg"], got=got)


def short(value: object) -> str:
    """What came, fit to be sent back: printable, and not much of it."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except ValueError:
        return "a number of thousands of digits"
    # What came may hold anything; what goes back must be printable.
    text = text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text):,} characters)"


class Waiting:
    """How many requests are being answered by this process: those for whom one is entered.

    ``most``: so many may be.
    """

    __slots__ = ("here", "most")

    def __init__(self, most: int) -> None:
        self.here, self.most = 0, most

    @property
    def full(self) -> bool:
        """Whether no more are taken."""
        return self.here >= self.most

    def __enter__(self) -> None:
        self.here += 1

    def __exit__(self, *_: object) -> None:
        self.here -= 1


class Shed:
    """ASGI middleware: beyond so many requests at once, answer 503 before any work is done.

    A queue that has grown longer than what is answered in a second makes everybody wait, and helps nobody.
    """

    def __init__(self, app: ASGIApp, waiting: Waiting) -> None:
        self._app, self._waiting = app, waiting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count, then pass on. Whoever looks whether the process lives is always answered."""
        if scope["type"] != "http" or scope["path"] in ALWAYS:
            await self._app(scope, receive, send)
            return
        if self._waiting.full:
            METRICS.shed.inc()
            detail = (
                f"{self._waiting.here} requests are being answered by this process, and no more wait: ask again, or "
                "less often"
            )
            await document(503, detail, headers={"Retry-After": "1"})(scope, receive, send)
            return
        with self._waiting:
            await self._app(scope, receive, send)


class BodyLimit:
    """ASGI middleware: refuse a body over the limit with 413, as soon as that much has come.

    What the app gets is the whole body in one piece, so that it never meets a refusal half-way.
    """

    def __init__(self, app: ASGIApp, limit: int = BODY_LIMIT) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read and count, then pass on."""
        headers = dict(scope.get("headers", ()))
        if scope["type"] != "http" or not (b"content-length" in headers or b"transfer-encoding" in headers):
            await self._app(scope, receive, send)
            return
        body = bytearray()
        declared = headers.get(b"content-length", b"")
        more = not (declared.isdigit() and int(declared) > self._limit)
        large = not more
        while more and not large:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            large = len(body) > self._limit
        if large:
            detail = f"the body is over {self._limit:,} bytes: send less, a history needs only its newest items"
            await document(413, detail)(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, again, send)
