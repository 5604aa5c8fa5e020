"""Numbers that describe items, in one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from recsys.arrays import Float64
from recsys.encoding import Description
from recsys.encoding.numeric import Numeric, NumericRule, numbers_of
from recsys.errors import TrainingError
from training.encoders import Encoder
from training.models import Progress, silent

NORMAL = 1.349
"""The distance between the quartiles of the normal distribution, in standard deviations."""


class NumericEncoder(Encoder):
    """(value − middle) / deviation of each column; sine and cosine of one that goes round."""

    columns: tuple[str, ...] = ()
    """Columns of numbers; none: all that hold numbers and nothing else."""
    scaling: Literal["robust", "standard"] = "robust"
    """Middle and deviation: the median and the distance of the quartiles / 1.349, or the mean and the standard one."""
    cyclic: dict[str, float] = Field(default_factory=dict)
    """Columns that go round, and after how much they are where they were: a musical key after 12."""
    clip: float = Field(default=4.0, gt=0)
    """How many deviations from the middle are the most."""

    def fit(
        self,
        items: Sequence[Description],
        rng: np.random.Generator,  # noqa: ARG002
        *,
        threads: int,  # noqa: ARG002
        progress: Progress = silent,
    ) -> Numeric:
        """Measure the columns. TrainingError for one without a number, and where there is none at all."""
        columns = self.columns or _numeric(items)
        columns = (*columns, *(column for column in self.cyclic if column not in columns))
        values = numbers_of(items, columns)
        known = ~np.isnan(values)
        if bare := [column for place, column in enumerate(columns) if not known[:, place].any()]:
            raise TrainingError(f"none of {len(items):,} items has a number in {', '.join(bare)}: name other `columns`")
        if not columns:
            raise TrainingError(f"no column of {len(items):,} items holds numbers: name `columns` that do")
        measured = [self._measured(values[known[:, place], place]) for place in range(len(columns))]
        center, scale = np.array(measured).T
        progress(1.0)
        rule = NumericRule(columns=columns, cyclic=self.cyclic, clip=self.clip)
        gaps = np.array(~known.all(axis=0), np.uint8)
        return Numeric(rule, center.copy(), scale.copy(), gaps)

    def _measured(self, values: Float64) -> tuple[float, float]:
        """Middle and deviation of what is known of a column; one of 0, where all are the same, is 1."""
        if self.scaling == "robust":
            low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
            # half the values may be equal, and others differ
            deviation = (high - low) / NORMAL or float(values.std())
        else:
            middle, deviation = values.mean(), float(values.std())
        return float(middle), deviation if deviation > 0 and np.isfinite(deviation) else 1.0


def _numeric(items: Sequence[Description]) -> tuple[str, ...]:
    """Columns that hold numbers and nothing else, in the order of the alphabet."""
    found: dict[str, bool] = {}
    for item in items:
        for name, value in item.items():
            if value is not None:
                found[name] = found.get(name, True) and isinstance(value, int | float) and not isinstance(value, bool)
    return tuple(sorted(name for name, numbers in found.items() if numbers))
