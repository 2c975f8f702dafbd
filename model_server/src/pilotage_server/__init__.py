"""Pilotage's model server: serves one signed bundle, and lets late labels count against its predictions.

`bundle` reads and checks what is served, `serve` answers requests, `feedback` brings labels home, `quality`
counts them, `train` makes bundles. Serving never imports `train`, and scikit-learn only where the bundle's
manifest says so.
"""

__version__ = "0.1.0"
