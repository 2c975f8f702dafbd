"""Training: one YAML file in, one reproducible, evaluated, signed bundle out.

`run.train` reads as the pipeline: load → split → fit → evaluate → export through the parity gate → write.
Equal configuration, data, seed, libraries and signing key give equal bytes, so an equal OCI digest. This
package is an extra (`pilotage-server[train]`): the server never imports it.
"""

from __future__ import annotations

from pilotage_server.train.config import Config, ConfigError, read_config
from pilotage_server.train.run import Result, train

__all__ = ["Config", "ConfigError", "Result", "read_config", "train"]
