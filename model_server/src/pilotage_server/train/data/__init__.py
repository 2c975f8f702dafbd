"""From a source to rows that may be trained with: load, check, split.

`load` reads data sets of scikit-learn, CSV and Parquet into a `Table`; `quality` looks for what would make a
figure lie and `leakage` for columns that know the answer; `split` keeps training and test rows apart, and
`sealed` hands out the test rows once.
"""

from __future__ import annotations

from pilotage_server.train.data.load import load
from pilotage_server.train.data.table import Column, Table

__all__ = ["Column", "Table", "load"]
