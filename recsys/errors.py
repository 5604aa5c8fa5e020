"""What can go wrong in the world outside, drawn as a tree.

* RecsysError
  x SettingsError        recsys.toml or the environment says something that cannot be done
  x DataError            a log or a catalogue that may not be trained on
    - UnknownDataset     no data set of that name, or its files are nowhere to be found
    - DataRefused        validation found rows it cannot accept; carries the table of them
  x TrainingError        the data are valid, but nothing can be learned from them
  x ReleaseError
    - ReleaseNotFound    no release of that id, or none promoted yet
    - ReleaseDamaged     a file is missing, truncated or not the one that was published
    - ReleaseTooNew      written by a later version of this program
    - GateRefused        measured to be worse than what it would replace
    - Busy               another publisher holds the lock
  x StoreError           the user-state store did not answer, or answered nonsense
  x LogError             the event log did not answer, or could not keep or give what it was asked
    - LogFull            it has no room
  x PlaylistError        an edition of weekly playlists that cannot be made, found or read
    - EditionRefused     the quality gate holds something against it
  x MissingExtra         a part of this program that is not installed

A caller's bug (a wrong shape, an unknown choice in code) is a ``ValueError``, never one of these.
Every message says what came, what was wanted and what to do. Translated once, at the edge: the command
line prints it and exits with 1, the API turns it into a problem document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class RecsysError(Exception):
    """Anything the world outside did to this program."""


class SettingsError(RecsysError):
    """The configuration asks for something that cannot be done."""


class DataError(RecsysError):
    """A log or a catalogue that may not be trained on."""


class UnknownDataset(DataError):
    """No data set of that name, or its files are nowhere to be found."""


class DataRefused(DataError):
    """Validation found rows it cannot accept.

    ``findings``: one plain mapping per failed check, as the message's table shows them.
    """

    def __init__(self, message: str, findings: Iterable[Mapping[str, object]] = ()) -> None:
        super().__init__(message)
        self.findings = tuple(findings)


class TrainingError(RecsysError):
    """The data are valid, but nothing can be learned from them."""


class ReleaseError(RecsysError):
    """Anything wrong with a release or with the store of releases."""


class ReleaseNotFound(ReleaseError):
    """No release of that id, or none promoted yet."""


class ReleaseDamaged(ReleaseError):
    """A file of the release is missing, truncated or not the one that was published."""


class ReleaseTooNew(ReleaseError):
    """The release was written by a later version of this program."""


class GateRefused(ReleaseError):
    """The release was measured to be worse than what it would replace."""


class Busy(ReleaseError):
    """Another publisher holds the lock."""


class StoreError(RecsysError):
    """The user-state store did not answer, or answered nonsense."""


class LogError(RecsysError):
    """The event log did not answer, or could not keep or give what it was asked."""


class LogFull(LogError):
    """The event log has no room for another record."""


class PlaylistError(RecsysError):
    """An edition of weekly playlists that cannot be made, found or read."""


class EditionRefused(PlaylistError):
    """The quality gate holds something against the edition."""


class MissingExtra(RecsysError):
    """A part of this program that is not installed."""

    def __init__(self, needed: str, extra: str) -> None:
        super().__init__(f"{needed} is not installed: run `pip install 'recsys-engine[{extra}]'`")


def unknown_choice(kind: str, name: str, choices: Iterable[str]) -> str:
    """The sentence for a name that is in no table.

    >>> unknown_choice("index backend", "hsnw", ["exact", "faiss-hnsw"])
    "unknown index backend 'hsnw', choose one of exact, faiss-hnsw"
    """
    return f"unknown {kind} {name!r}, choose one of {', '.join(sorted(choices))}"
