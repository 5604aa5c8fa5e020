"""Numbers that describe items, such as what is measured of a song, in one scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from recsys.arrays import Float32, Float64, UInt8
from recsys.encoding import Description
from recsys.encoding.problems import SILENT, says
from recsys.sections import Section


class NumericRule(Section):
    """Which numbers are read."""

    columns: tuple[str, ...] = Field(min_length=1)
    """Columns of numbers; a text that is a number counts as one."""
    cyclic: dict[str, float] = Field(default_factory=dict)
    """Those of them that go round, and after how much they are where they were: a musical key after 12."""
    clip: float = Field(default=4.0, gt=0)
    """How many deviations from the middle are the most."""


@dataclass(frozen=True, slots=True, eq=False)
class Numeric:
    """(value − middle) / deviation of each column, sine and cosine of a cyclic one; then what is known.

    A value that is missing is in the middle, 0; the columns that may be missing say 1 where they are known, and the
    last number is the share of all columns that are. So an item in the middle of everything is not the same as one of
    which nothing is known, which has zeros alone.

    ``center`` and ``scale``: float64 (columns,), in the order of the rule. ``gaps``: uint8 (columns,), 1 where a value
    may be missing.
    """

    kind: ClassVar[str] = "numeric"
    Rule: ClassVar[type[NumericRule]] = NumericRule

    rule: NumericRule
    center: Float64
    scale: Float64
    gaps: UInt8

    @classmethod
    def of(cls, rule: NumericRule, arrays: Mapping[str, np.ndarray]) -> Numeric:
        """ValueError unless every column has its numbers."""
        center, scale, gaps = arrays["center"], arrays["scale"], arrays["gaps"]
        if not len(rule.columns) == len(center) == len(scale) == len(gaps):
            lengths = [len(array) for array in (center, scale, gaps)]
            raise ValueError(f"there are {len(rule.columns)} columns, but {lengths} middles, deviations and gaps")
        return cls(rule, center, scale, gaps)

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Middles and deviations."""
        return {"center": self.center, "scale": self.scale, "gaps": self.gaps}

    @property
    def width(self) -> int:
        """A number for each column, two for a cyclic one, one for each that has gaps, and one."""
        cyclic = sum(column in self.rule.cyclic for column in self.rule.columns)
        return len(self.rule.columns) + cyclic + int(np.count_nonzero(self.gaps)) + 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of numbers."""
        return self.rule.columns

    def problems(self, item: Description) -> dict[str, str]:
        """See :class:`recsys.encoding.problems.Explains`."""
        columns = self.rule.columns
        return {
            column: "no finite number" if says(item.get(column)) else SILENT
            for column, value in zip(columns, numbers_of([item], columns)[0], strict=True)
            if math.isnan(value)
        }

    def encode(self, items: Sequence[Description]) -> Float32:
        """Numbers between ``-clip`` and ``clip``, float32 (m, w); zeros where none is known."""
        values = numbers_of(items, self.rule.columns)
        known = ~np.isnan(values)
        parts = []
        for place, column in enumerate(self.rule.columns):
            if column in self.rule.cyclic:
                angle = np.where(known[:, place], values[:, place], 0) * (2 * np.pi / self.rule.cyclic[column])
                parts += [np.sin(angle) * known[:, place], np.cos(angle) * known[:, place]]
            else:
                with np.errstate(over="ignore"):
                    scaled = (values[:, place] - self.center[place]) / self.scale[place]
                parts.append(np.where(known[:, place], np.clip(scaled, -self.rule.clip, self.rule.clip), 0))
        parts += [known[:, place] for place in np.flatnonzero(self.gaps)]
        parts.append(known.mean(axis=1))
        return np.column_stack(parts).astype(np.float32)


def numbers_of(items: Sequence[Description], columns: Sequence[str]) -> Float64:
    """The numbers of some columns, float64 (m, columns), nan where there is none."""
    cells = (_number(item.get(column)) for item in items for column in columns)
    return np.fromiter(cells, np.float64, len(items) * len(columns)).reshape(len(items), len(columns))


def _number(value: Any) -> float:
    if not isinstance(value, str | int | float) or (isinstance(value, str) and len(value) > 64):
        return math.nan
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan
