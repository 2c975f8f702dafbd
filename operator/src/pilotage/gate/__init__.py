"""The gate: counts in, verdict out.

A gate asks the evidence one question: does the canary's precision, recall or accuracy stay above a floor, and not
more than a margin below stable's? Every look multiplies two scores of evidence. We promote when the data would be
``1/alpha`` times more surprising for a model that breaks the gate; we roll back when the mirrored score says so.
Both hold however often anyone looks.

``Analysis.from_spec`` decodes ``spec.gates`` and ``spec.analysis``; ``start`` opens a wave, ``update`` takes blocks of
matured counts, ``verdict`` says what they mean. Pure: no I/O, no clock, no logging, standard library only; states are
immutable JSON. The mathematics with sources, and the guarantee with its conditions: ``docs/gate.md``.
"""

from pilotage.gate.analysis import Analysis
from pilotage.gate.blocks import BlockError
from pilotage.gate.spec import AnalysisSpec, Average, GateSpec, GateSpecError, Labels, Metric, Mode, Problem
from pilotage.gate.state import State
from pilotage.gate.verdict import GateVerdict, Outcome, Verdict

__all__ = [
    "Analysis",
    "AnalysisSpec",
    "Average",
    "BlockError",
    "GateSpec",
    "GateSpecError",
    "GateVerdict",
    "Labels",
    "Metric",
    "Mode",
    "Outcome",
    "Problem",
    "State",
    "Verdict",
]
