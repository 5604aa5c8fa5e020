"""What is put aside, as a line of JSON: for logs that have no fields of their own for it."""

from __future__ import annotations

import json

from recsys.logs import Entry, entry_of
from recsys.logs.records import encode


def stored_of(entry: Entry) -> bytes:
    """The record of an entry as it is in the log."""
    return entry.stored if entry.record is None else encode(entry.record)


def sealed(entry: Entry, reason: str) -> bytes:
    """An entry with the reason for putting it aside, whatever bytes it holds."""
    told = {
        "position": entry.position,
        "stored": stored_of(entry).decode("utf-8", "surrogateescape"),
        "deliveries": entry.deliveries,
        "reason": reason,
    }
    return json.dumps(told).encode()


def opened(letter: bytes) -> tuple[Entry, str]:
    """Entry and reason.

    >>> opened(sealed(Entry("7", None, b"{}"), "no sense"))
    (Entry(position='7', record=None, stored=b'{}', deliveries=1), 'no sense')
    """
    told = json.loads(letter)
    stored = str(told["stored"]).encode("utf-8", "surrogateescape")
    return entry_of(told["position"], stored, told["deliveries"]), told["reason"]
