"""Which way of training this run takes, and by which rule it decides; never a look at test rows.

`select` is the whole of it. `score` is the yardstick, `space` lists or draws hyperparameters, `tune` finds the best on
inner folds, `enough` says how many rows that takes, `compare` runs the nested cross-validation of all variants beside
a dummy, `choose` picks one and says how sure that is, `decision` finds threshold or costs out of fold; `fits` hands the
work out.
"""
