"""One table per kind of thing: a name, and where the thing lives.

A table holds import strings, so that listing the choices imports nothing and a missing extra is an error
that says what to install. It is the registration, the choices that the command line and error messages
show, and the parameters of the contract tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from operator import attrgetter
from types import MappingProxyType
from typing import Generic, TypeVar, cast

from recsys.errors import MissingExtra, unknown_choice

T = TypeVar("T")


EXTRAS: Mapping[str, str] = MappingProxyType(
    {
        "annoy": "ann",
        "confluent_kafka": "kafka",
        "safetensors": "sentence",
        "tokenizers": "text",
        "torch": "deep",
        "voyager": "ann",
        "wordllama": "text",
    }
)
"""Libraries that have an extra of their own, whichever table asks for them."""


class Table(Mapping[str, T], Generic[T]):
    """Names to things of one kind, each imported when it is first asked for.

    ``entries`` maps a name to ``"module:attribute"``. ``extra`` names the installation extra that brings
    what the modules import, if it is not part of the base installation.

    >>> table = Table("codec", {"json": "json:dumps"})
    >>> table["json"]([1])
    '[1]'
    >>> table["jsn"]
    Traceback (most recent call last):
    ...
    ValueError: unknown codec 'jsn', choose one of json
    """

    def __init__(self, kind: str, entries: Mapping[str, str], extra: str | None = None) -> None:
        self.kind = kind
        self._entries = MappingProxyType(dict(entries))
        self._extra = extra

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise ValueError(unknown_choice(self.kind, name, self._entries))
        module, _, attribute = self._entries[name].partition(":")
        try:
            return cast("T", attrgetter(attribute)(import_module(module)))
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            extra = EXTRAS.get(missing, self._extra)
            if extra is None or missing in {"recsys", "index", "training", "api"}:
                raise
            raise MissingExtra(f"{self.kind} {name!r} needs {missing}, which", extra) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries
