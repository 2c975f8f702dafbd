"""Our finalizer on a ModelDeployment: set before anything is made in a member, removed when nothing is left there."""

from __future__ import annotations

from pilotage.api.names import FINALIZER
from pilotage.hub.kinds import MODEL_DEPLOYMENTS
from pilotage.hub.store import Entry, HubStore
from pilotage.kube import Api, Key, NotFound


def has_finalizer(entry: Entry) -> bool:
    """Whether ours is on the object."""
    return FINALIZER in (entry.raw["metadata"].get("finalizers") or ())


async def set_finalizer(api: Api, store: HubStore, entry: Entry, *, wanted: bool) -> None:
    """Add or remove ours over `entry`'s version, leaving those of others; Conflict when the object has changed."""
    if has_finalizer(entry) == wanted:
        return
    others = [name for name in entry.raw["metadata"].get("finalizers") or () if name != FINALIZER]
    finalizers = [*others, FINALIZER] if wanted else others
    # `null` and not an empty list: a merge patch removes the key, as the server stores it
    patch = {"metadata": {"resourceVersion": str(entry.version), "finalizers": finalizers or None}}
    try:
        answer = await api.merge_patch(MODEL_DEPLOYMENTS, Key.of(entry.raw), patch)
    except NotFound:
        if wanted:
            raise
        store.drop(MODEL_DEPLOYMENTS, Key.of(entry.raw), uid=entry.uid)
        return
    store.write_through(MODEL_DEPLOYMENTS, answer)
