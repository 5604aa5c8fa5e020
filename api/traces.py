"""How an answer came about, for who holds the key: ``debug=true``."""

from __future__ import annotations

import hmac
from typing import Any

import numpy as np
from fastapi import Request

from api.problems import Problem
from recsys.arrays import Int32
from recsys.assembly import Engine
from recsys.tracing import Trace

KEY = "X-Debug-Key"
MOST = 100
"""Items that are named of what a stage removed or added; the count is of all."""
HEADER: dict[str, Any] = {
    "parameters": [
        {
            "name": KEY,
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "With `debug`: the key of `serve.debug_key`.",
        }
    ]
}
"""The header for the OpenAPI document; it is read only where a trace is asked for."""


def trace_of(request: Request, *, debug: bool) -> Trace | None:
    """What keeps the stages of an answer, None where nobody asks; 403 for who may not see them."""
    if not debug:
        return None
    key: bytes = request.app.state.debug_key
    if not key:
        raise Problem(403, f"debug: nobody may see how lists are made: set serve.debug_key and send it as {KEY}")
    # Headers are bytes, which Starlette reads as Latin-1.
    if not hmac.compare_digest(request.headers.get(KEY, "").encode("latin-1"), key):
        raise Problem(403, f"debug: {KEY} must hold the key of serve.debug_key: send that header, or ask without debug")
    return Trace()


def told(engine: Engine, trace: Trace | None, place: int) -> dict[str, list[dict[str, Any]]]:
    """The stages of the answer to the query at ``place``, in their order; nothing without a trace.

    Times are of the whole batch, where several were asked together.
    """
    if trace is None:
        return {}
    stages = [
        {
            "stage": stage.kind,
            "name": stage.name,
            "of": stage.of or None,
            "why": stage.why,
            "ms": round(1000 * stage.seconds, 3),
            "before": len(stage.came(place)),
            "after": len(stage.left(place)),
            "removed": _items(engine, stage.removed(place)),
            "added": _items(engine, stage.added(place)),
        }
        for stage in trace.stages
    ]
    return {"trace": stages}


def _items(engine: Engine, rows: Int32) -> dict[str, Any]:
    return {"count": len(rows), "item_ids": engine.items.ids(np.ascontiguousarray(rows[:MOST]))}
