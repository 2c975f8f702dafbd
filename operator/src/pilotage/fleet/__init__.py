"""Member clusters: one supervised life each, so that a slow or dead one delays only itself.

`registry` (`Fleet`) is the door: who is a member, what each should have, what each has. `supervisor` lives with
one member, `health` asks whether it is well, `cache` follows what is ours in one of its namespaces, `syncer` makes it
what it should be, `access` turns a Secret into a way in, `link` says how we stand. Knows no plans and no rollouts.
"""
