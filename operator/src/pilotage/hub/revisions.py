"""ModelRevisions: created before a status names them, their status written in blocks, removed past the history limit.

A revision's name is a hash of what it says, so creating one twice is the same as once. One of the same name that is
not ours (another owner) is never touched.
"""

from __future__ import annotations

from pilotage.api import encode
from pilotage.api.types import Metadata, ModelRevision, RevisionStatus
from pilotage.hub.kinds import MODEL_REVISIONS
from pilotage.hub.status import StatusWriter
from pilotage.hub.store import HubStore
from pilotage.kube import AlreadyExists, Api, Conflict, Key, Manifest, NotFound


class RevisionTaken(Exception):
    """A ModelRevision of the name we need belongs to somebody else."""


async def create_revision(api: Api, store: HubStore, revision: ModelRevision, owner: Metadata) -> None:
    """Make sure the revision exists; raises RevisionTaken when its name is another's."""
    key = Key(owner.namespace, revision.metadata.name)
    known = store.entry(MODEL_REVISIONS, key)
    if known is not None and _is_owned(known.raw, owner):
        return
    manifest = encode.revision_object(revision, owner)
    try:
        answer = await api.create(MODEL_REVISIONS, manifest)
    except AlreadyExists:
        # a crash between the write and its answer, or a leftover that the garbage collector has not taken yet
        answer = await api.get(MODEL_REVISIONS, key)
        if not _is_owned(answer, owner):
            raise RevisionTaken(
                f"ModelRevision {key} exists and belongs to another object; delete it, or rename the ModelDeployment"
            ) from None
    store.write_through(MODEL_REVISIONS, answer)


async def write_revision_status(
    writer: StatusWriter, store: HubStore, key: Key, status: RevisionStatus, *, seen_version: str
) -> bool:
    """Write one revision's status over the version the decision has seen; Conflict when it is another by now."""
    entry = store.entry(MODEL_REVISIONS, key)
    if entry is None:
        raise Conflict("the ModelRevision is gone", call=f"PATCH {key}", code=409)
    if seen_version and str(entry.version) != seen_version:
        raise Conflict("the ModelRevision has changed", call=f"PATCH {key}", code=409)
    return await writer.write(MODEL_REVISIONS, entry, encode.revision_status(status))


async def remove_revision(api: Api, store: HubStore, key: Key) -> None:
    """Delete one revision, if it is there."""
    entry = store.entry(MODEL_REVISIONS, key)
    if entry is None:
        return
    try:
        await api.delete(MODEL_REVISIONS, key, uid=entry.uid)
    except NotFound:
        store.drop(MODEL_REVISIONS, key, uid=entry.uid)


def _is_owned(raw: Manifest, owner: Metadata) -> bool:
    references = raw["metadata"].get("ownerReferences") or ()
    return any(reference.get("uid") == owner.uid for reference in references)
