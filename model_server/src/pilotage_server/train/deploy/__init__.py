"""From a fitted model to what a cluster runs: the exact backend, the bundle's files, the ModelDeployment.

`export` puts ONNX through the parity gate, `bundle` puts a manifest together, `write` leaves everything on disk,
`needs` says how many labels a gate will take, `modeldeployment` derives gates and writes the manifest.
"""
