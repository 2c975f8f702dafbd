"""The checks of what the guarantee rests on: labels in time, alike in both arms and for all predictions; requests
assigned by chance; classes as history knew them.

Every check is a small module with a memory of its own: ``absorbed`` adds a block, ``breaches`` says what is broken now,
with value, bound, counts, place and remedy. All scores are any-time-valid at level .001 and ask for an effect besides,
so a look more never makes an alarm, and clean data answer as if nothing were watched. A breach turns a gate's Pass
(and Fail, where the broken condition voids it: the table in ``breach``) into Inconclusive, and is withdrawn when later
evidence clears it. Knows no test, no e-value of a gate, no verdict. Source: design.md §7, statistics.md §1, §6.
"""

from pilotage.gate.conditions.breach import Breach, Condition
from pilotage.gate.conditions.watch import Conditions, Watched, absorbed, breaches, decode, encode, opened, turned

__all__ = [
    "Breach",
    "Condition",
    "Conditions",
    "Watched",
    "absorbed",
    "breaches",
    "decode",
    "encode",
    "opened",
    "turned",
]
