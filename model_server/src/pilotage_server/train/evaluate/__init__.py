"""How good a model is on rows it never saw, with the uncertainty of every figure.

`counts` turns confusion counts into metrics, `ranking` scores into AUC, `resample` draws bootstrap weights,
`metrics` puts values and intervals together; `calibration`, `fairness`, `curves` and `interpret` each answer one
question more; `outcome` asks them all about the served model. 0/0 is None, never 0.
"""
