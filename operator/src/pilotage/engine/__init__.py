"""The loop: keys wait in `queue`, `workers` take them, `reconciler` gathers, decides and acts.

`gather` reads caches only and awaits nothing; `act` carries a decision out in the one order that survives a crash
between any two steps; `readings` asks Prometheus and keeps the answers. What to do is decided by `plan`, never here.
"""
