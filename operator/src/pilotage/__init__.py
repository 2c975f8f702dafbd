"""Pilotage's operator and command line: one classifier, every cluster, gated on counted outcomes.

One fact flows one way: `evidence` reads Prometheus, `gate` judges counts, `plan` decides, `engine` carries it out
through `hub` (our own objects) and `fleet` (the members), both on `kube`. `api` is the contract with users, `cli` their
command line, `app` puts the parts together. `make check` holds the import arrows.
"""
