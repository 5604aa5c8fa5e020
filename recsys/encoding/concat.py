"""Several encodings side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from recsys.arrays import Float32
from recsys.encoding import Description, Encoding, describe_encoding, encoding_of
from recsys.encoding.problems import problems_of
from recsys.encoding.reading import ReadsFiles
from recsys.sections import Section


class ConcatRule(Section):
    """What stands side by side."""

    parts: dict[str, dict[str, Any]] = Field(min_length=1)
    """Name → kind and rule of an encoding."""
    weights: dict[str, float]
    """Name → the length of that part of a vector, where the part is not zero."""


@dataclass(frozen=True, slots=True, eq=False)
class Concat:
    """Each part's vector at length one times its weight; zeros where the part says nothing."""

    kind: ClassVar[str] = "concat"
    Rule: ClassVar[type[ConcatRule]] = ConcatRule

    parts: Mapping[str, Encoding]
    weights: Mapping[str, float]

    @classmethod
    def of(cls, rule: ConcatRule, arrays: Mapping[str, np.ndarray]) -> Concat:
        """The parts, each of its own arrays. ValueError for one that cannot be put together or has no weight."""
        if rule.parts.keys() != rule.weights.keys():
            raise ValueError(f"there are parts {sorted(rule.parts)}, but weights for {sorted(rule.weights)}")
        parts = {}
        for name, described in rule.parts.items():
            own = {key.removeprefix(f"{name}/"): array for key, array in arrays.items() if key.startswith(f"{name}/")}
            parts[name] = encoding_of(described, own)
        return cls(parts, rule.weights)

    @property
    def rule(self) -> ConcatRule:
        """The parts as they are described."""
        parts = {name: describe_encoding(part) for name, part in self.parts.items()}
        return ConcatRule(parts=parts, weights=dict(self.weights))

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Those of each part in a folder of its name."""
        return {f"{name}/{key}": array for name, part in self.parts.items() for key, array in part.arrays().items()}

    @property
    def width(self) -> int:
        """All widths together."""
        return sum(part.width for part in self.parts.values())

    @property
    def reads(self) -> tuple[str, ...]:
        """What any part reads, once."""
        return tuple(dict.fromkeys(name for part in self.parts.values() for name in part.reads))

    def files(self, item: Description) -> list[Path]:
        """The files that any part reads for an item."""
        reading = (part.files for part in self.parts.values() if isinstance(part, ReadsFiles))
        return [file for files in reading for file in files(item)]

    def problems(self, item: Description) -> dict[str, str]:
        """See :class:`recsys.encoding.problems.Explains`: of a field that several parts read what all complain of."""
        found = [(part.reads, problems_of(part, item)) for part in self.parts.values()]
        return {
            name: why
            for _, own in reversed(found)
            for name, why in own.items()
            if all(name in others for reads, others in found if name in reads)
        }

    def encode(self, items: Sequence[Description]) -> Float32:
        """Vectors float32 (m, w); zeros where no part says anything."""
        return self.encode_by(lambda part, some: part.encode(some), items)

    def encode_by(
        self, encode: Callable[[Encoding, Sequence[Description]], Float32], items: Sequence[Description]
    ) -> Float32:
        """The same where something else encodes the parts, a GPU for one."""
        vectors = np.zeros((len(items), self.width), np.float32)
        low = 0
        for name, part in self.parts.items():
            own = encode(part, items)
            # in the larger type: lengths of large numbers must not overflow
            lengths = np.linalg.norm(own.astype(np.float64), axis=1, keepdims=True)
            high = low + part.width
            np.divide(own, lengths / self.weights[name], out=vectors[:, low:high], where=lengths > 0, casting="unsafe")
            low = high
        return vectors
