"""Connections to a Redis or Valkey server, as whatever keeps something there makes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from recsys.errors import SettingsError

CONNECTIONS = 64


class _Packing:
    """A connection whose commands hiredis puts into bytes, in a tenth of the time that the library's own way takes.

    The library does so itself for connections that are not asynchronous.
    """

    def pack_command(self, *args: Any) -> list[bytes]:
        """One command; its name may be of several words."""
        name, *rest = args
        words = name.split() if isinstance(name, bytes) else name.encode().split()
        return [hiredis.pack_command((*words, *rest))]

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        """Several commands, sent at once."""
        return [b"".join(self.pack_command(*command)[0] for command in commands)]


def client(url: str, setting: str) -> Redis:
    """A client of the server at ``url``, ``redis://``, ``rediss://`` or ``unix://``, which gives bytes.

    It connects nothing before the first command, and does not time out by itself: deadlines are set around whole
    answers. ``setting``: where the address came from. SettingsError for one that cannot be understood.
    """
    try:
        options: dict[str, Any] = dict(parse_url(url))
        pool = BlockingConnectionPool(
            **options
            | {
                "max_connections": CONNECTIONS,
                # deadlines are set around whole answers, connecting and waiting for a free connection included
                "timeout": None,
                "socket_timeout": None,
                "socket_connect_timeout": None,
                # one more try for a connection that the server has closed since its last use
                "retry": Retry(NoBackoff(), 1),
                "decode_responses": False,
                # without a greeting the first command goes out at once
                "protocol": 2,
                "driver_info": None,
            }
        )
        pool.connection_class = type("Packing", (_Packing, pool.connection_class), {})
        # connects nothing, but finds an option that does not exist
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError):
        # the reason is left out because it can quote a part of the password
        raise SettingsError(
            f"{setting} {safe_address(url)} cannot be used: redis://[user:password@]host[:port][/database] is wanted"
            " (or rediss, or unix:///path), special characters percent-encoded, options only those of redis-py"
        ) from None
    return Redis.from_pool(pool)


def safe_address(url: str) -> str:
    """The address of a server as errors may show it, without user, password and options.

    >>> safe_address("redis://me:secret@db.example:6380/1?password=secret")
    'redis://db.example:6380/1'
    """
    scheme, _, rest = url.partition("://")
    if scheme == "unix":
        return f"unix://{urlsplit(url).path}"
    # a password that is not percent-encoded may hold the characters that end it, so the last @ counts
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
