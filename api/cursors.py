"""Where a reader stands in a list, as a text that only this deployment can make.

A cursor names what was given, and the next page is the best of all else: so a page repeats nothing and skips nothing
that is still there, whatever happened since to the release, to items, or to what the user has seen.
"""

from __future__ import annotations

import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from recsys.arrays import UInt64

HEAD = struct.Struct("<BQQ")
"""The version, when the first page was given in unix seconds, and the seed."""
VERSION = 1
SIGNATURE = 16
LONGEST = blake2b.MAX_KEY_SIZE
"""Bytes of a key that are taken as they are."""
MOST = 1000
"""Items that can be given page by page."""
LIFE = 24 * 3600
"""Seconds from the first page after which a reader begins anew."""

NOTHING: UInt64 = np.zeros(0, np.uint64)
NOTHING.flags.writeable = False


class CursorInvalid(ValueError):
    """It was not made here for this list."""


class CursorExpired(ValueError):
    """It was, and too long ago."""


@dataclass(frozen=True, slots=True, eq=False)
class Cursor:
    """``given``: uint64 (m,), keys of the items that were given. ``seed``: of chance, the same on every page.

    Law: what :meth:`signed` makes :meth:`read` gives back, with the same key, user and surface, and with no other.
    """

    began: int
    seed: int
    given: UInt64 = field(default_factory=lambda: NOTHING)

    def behind(self, keys: UInt64) -> Cursor:
        """The place behind further items, uint64 (m,)."""
        return Cursor(self.began, self.seed, np.concatenate([self.given, keys]) if len(self.given) else keys)

    def signed(self, key: bytes, user: str, surface: str) -> str:
        """As text for a URL."""
        body = HEAD.pack(VERSION, self.began, self.seed) + self.given.astype("<u8").tobytes()
        return urlsafe_b64encode(body + _signature(key, body, user, surface)).decode().rstrip("=")

    @classmethod
    def read(cls, text: str, key: bytes, user: str, surface: str, now: int) -> Cursor:
        """CursorInvalid for anything but what :meth:`signed` made of the same, CursorExpired if that was long ago."""
        try:
            whole = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except (Error, ValueError) as error:
            raise CursorInvalid from error
        body, signature = whole[:-SIGNATURE], whole[-SIGNATURE:]
        if len(body) < HEAD.size or not hmac.compare_digest(signature, _signature(key, body, user, surface)):
            raise CursorInvalid
        version, began, seed = HEAD.unpack_from(body)
        if version != VERSION or now > began + LIFE:
            raise CursorExpired
        return cls(began, seed, np.frombuffer(body, "<u8", offset=HEAD.size).astype(np.uint64))


def _signature(key: bytes, body: bytes, user: str, surface: str) -> bytes:
    # A control character stands in no name of a surface, so no two pairs read alike.
    said = b"\x00".join([surface.encode(), user.encode(), body])
    # BLAKE2 takes a key by itself, in less than half of the time of HMAC.
    return blake2b(said, key=key if len(key) <= LONGEST else blake2b(key).digest(), digest_size=SIGNATURE).digest()
