"""Which items may be answered, as a front end says it: ``genres:jazz and not year<1960``.

::

    or          genres:jazz or genres:blues        and binds closer, parentheses closer still
    not         not genres:jazz                    true of an item that has no genre as well
    term        year>=1990   title:"Kind of Blue"  : (is, or holds)  != < <= > >=
    anything    genres:*                           has any genre

Texts are compared without regard to case, numbers as numbers, days and times as ISO 8601 texts, true and false by ``:``
and ``!=`` alone. Of a list any member may hold. A term is false of an item whose value is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import and_, ge, gt, le, lt, or_
from typing import Any, Literal, Protocol, cast

from recsys.masks import Mask

LONGEST = 2000
"""Characters of a filter; a longer one is no request of a person."""
DEEPEST = 50
"""Parentheses inside parentheses."""
ANYTHING = "*"

Comparison = Literal[":", "!=", "<", "<=", ">", ">="]
ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


class Columns(Protocol):
    """What a term looks into: the masks of a catalogue's columns."""

    def mask(self, term: Term) -> Mask:
        """The items of which the term is true; ValueError for a column that there is not."""
        ...


class Filter(Protocol):
    """A condition on items. Law: :meth:`mask` has the items of which :meth:`holds` is true, whatever the catalogue."""

    def mask(self, columns: Columns) -> Mask:
        """The items that fulfil it."""
        ...

    def holds(self, description: Mapping[str, Any]) -> bool:
        """Whether an item so described fulfils it."""
        ...


@dataclass(frozen=True, slots=True)
class Term:
    """One column compared with one value; ``value`` is casefolded."""

    column: str
    comparison: Comparison
    value: str

    @property
    def number(self) -> float | None:
        """The value as a number, None if it is none."""
        try:
            return float(self.value)
        except ValueError:
            return None

    def mask(self, columns: Columns) -> Mask:
        """Looked up, or compared with the whole column."""
        return columns.mask(self)

    def holds(self, description: Mapping[str, Any]) -> bool:
        """By the value, or by any of a list."""
        said = description.get(self.column)
        values = [value for value in (said if isinstance(said, list) else [said]) if value is not None and value != ""]
        if self.comparison == "!=":
            return bool(values) and not any(self._compares(value, ":") for value in values)
        return any(self._compares(value, self.comparison) for value in values)

    def _compares(self, value: Any, comparison: Comparison) -> bool:
        if self.value == ANYTHING and comparison == ":":
            return True
        if isinstance(value, bool):
            return comparison == ":" and self.value == str(value).lower()
        if isinstance(value, int | float):
            wanted = self.number
            if wanted is None:
                return False
            return value == wanted if comparison == ":" else ORDERS[comparison](value, wanted)
        text = str(value).casefold()
        return text == self.value if comparison == ":" else ORDERS[comparison](text, self.value)


@dataclass(frozen=True, slots=True)
class Not:
    """What does not fulfil it."""

    part: Filter

    def mask(self, columns: Columns) -> Mask:
        """AllOf the others."""
        return ~self.part.mask(columns)

    def holds(self, description: Mapping[str, Any]) -> bool:
        """The opposite."""
        return not self.part.holds(description)


@dataclass(frozen=True, slots=True)
class AllOf:
    """What fulfils every part."""

    parts: tuple[Filter, ...]

    def mask(self, columns: Columns) -> Mask:
        """The intersection."""
        return reduce(and_, (part.mask(columns) for part in self.parts))

    def holds(self, description: Mapping[str, Any]) -> bool:
        """Each of them."""
        return all(part.holds(description) for part in self.parts)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """What fulfils one part or more."""

    parts: tuple[Filter, ...]

    def mask(self, columns: Columns) -> Mask:
        """The union."""
        return reduce(or_, (part.mask(columns) for part in self.parts))

    def holds(self, description: Mapping[str, Any]) -> bool:
        """One of them."""
        return any(part.holds(description) for part in self.parts)


@lru_cache(maxsize=1024)
def parse(text: str) -> Filter:
    """The filter that ``text`` says. ValueError says where it is wrong and what would be right.

    >>> parse("genres:jazz and not year<1960").holds({"genres": ["Jazz", "Bop"], "year": 1965})
    True
    """
    if len(text) > LONGEST:
        raise ValueError(f"a filter of {len(text):,} characters came, at most {LONGEST:,} are read")
    tokens = _Tokens(text)
    found = _any(tokens, 0)
    if tokens.next is not None:
        raise tokens.wrong("'and', 'or' or the end")
    return found


TOKEN = re.compile(
    r"""\s*(?: (?P<open>\() | (?P<close>\)) | (?P<word>(?:and|or|not)\b(?!\s*(?::|!=|[<>])))
        | (?P<column>[\w.-]+) \s* (?P<comparison>:|!=|<=|>=|<|>) \s*
          (?: "(?P<quoted>(?:[^"\\]|\\.)*)" | (?P<bare>[^\s()"]+) ) )""",
    re.VERBOSE | re.IGNORECASE,
)


class _Tokens:
    """The tokens of a filter, one looked ahead."""

    def __init__(self, text: str) -> None:
        self._text, self._end = text, 0
        self.advance()

    def advance(self) -> None:
        """To the next token."""
        self._start = self._end
        self.next = TOKEN.match(self._text, self._end)
        if self.next is not None:
            self._end = self.next.end()
        elif self._text[self._end :].strip():
            raise self.wrong("a term such as genres:jazz, year>=1990 or title:\"Kind of Blue\", 'not' or '('")

    def is_(self, *what: str) -> bool:
        """Whether the next token is one of these."""
        return self.next is not None and self.next.group().strip().lower() in what

    def wrong(self, wanted: str) -> ValueError:
        """The sentence for what stands here."""
        rest = self._text[self._start :].strip()
        stands = f"{rest[:30]!r} stands" if rest else "it ends"
        return ValueError(f"filter {self._text[:80]!r}: {stands} where {wanted} was wanted")


def _any(tokens: _Tokens, depth: int) -> Filter:
    parts = [_all(tokens, depth)]
    while tokens.is_("or"):
        tokens.advance()
        parts.append(_all(tokens, depth))
    return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))


def _all(tokens: _Tokens, depth: int) -> Filter:
    parts = [_one(tokens, depth)]
    while tokens.is_("and"):
        tokens.advance()
        parts.append(_one(tokens, depth))
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _one(tokens: _Tokens, depth: int) -> Filter:
    if depth > DEEPEST:
        raise ValueError(f"a filter may go {DEEPEST} levels deep, this one goes on")
    if tokens.is_("not"):
        tokens.advance()
        return Not(_one(tokens, depth + 1))
    if tokens.is_("("):
        tokens.advance()
        inside = _any(tokens, depth + 1)
        if not tokens.is_(")"):
            raise tokens.wrong("')'")
        tokens.advance()
        return inside
    found = tokens.next
    if found is None or found["column"] is None:
        raise tokens.wrong("a term such as genres:jazz, year>=1990 or title:\"Kind of Blue\", 'not' or '('")
    tokens.advance()
    quoted = found["quoted"]
    value = found["bare"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    return Term(found["column"], cast("Comparison", found["comparison"]), value.casefold())
