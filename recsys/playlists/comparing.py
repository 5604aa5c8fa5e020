"""Two editions side by side."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsys.playlists.editions import Edition
from recsys.playlists.plan import PART

NAMES = ("users", "full", "rows", "coverage", "gini")


def compared(first: Edition, second: Edition) -> dict[str, Any]:
    """What each shows, and how much the lists of users who have one in both have in common."""
    both, common, of, same = 0, 0, 0, 0
    everybody = np.arange(len(second.users), dtype=np.int32)
    for start in range(0, len(everybody), PART):
        users = second.users.ids(everybody[start : start + PART])
        there = [user for user, place in zip(users, first.users.rows(users).tolist(), strict=True) if place >= 0]
        for one, other in zip(first.items_of(there), second.items_of(there), strict=True):
            both += 1
            common += int(np.isin(other, one).sum())
            of += len(other)
            same += np.array_equal(one, other)
    measured = (first.manifest.quality.measured, second.manifest.quality.measured)
    return {
        "editions": [first.id, second.id],
        "users": both,
        "overlap": common / of if of else 0.0,
        "same": int(same),
        "measured": {name: [one[name] for one in measured] for name in NAMES},
    }
