"""Training: one YAML file in, one reproducible, evaluated, signed bundle out.

`config.read_config` reads the file, `run.train` is the pipeline: load → check → split → select and fit → export
through the parity gate → open the test rows → evaluate → write. Equal configuration, data, seed, libraries and
signing key give equal bytes, so an equal OCI digest. This package is an extra (`pilotage-server[train]`): the server
never imports it. It re-exports nothing, because scikit-learn takes seconds to import and most commands of
`pilotage-model` do without it.
"""
