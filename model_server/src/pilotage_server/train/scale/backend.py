"""Where the many small fits of a comparison run: here, in processes, on a dask or a ray cluster.

joblib hands them out; what is fitted and how it is judged stays the same, and so do the chosen model and its bytes,
because each fit is a function of its rows and seed alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from joblib import parallel_config

from pilotage_server.train.config import ConfigError

BACKENDS = ("local", "processes", "dask", "ray")


@contextmanager
def running_backend(name: str, scheduler: str | None, jobs: int = -1) -> Iterator[int]:
    """Give the number of fits at a time, for as long as the backend stands; raises `ConfigError`."""
    match name:
        case "local":
            yield 1
        case "processes":
            # One thread each, as in this process: sums keep one order, and cores are not asked for twice.
            with parallel_config(backend="loky", inner_max_num_threads=1):
                yield jobs
        case "dask":
            with _dask(scheduler):
                yield -1
        case "ray":
            with _ray(scheduler):
                yield -1
        case _:
            raise ConfigError(f"--backend {name}: unknown; one of {', '.join(BACKENDS)}")


@contextmanager
def _dask(scheduler: str | None) -> Iterator[None]:
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError("--backend dask: needs dask; install pilotage-server[train,dask]") from error
    if scheduler is None:
        raise ConfigError("--backend dask: needs --scheduler, such as tcp://scheduler:8786")
    try:
        client = Client(scheduler, timeout=10, set_as_default=True)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise ConfigError(f"--scheduler {scheduler}: cannot be reached ({error}); check address and network") from error
    with client, parallel_config(backend="dask"):
        yield


@contextmanager
def _ray(scheduler: str | None) -> Iterator[None]:
    try:
        import ray  # type: ignore[import-not-found,unused-ignore]
        from ray.util.joblib import register_ray  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise ConfigError("--backend ray: needs ray; install pilotage-server[train,ray]") from error
    try:
        ray.init(address=scheduler, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:
        raise ConfigError(f"--scheduler {scheduler}: cannot be reached ({error}); check address and network") from error
    try:
        register_ray()
        with parallel_config(backend="ray"):
            yield
    finally:
        ray.shutdown()
