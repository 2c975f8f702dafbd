"""Which way of training is best: tuned on inner folds, compared on outer ones, never on test rows.

`score` is the yardstick, `space` lists or draws hyperparameters, `tune` finds the best on some rows, `compare` runs
the nested cross-validation of all variants beside a dummy, `choose` picks one and says how sure that is.
"""
