"""Member clusters: one supervised life each, so that a slow or dead one delays only itself.

`registry` (`Fleet`) is the door: who is a member, what each should have, what each has. `supervisor` connects and
probes one member, `cache` follows what is ours in one of its namespaces, `syncer` makes it what it should be, `access`
turns a Secret into a client, `link` says how we stand with a member. Nothing here knows plans or rollouts.
"""
