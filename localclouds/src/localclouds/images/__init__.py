"""Images of local clouds: programs instead of container images, and a store of OCI artifacts for image
volumes.

A container image here is a *registered program*: a name, a command, and the source files whose content makes
its digest. So a reference such as `pilotage.dev/server:dev@sha256:…` says exactly which code runs, and a
changed program is another image. Image volumes come from an OCI image layout (the instance's store); `load`
copies artifacts into it, as `kind load` does.

Knows files; knows neither Kubernetes nor processes.
"""

from localclouds.images.layout import LayoutProblem, Manifest, MissingArtifact, load, resolve
from localclouds.images.programs import (
    Image,
    Program,
    PullFailed,
    names,
    programs,
    pull,
    reference,
    register,
)
from localclouds.images.reference import BadReference, Reference, parse
from localclouds.images.unpack import unpack

__all__ = [
    "BadReference",
    "Image",
    "LayoutProblem",
    "Manifest",
    "MissingArtifact",
    "Program",
    "PullFailed",
    "Reference",
    "load",
    "names",
    "parse",
    "programs",
    "pull",
    "reference",
    "register",
    "resolve",
    "unpack",
]
