"""What happened since, brought into the space of a release that is about to be promoted."""

from __future__ import annotations

import index
from index.growing import Growing
from recsys.assembly import assemble
from recsys.releases import Release
from recsys.settings import Settings
from recsys.states import limits_of, listed, refresh
from recsys.stores import open_store


async def bring_over(settings: Settings, release: Release, since: float | None = None) -> int:
    """Fold the users of whom the store remembers something into the release's space, and seal it; how many were.

    ``since``: only those who were active from then on, unix seconds: once more after the pointer has moved, for whoever
    was applied under the release before. Nothing hangs on it: who has no vector is folded in by their next request.
    """
    async with open_store(settings.state) as store:
        # As servers have it: with the items that were put since.
        changes = await store.item_changes()
        engine = assemble(release, index.load, Growing.of)
        if changes.changes:
            engine = engine.amended({each.item_id: each.description for each in changes.changes}, changes.mark)
        users = store.users() if since is None else listed(await store.active(since))
        folded = await refresh(store, engine, users, limits_of(settings))
        await store.seal(release.id)
        return folded
