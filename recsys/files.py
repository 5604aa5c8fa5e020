"""The files that logs and catalogues come in, as columns of the cells that stand there: nothing is coerced.

An id is text and stays as it was written. What cannot even be put into rows (no such file, broken JSON, a row with
too many fields) is refused here, with the line. To read another format: one function and one line in READERS.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from recsys.arrays import Int64
from recsys.errors import DataError, DataRefused

Columns = dict[str, "pd.Series[Any]"]


def read_file(path: Path) -> Columns:
    """The columns of one file, by suffix, as they stand there."""
    suffix = _suffix(path)
    if suffix not in READERS:
        raise DataError(
            f"{path}: files ending in {suffix or 'nothing'!r} are unknown, "
            f"choose one of {', '.join(READERS)} (text also .gz)"
        )
    if not path.exists():
        raise DataError(f"there is no {path}: correct `events` or `items` in [data] of recsys.toml")
    if not path.is_file():
        raise DataError(f"{path} is a folder, a file was wanted: name the files in it one by one")
    return READERS[suffix](path)


def _suffix(path: Path) -> str:
    """The suffix that says the format: ``.csv`` of ``log.csv.gz``."""
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix if not name.endswith(".parquet.gz") else ".parquet.gz"


def _text_of(path: Path) -> str:
    """A whole text file, unpacked and decoded."""
    try:
        raw = path.read_bytes()
        if path.name.lower().endswith(".gz"):
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}; write it anew") from error
    if not raw.strip():
        raise DataError(f"{path} is empty: at least one row was wanted; check what wrote it")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: byte 0x{raw[error.start]:02x} is not UTF-8; convert the file, "
            "for example with `iconv -f ISO-8859-1 -t UTF-8`"
        ) from None


def _read_separated(path: Path) -> Columns:
    """CSV as in RFC 4180, or TSV, which has no quotes. Every cell is text, an empty one is missing."""
    tabs = _suffix(path) == ".tsv"
    text = _text_of(path)
    first = next(line for line in text.split("\n") if line.strip("\r"))
    header = first.rstrip("\r").split("\t") if tabs else next(csv.reader([first]))
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise DataError(f"{path}: column {', '.join(map(repr, repeated))} stands there twice; rename one of them")
    ragged: list[pyarrow.csv.InvalidRow] = []

    def keep_aside(row: pyarrow.csv.InvalidRow) -> Literal["skip"]:
        ragged.append(row)
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            io.BytesIO(text.encode()),
            # one thread: only then are rows numbered
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=1 << 26),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter="\t" if tabs else ",",
                quote_char=False if tabs else '"',
                newlines_in_values=not tabs,
                invalid_row_handler=keep_aside,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.large_string()), null_values=[""], strings_can_be_null=True
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} cannot be read as {'TSV' if tabs else 'CSV'}: {error}") from error
    if ragged:
        first_rows = "; ".join(f"row {row.number} has {row.actual_columns}: {row.text[:80]!r}" for row in ragged[:5])
        raise DataRefused(
            f"{path}: {len(ragged)} rows do not have the {len(header)} fields of the header ({first_rows}); "
            "put quotes round cells that hold the separator"
        )
    return {name: pd.Series(table.column(name), dtype="str") for name in table.column_names}


def _read_lines(path: Path) -> Columns:
    """JSON Lines: an object a line. Columns are what JSON says, a name that a line lacks is missing."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(_text_of(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number} is not JSON: {error}; it reads {line[:80]!r}") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: an object was wanted, it reads {line[:80]!r}")
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: pd.Series([row.get(name) for row in rows], dtype=object) for name in names}


def _read_parquet(path: Path) -> Columns:
    """Parquet; numbers and times keep their types, and whole numbers stay whole where cells are missing."""
    try:
        table = pyarrow.parquet.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}; write it anew") from error
    return {name: _from_arrow(table.column(name)) for name in table.column_names}


def _from_arrow(column: pa.ChunkedArray[Any]) -> pd.Series[Any]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pd.Series(column.cast(pa.large_string()), dtype="str")
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return pd.to_datetime(pd.Series(column.cast(pa.timestamp("us"), safe=False).to_pandas()), utc=True)
    if pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
        kind = column.type
    if pa.types.is_integer(kind) and column.null_count:
        # pandas would make floats of them, and 7.0 of an id
        return pd.Series(column.to_pylist(), dtype=object)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return pd.Series(column.to_pandas())
    return pd.Series(column.to_pylist(), dtype=object)


READERS: dict[str, Callable[[Path], Columns]] = {
    ".csv": _read_separated,
    ".tsv": _read_separated,
    ".jsonl": _read_lines,
    ".ndjson": _read_lines,
    ".parquet": _read_parquet,
}


def places_in(path: Path, rows: Int64, total: int) -> Iterator[str]:
    """``line`` of each row (ascending, from 0) of a text file, where its record begins; ``row`` of another."""
    suffix = _suffix(path)
    if suffix == ".parquet" or not len(rows):
        yield from (f"row {row + 1}" for row in rows.tolist())
        return
    lines = _text_of(path).split("\n")
    headers = 1 if suffix in {".csv", ".tsv"} else 0
    starts = [number for number, line in enumerate(lines, 1) if line.strip("\r" if headers else None)]
    if len(starts) != total + headers:
        starts = list(_record_starts(lines))
    yield from (f"line {starts[row + headers]}" for row in rows.tolist())


def _record_starts(lines: Iterable[str]) -> Iterator[int]:
    """The lines on which records begin when quoted cells run over several lines."""
    inside = False
    for number, line in enumerate(lines, 1):
        if not inside and line.strip("\r"):
            yield number
        inside ^= line.count('"') % 2 == 1
