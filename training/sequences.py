"""What users took, one item after the other, and how it is cut into what a network is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Int32, Int64, ranges
from recsys.errors import TrainingError
from recsys.interactions import Interactions
from recsys.users import History


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """The distinct items of q users, oldest first: a serving history the other way round.

    User u's are ``rows[indptr[u]:indptr[u + 1]]``. ``indptr``: int64 (q + 1,). ``rows``: int32, item rows.
    """

    indptr: Int64
    rows: Int32

    @classmethod
    def of(cls, data: Interactions) -> Sequences:
        """What was taken with a weight above 0, an item where it was taken last.

        TrainingError where no user has two items.
        """
        history = History.of(data.where(data.weight > 0))
        lengths = np.diff(history.indptr)
        if lengths.max(initial=0) < 2:
            raise TrainingError(
                "no user has two items that teach, but a sequence model learns which item follows another: give it "
                "a longer log, or choose the model popular"
            )
        return cls(history.indptr, history.rows[spans(history.indptr[1:] - 1, lengths, step=-1)])

    def windows(self, width: int) -> Windows:
        """Cut into windows of at most ``width`` items and the next, from the newest backwards.

        Each item but a sequence's first is what follows in exactly one window.
        """
        lengths = np.diff(self.indptr)
        counts = np.where(lengths < 2, 0, (lengths + width - 2) // width)
        which = np.repeat(np.arange(len(lengths)), counts)
        stops = self.indptr[1:][which] - ranges(counts) * width
        return Windows(self.rows, np.maximum(self.indptr[:-1][which], stops - width - 1), stops - 1)


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """m windows of sequences: inputs ``rows[start:stop]``, of which each is followed by the one after it.

    ``starts``, ``stops``: int64 (m,).
    """

    rows: Int32
    starts: Int64
    stops: Int64

    @property
    def targets(self) -> int:
        """How many items follow another, over all windows."""
        return int((self.stops - self.starts).sum())

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """All windows in random order, in batches of about ``size`` targets, each batch shortest first."""
        order = rng.permutation(len(self.starts))
        lengths = self.stops - self.starts
        ends = np.cumsum(lengths[order])
        for batch in np.split(order, np.flatnonzero(np.diff((ends - 1) // size)) + 1):
            some = batch[np.argsort(lengths[batch], kind="stable")]
            at = spans(self.starts[some], lengths[some])
            yield Batch(self.rows[at], self.rows[at + 1], lengths[some])


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """t inputs end to end, int32 (t,), the item after each, int32 (t,), and the ``lengths`` of windows, ascending."""

    inputs: Int32
    targets: Int32
    lengths: Int64


def spans(starts: Int64, lengths: Int64, step: int = 1) -> Int64:
    """start, start + step, … so many as each length says, end to end.

    >>> spans(np.array([5, 20]), np.array([2, 3]), step=-1)
    array([ 5,  4, 20, 19, 18])
    """
    return np.repeat(starts, lengths) + step * ranges(lengths)
