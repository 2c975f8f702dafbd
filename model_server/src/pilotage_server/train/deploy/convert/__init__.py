"""From a fitted pipeline to an ONNX model that computes what scikit-learn computes, in double precision.

Written for the closed list of steps a configuration can ask for, because a general converter is not exact: skl2onnx
1.20 prepares in single precision or compares doubles where scikit-learn's trees compare floats, which moved the
probabilities of a forest on digits by 0.06, and 348 of 8,600 decisions. `builder` makes nodes, `preparation`, `linear`,
`kernels`, `trees` and `calibration` say how each kind of step computes, `pipeline` puts them together. What has no
exact form raises `NoOnnx`, and scikit-learn serves.
"""

from pilotage_server.train.deploy.convert.builder import NoOnnx
from pilotage_server.train.deploy.convert.pipeline import to_onnx

__all__ = ["NoOnnx", "to_onnx"]
