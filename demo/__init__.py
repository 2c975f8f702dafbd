"""The main job, end to end: `python -m demo` (or `make demo`).

Four local clouds, three digits classifiers, one operator: v1 is promoted everywhere, v2 goes through its waves, v3
comes back, and without labels nothing is promoted. `story` is the order of events, `plan` has every number, `setup`
makes the clouds ready, `load` is the traffic (a process of its own), `ledger` what it knows to be true, `report` what
is shown.
"""
