"""The contract with users: what the CRDs say, as frozen values, and the words that travel in labels and conditions.

`types` are the values, `decode` and `encode` turn API objects into them and back, `reasons` is the closed list behind
every condition and event, `names` the labels and annotations, `revision` what makes a revision. `crds/*.yaml` at the
root of the repository is the truth; a parity test walks schema and types together.

Pure: no I/O, no clock, no logging. Knows `pilotage.gate`'s spec only as JSON that passes through.
"""
