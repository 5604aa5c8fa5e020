"""What a Redis or Valkey server keeps of items: how they changed, and how much they are taken.

Keys, items and names of tallies being UTF-8, whatever they hold:

    recsys:{items}:mark             <epoch>-<n>: the number of the last change, in a store that was empty at <epoch>
    recsys:{items}:changes          hash: item id → its last change
    recsys:{items}:order            sorted set: item id → the number of its last change
    recsys:{items}:stamps           hash: item id → the stamp of its last change, if that had one
    recsys:{counts}:<tally>         sorted set: name → amount
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from recsys.stores import ItemChange, ItemChanges, codec
from recsys.stores.server import BULK_TIMEOUT, WRITE_TIMEOUT, Server

# A batch: enough to hide the round trip, little enough to hold in memory and not to keep others waiting.
BATCH_LENGTH = 512
BATCH_BYTES = 4 * 2**20
# Items whose changes are read at once: one may be long.
BATCH_ITEMS = 100

ITEM_KEYS = ("recsys:{items}:mark", "recsys:{items}:changes", "recsys:{items}:order", "recsys:{items}:stamps")
COUNTS = b"recsys:{counts}:"
# One script, so that no reader sees a mark without its changes, and nobody undoes a later change by an earlier one.
CHANGE = """
local mark = redis.call('GET', KEYS[1])
local epoch, count, before = ARGV[1], 0, 0
if mark then epoch, count = string.match(mark, '^(%w+)-(%d+)$') end
before = tonumber(count)
for at = 3, #ARGV, 3 do
  local item, stamp = ARGV[at], ARGV[at + 2]
  local taken = true
  if ARGV[2] == 'missing' then taken = redis.call('HEXISTS', KEYS[2], item) == 0
  elseif stamp ~= '' then taken = (redis.call('HGET', KEYS[4], item) or '') < stamp end
  if taken then
    count = count + 1
    redis.call('HSET', KEYS[2], item, ARGV[at + 1])
    redis.call('ZADD', KEYS[3], count, item)
    if stamp ~= '' then redis.call('HSET', KEYS[4], item, stamp) else redis.call('HDEL', KEYS[4], item) end
  end
end
if tonumber(count) > before then redis.call('SET', KEYS[1], epoch .. '-' .. count) end
"""
# Stamps stay: an older change that comes twice must not be taken for a new one.
DROP = """
local dropped = 0
for at = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[2], ARGV[at]) == ARGV[at + 1] then
    redis.call('HDEL', KEYS[2], ARGV[at])
    redis.call('ZREM', KEYS[3], ARGV[at])
    dropped = dropped + 1
  end
end
return dropped
"""
# One command for many amounts; what is least goes once there is a tenth more than wanted.
COUNT = """
for at = 3, #ARGV, 2 do redis.call('ZINCRBY', KEYS[1], ARGV[at + 1], ARGV[at]) end
redis.call('EXPIRE', KEYS[1], ARGV[1])
if redis.call('ZCARD', KEYS[1]) > ARGV[2] * 1.1 then
  redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -ARGV[2] - 1)
end
"""


class RedisItems:
    """Changes of items, and tallies, on a server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def change_items(self, changes: Sequence[ItemChange], *, only_missing: bool = False) -> None:
        """Keep changes in their order, but those that came too late, a bounded batch at a time."""
        epoch = secrets.token_hex(8)
        told = ((encoded(each.item_id), codec.encode_item(each.description), each.stamp) for each in changes)
        for batch in batches(told):
            arguments = [epoch, "missing" if only_missing else "all", *(part for parts in batch for part in parts)]
            await self._server.answer(
                self._server.client.eval(CHANGE, len(ITEM_KEYS), *ITEM_KEYS, *arguments), WRITE_TIMEOUT
            )

    async def item_changes(self, since: str = "") -> ItemChanges:
        """What changed after a mark; one GET where nothing did."""
        mark_key, changes_key, order_key, _ = ITEM_KEYS
        stored = await self._server.ask((b"GET", mark_key.encode()))
        mark = "" if stored is None else str(stored, "ascii", "replace")
        if mark == since:
            return ItemChanges(mark, (), whole=not mark)
        (epoch, _, count), (now, _, _) = since.rpartition("-"), mark.rpartition("-")
        whole = epoch != now
        lowest = "-inf" if whole else f"({count}"
        ids = await self._server.answer(
            self._server.client.zrange(order_key, lowest, "+inf", byscore=True), BULK_TIMEOUT
        )
        changes = []
        for start in range(0, len(ids), BATCH_ITEMS):
            some = ids[start : start + BATCH_ITEMS]
            found = await self._server.answer(self._server.client.hmget(changes_key, some), BULK_TIMEOUT)
            names = [decoded(id_) for id_ in some]
            changes += [
                ItemChange(name, codec.decode_item(name, value))
                for name, value in zip(names, found, strict=True)
                if value is not None
            ]
        return ItemChanges(mark, tuple(changes), whole)

    async def drop_items(self, changes: Sequence[ItemChange]) -> int:
        """Take away those that are still kept as they are here, a bounded batch at a time."""
        told = ((encoded(each.item_id), codec.encode_item(each.description)) for each in changes)
        dropped = 0
        for batch in batches(told):
            arguments = [part for parts in batch for part in parts]
            command = self._server.client.eval(DROP, len(ITEM_KEYS), *ITEM_KEYS, *arguments)
            dropped += await self._server.answer(command, WRITE_TIMEOUT)
        return dropped

    async def count(self, tally: str, amounts: Mapping[str, float], seconds: int, most: int = 10_000) -> None:
        """Add amounts to those of a tally; it is cut once it holds a tenth more than the ``most`` largest."""
        if not amounts:
            return
        told = [part for name, amount in amounts.items() for part in (encoded(name), repr(amount))]
        for start in range(0, len(told), 2 * BATCH_LENGTH):
            arguments = [str(seconds), str(most), *told[start : start + 2 * BATCH_LENGTH]]
            command = self._server.client.eval(COUNT, 1, COUNTS + encoded(tally), *arguments)
            await self._server.answer(command, BULK_TIMEOUT)

    async def largest(self, tally: str, most: int) -> dict[str, float]:
        """The largest amounts of a tally."""
        key = COUNTS + encoded(tally)
        command = self._server.client.zrange(key, 0, most - 1, desc=True, withscores=True)
        found = await self._server.answer(command, WRITE_TIMEOUT)
        return {decoded(name): float(amount) for name, amount in found}


def encoded(text: str) -> bytes:
    """A text as the part of a key or a member."""
    return text.encode("utf-8", "surrogatepass")


def decoded(stored: bytes) -> str:
    """The text that was encoded."""
    return str(stored, "utf-8", "surrogatepass")


P = TypeVar("P", bound=tuple[bytes | str | None, ...])


def batches(parts: Iterable[P]) -> Iterator[list[P]]:
    """``parts`` in lists of at most BATCH_LENGTH, closed once they hold BATCH_BYTES."""
    batch: list[P] = []
    size = 0
    for part in parts:
        batch.append(part)
        size += sum(len(each) for each in part if each is not None)
        if len(batch) >= BATCH_LENGTH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
