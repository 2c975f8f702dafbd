"""The hub: what we know of our own objects there, and everything we write to it.

`store` is the cache of the three kinds, fed by `handlers` (kopf) in production and by informers in the simulation;
`keys` proves that the cache is complete and not blind. `status`, `revisions`, `finalizer` and `events` are the writes,
each guarded by a resourceVersion or a deterministic name. `secrets` reads Secrets of the operator's own namespace.
"""
