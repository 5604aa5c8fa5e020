"""Why an item has no content vector, or only one of a part of what it says: by the fields of its description."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from recsys.encoding import Description, Encoding

SILENT = "nothing said"
UNKNOWN = "nothing that the encoder knows"


@runtime_checkable
class Explains(Protocol):
    """An encoding that knows what is wrong with a field; others are asked for a vector, see :func:`problems_of`."""

    def problems(self, item: Description) -> dict[str, str]:
        """Field → why nothing in it can be used, :data:`SILENT` where nothing stands in it; others can be used."""
        ...


def problems_of(encoding: Encoding, item: Description) -> dict[str, str]:
    """Field → why the encoding can use nothing of it, of those that it reads.

    An item whose vector is zeros has one for some field at least; fields without can be used.
    """
    if isinstance(encoding, Explains):
        return encoding.problems(item)
    if encoding.encode([item]).any():
        return {}
    return {name: UNKNOWN if says(item.get(name)) else SILENT for name in encoding.reads if name != "item_id"}


def says(value: Any) -> bool:
    """Whether anything stands in a field."""
    empty = value is None or (isinstance(value, str) and not value.strip())
    return not empty and not (isinstance(value, list | tuple | dict) and len(value) == 0)
