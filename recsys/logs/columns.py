"""The columns of the archive, and how rows become columns without pandas.

Arrow looks with pandas at every list that it makes an array of. Servers archive too, and each of their workers would
hold pandas for nothing; so arrays are made of their buffers here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

# The published stubs know too few of the methods of Arrow's arrays and types.
Arrow = Any
_TYPES: Mapping[str, Any] = MappingProxyType(
    {"text": pa.string(), "whole": pa.int64(), "number": pa.float64(), "bytes": pa.binary()}
)

# What is raised for a value that a column cannot hold: half a surrogate pair, a text where a number was wanted.
UNFIT = (pa.ArrowException, UnicodeError, OverflowError, TypeError, ValueError)


def _schema(columns: str) -> pa.Schema:
    """Columns and their types, as ``name:type``."""
    return pa.schema(
        [pa.field(name, _TYPES[type_]) for name, type_ in (column.split(":") for column in columns.split())]
    )


POSITION = _schema("log_position:text")
SCHEMAS: Mapping[str, pa.Schema] = MappingProxyType(
    {
        "events": _schema(
            "user_id:text item_id:text kind:text value:number time:whole event_id:text surface:text request:text"
            " position:whole log_position:text"
        ),
        "shown": _schema(
            "user_id:text item_id:text time:whole request:text surface:text release:text level:text position:whole"
            " propensity:number log_position:text"
        ),
        "changes": _schema("type:text time:whole record:bytes log_position:text"),
    }
)
"""The columns of each family of files."""


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table. One of UNFIT where a column cannot hold a value."""
    return pa.Table.from_arrays(
        [array([row[column.name] for row in rows], column.type) for column in schema], schema=schema
    )


def array(values: Sequence[Any], kind: Any) -> Arrow:
    """Values as an array of one of the types above; None is missing. One of UNFIT for one that the type has not.

    >>> array([1, None], pa.int64()).to_pylist()
    [1, None]
    """
    there = np.array([value is not None for value in values], bool)
    if kind in {_TYPES["whole"], _TYPES["number"]}:
        types = int if kind == _TYPES["whole"] else int | float
        if wrong := [value for value in values if value is not None and not isinstance(value, types)]:
            raise TypeError(f"{wrong[0]!r} is no {kind}")
        numbers = np.array(
            [0 if value is None else value for value in values], np.int64 if kind == _TYPES["whole"] else np.float64
        )
        return _of(kind, len(values), _bits(there), numbers)
    told = values if kind == _TYPES["bytes"] else [None if value is None else str.encode(value) for value in values]
    ends = np.cumsum([0, *(0 if value is None else len(value) for value in told)])
    if ends[-1] >= 2**31:
        raise OverflowError(f"{ends[-1]} bytes are too many for one column")
    return _of(kind, len(values), _bits(there), ends.astype(np.int32), b"".join(value or b"" for value in told))


def booleans(values: Iterable[bool]) -> Arrow:
    """Truth values as an array.

    >>> booleans([True, False]).to_pylist()
    [True, False]
    """
    told = np.array(list(values), bool)
    return _of(pa.bool_(), len(told), None, _bits(told))


def _bits(values: Any) -> Any:
    return np.packbits(values, bitorder="little")


def _of(kind: Any, length: int, *buffers: Any) -> Arrow:
    return pa.Array.from_buffers(kind, length, [None if one is None else pa.py_buffer(one) for one in buffers])
