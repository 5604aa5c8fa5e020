"""Vectors that the owner of the catalogue brings: in a column, or in a file with the items' ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from pydantic import Field

from recsys.arrays import Float32
from recsys.encoding import Description
from recsys.encoding.precomputed import Precomputed, PrecomputedRule, vector_of
from recsys.errors import SettingsError, TrainingError
from recsys.vocabulary import Vocabulary
from training.encoders import Encoder
from training.models import Progress, silent


class PrecomputedEncoder(Encoder):
    """Nothing is learned; what was brought is checked, and one wrong vector is an error with the item's id."""

    column: str = "vector"
    """The list of numbers in a description, and in a Parquet file."""
    file: Path | None = None
    """A ``.parquet`` with columns ``item_id`` and ``column``, or a ``.npy`` (n, w) with ``ids``."""
    ids: Path | None = None
    """The items of a ``.npy``, one id a line, in its order."""
    width: int | None = Field(default=None, ge=1)
    """w; none: that of the first vector."""

    def fit(
        self,
        items: Sequence[Description],
        rng: np.random.Generator,  # noqa: ARG002
        *,
        threads: int,  # noqa: ARG002
        progress: Progress = silent,
    ) -> Precomputed:
        """Check and keep. TrainingError for a vector that is of another width or not finite, or if there is none."""
        ids, brought = ([], []) if self.file is None else self._read(self.file)
        said = [
            (str(item.get("item_id", place)), item[self.column])
            for place, item in enumerate(items)
            if item.get(self.column) is not None
        ]
        every = [*zip(ids, brought, strict=True), *said]
        if not every:
            raise TrainingError(
                f"none of {len(items):,} items has a {self.column!r} and no file was named: "
                "give [content.encoder] a `file`, or the items such a column"
            )
        width = self.width or max(1, np.size(np.array(every[0][1], dtype=object)))
        vectors, bad = [], []
        for id_, vector in every:
            try:
                vectors.append(vector_of(vector, width))
            except ValueError as error:
                bad.append(f"that of item {id_!r} {error}")
        if bad:
            raise TrainingError(f"{len(bad):,} of {len(every):,} vectors cannot be used: {bad[0]}")
        try:
            known = Vocabulary.of(ids)
        except ValueError as error:
            raise TrainingError(f"{self.file}: {error}") from error
        progress(1.0)
        rule = PrecomputedRule(column=self.column, width=width)
        return Precomputed(rule, known, np.array(vectors[: len(ids)], np.float32).reshape(len(ids), width))

    def _read(self, file: Path) -> tuple[list[str], Sequence[object] | Float32]:
        """Ids and vectors of the file."""
        if not file.is_file():
            raise SettingsError(f"[content.encoder] precomputed: there is no file {file}: correct `file`")
        if file.suffix == ".parquet":
            table = pq.ParquetFile(file).read()
            if missing := {"item_id", self.column} - set(table.column_names):
                raise SettingsError(f"{file} has no column {', '.join(sorted(missing))}, it has {table.column_names}")
            return [str(id_) for id_ in table["item_id"].to_pylist()], table[self.column].to_pylist()
        if file.suffix != ".npy" or self.ids is None:
            raise SettingsError(f"{file}: a .parquet was wanted, or a .npy and `ids`, a text file with one id a line")
        try:
            vectors = np.load(file, allow_pickle=False)
            ids = self.ids.read_text("utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise SettingsError(f"{file} and {self.ids} cannot be read: {error}") from error
        if vectors.ndim != 2 or len(vectors) != len(ids):
            raise TrainingError(f"{file} is {vectors.shape}, but {self.ids} has {len(ids):,} lines: (n, w) and n lines")
        return ids, vectors
