"""Our server beside MLServer, in one run: requests per second, latency, CPU per request, memory, time to ready.

Run: python -m benchmarks.server [--rounds 3] [--seconds 2] [--models lr forest]. Each server runs with its own pinned
packages and no others (ours with those of its image), installed once below the user's cache; MLServer in-process, its
fastest form. Both serve the same scikit-learn pipeline on digits and answer class probabilities in V2 JSON. Ours has
everything on: signed tokens with probabilities, counters, input bins, validation. Servers run on the first core, the
load on the last; rounds alternate; ratios are medians of ratios within a round. Then requests of 32 rows, with and
without tokens. Exits 1 when a bar of the project is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import joblib
import yaml
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import environments

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
CONNECTIONS: Final = (1, 16, 64)
ROWS: Final = 32
ESTIMATORS: Final[Mapping[str, Mapping[str, Any]]] = {
    "lr": {"estimator": "logistic-regression"},
    "forest": {"estimator": "random-forest", "params": {"n_estimators": 100}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server to start: its command, where it answers and listens, and what it needs in the environment."""

    name: str
    command: Sequence[str]
    path: str
    port: int
    ready_path: str
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One measurement of one target."""

    rate: float
    p50_ms: float
    p99_ms: float
    failed: int
    cpu_ms: float


def main() -> int:
    """Measure, print, and tell whether the bars hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--models", nargs="*", default=list(ESTIMATORS), choices=list(ESTIMATORS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        load = _build_load(folder)
        bodies = _bodies(folder, 1)
        missed: list[str] = []
        for model in arguments.models:
            targets = _targets(folder, model)
            missed += _compare(model, targets, load, bodies, arguments)
            if model == "lr":
                missed += _weigh(targets[0], load, _bodies(folder, ROWS), arguments)
    for line in missed:
        print(f"MISSED {line}")
    return 1 if missed else 0


def _compare(
    model: str, targets: Sequence[Target], load: Path, bodies: Path, arguments: argparse.Namespace
) -> list[str]:
    cells: dict[tuple[str, int], list[Cell]] = {}
    sizes: dict[str, list[tuple[float, float]]] = {}
    for target in targets:  # once for nothing: Python compiles what was installed just now
        with _running(target):
            pass
    for number in range(arguments.rounds):
        for target in targets if number % 2 == 0 else targets[::-1]:
            with _running(target) as (pid, ready_s):
                for connections in CONNECTIONS:
                    cell = _measure(target, load, bodies, connections, arguments.seconds, pid)
                    cells.setdefault((target.name, connections), []).append(cell)
                sizes.setdefault(target.name, []).append((_pss_mb(pid), ready_s))
    return _report(model, cells, sizes)


def _weigh(ours: Target, load: Path, bodies: Path, arguments: argparse.Namespace) -> list[str]:
    """What tokens and counters of labels to come add to requests of many rows."""
    at = ours.command.index("--feedback-key-dir")
    bare = replace(ours, command=[*ours.command[:at], *ours.command[at + 2 :]])
    times: dict[str, list[float]] = {"full": [], "bare": []}
    for _ in range(arguments.rounds):
        for name, target in (("full", ours), ("bare", bare)):
            with _running(target) as (pid, _):
                times[name].append(_measure(target, load, bodies, 16, arguments.seconds, pid).cpu_ms)
    full, least = (statistics.median(times[name]) for name in ("full", "bare"))
    print(f"\npilotage: {full:.3f} ms CPU a request of {ROWS} rows, {least:.3f} without tokens and gate counters")
    loss = full / least
    return [] if loss <= 1.3 else [f"lr: tokens and counters make {ROWS} rows {loss:.2f} times as dear, 1.3 allowed"]


def _report(
    model: str, cells: Mapping[tuple[str, int], Sequence[Cell]], sizes: Mapping[str, Sequence[tuple[float, float]]]
) -> list[str]:
    print(f"\n{model}: 1 row of 64 features a request\n")
    print("| server | connections | requests/s | p50 ms | p99 ms | CPU ms a request | failed | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    ratios: dict[int, float] = {}
    for (name, connections), found in sorted(cells.items()):
        twins = cells["mlserver", connections]
        ratio = statistics.median(ours.rate / theirs.rate for ours, theirs in zip(found, twins, strict=True))
        if name == "pilotage":
            ratios[connections] = ratio
        middle = {key: statistics.median(getattr(cell, key) for cell in found) for key in ("rate", "p50_ms", "p99_ms")}
        cpu, failed = statistics.median(cell.cpu_ms for cell in found), sum(cell.failed for cell in found)
        print(
            f"| {name} | {connections} | {middle['rate']:,.0f} | {middle['p50_ms']:.2f} | {middle['p99_ms']:.2f} "
            f"| {cpu:.3f} | {failed} | {ratio:.1f} |"
        )
    ours = sizes["pilotage"]
    pss, ready = statistics.median(size for size, _ in ours), statistics.median(taken for _, taken in ours)
    print(f"\npilotage: PSS {pss:.0f} MB after the load, ready after {ready:.2f} s (start of the process to ready)")
    p99 = statistics.median(cell.p99_ms for cell in cells["pilotage", 16])
    cpu = statistics.median(cell.cpu_ms for cell in cells["pilotage", 64])
    floor = 10 if model == "lr" else 40
    bars = {
        f"{model}: {ratios[64]:.1f} times MLServer at 64 connections, {floor} wanted": ratios[64] >= floor,
        f"{model}: p99 {p99:.2f} ms at 16 connections, 5 allowed": p99 <= 5,
    }
    if model == "lr":
        bars |= {
            f"lr: CPU {cpu:.3f} ms a request, 0.06 allowed": cpu <= 0.06,
            f"lr: PSS {pss:.0f} MB, 80 allowed": pss <= 80,
            f"lr: ready after {ready:.2f} s, 0.5 allowed": ready <= 0.5,
        }
    return [text for text, holds in bars.items() if not holds]


def _targets(folder: Path, model: str) -> tuple[Target, ...]:
    rows = load_digits()
    pipeline: Any = LogisticRegression(max_iter=1000) if model == "lr" else RandomForestClassifier(100, random_state=1)
    if model == "lr":
        pipeline = make_pipeline(StandardScaler(), pipeline)
    theirs = folder / f"{model}-mlserver"
    theirs.mkdir()
    joblib.dump(pipeline.fit(rows.data, rows.target), theirs / "model.joblib")
    port, admin, http, rpc, metrics = _free_ports(5)
    served = {"host": "127.0.0.1", "http_port": http, "grpc_port": rpc, "metrics_port": metrics}
    (theirs / "settings.json").write_text(json.dumps({**served, "parallel_workers": 0, "debug": False}))
    settings = {"name": "digits", "implementation": "mlserver_sklearn.SKLearnModel"}
    (theirs / "model-settings.json").write_text(json.dumps({**settings, "parameters": {"uri": "./model.joblib"}}))
    bundle = _our_bundle(folder, model)
    keys = folder / "keys"
    keys.mkdir(exist_ok=True)
    (keys / "k1").write_bytes(bytes(range(32)))
    path = "/v2/models/digits/infer"
    serve = ["serve", "--bundle", str(bundle), "--allow-unsigned", "--port", str(port), "--admin-port", str(admin)]
    serve += ["--feedback-key-dir", str(keys)]
    ours, our_env = environments.command("server", ["-c", "from pilotage_server.cli import main; main()", *serve])
    our_paths = os.pathsep.join((our_env["PYTHONPATH"], str(ROOT / "model_server" / "src")))
    theirs_command = ["-c", "from mlserver.cli import main; main()", "start", str(theirs)]
    mlserver, their_env = environments.command("mlserver", theirs_command)
    return (
        Target(
            name="pilotage",
            command=ours,
            path=path,
            port=port,
            ready_path="/v2/health/ready",
            env={
                **our_env,
                "PYTHONPATH": our_paths,
                "PILOTAGE_CLUSTER": "bench",
                "PILOTAGE_MODEL": "digits",
                "OMP_NUM_THREADS": "1",
            },
        ),
        Target(
            name="mlserver",
            command=mlserver,
            path=path,
            port=http,
            ready_path="/v2/models/digits/ready",
            env={**their_env, "OMP_NUM_THREADS": "1"},
        ),
    )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _our_bundle(folder: Path, model: str) -> Path:
    config = {"name": "digits", "data": {"dataset": "digits"}, "split": {"seed": 7}, "model": ESTIMATORS[model]}
    written = folder / f"{model}.yaml"
    written.write_text(yaml.safe_dump(config))
    trainer = Path(sys.executable).with_name("pilotage-model")
    out = folder / f"{model}-run"
    subprocess.run([str(trainer), "train", str(written), "--out", str(out)], check=True, capture_output=True)
    return out / "bundle"


@contextlib.contextmanager
def _running(target: Target) -> Iterator[tuple[int, float]]:
    """Start a server on the first core; its pid and the seconds until it said ready."""
    started = time.monotonic()
    process = subprocess.Popen(
        ["taskset", "-c", "0", *target.command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=target.env,
    )
    try:
        ready = f"http://127.0.0.1:{target.port}{target.ready_path}"
        while not _answers(ready):
            if process.poll() is not None or time.monotonic() - started > 60:
                raise SystemExit(f"{target.name} did not start: {' '.join(target.command)}")
            time.sleep(0.005)
        yield process.pid, time.monotonic() - started
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as response:  # noqa: S310  an address of this file
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _measure(target: Target, load: Path, bodies: Path, connections: int, seconds: float, pid: int) -> Cell:
    last = str((os.cpu_count() or 1) - 1)
    command = ["taskset", "-c", last, str(load), "-address", f"127.0.0.1:{target.port}", "-path", target.path]
    command += ["-bodies", str(bodies), "-connections", str(connections)]
    subprocess.run([*command, "-seconds", "0.3"], check=True, capture_output=True)
    before = _cpu_s(pid)
    said = json.loads(subprocess.run([*command, "-seconds", str(seconds)], check=True, capture_output=True).stdout)
    used = _cpu_s(pid) - before
    return Cell(
        rate=said["rate"],
        p50_ms=said["p50_ms"],
        p99_ms=said["p99_ms"],
        failed=said["failed"],
        cpu_ms=used / max(said["requests"], 1) * 1000,
    )


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this kernel tells no PSS")


def _build_load(folder: Path) -> Path:
    subprocess.run(["go", "build", "-o", str(folder / "load"), "."], cwd=HERE / "load", check=True)
    return folder / "load"


def _bodies(folder: Path, rows: int) -> Path:
    """A file of 32 requests of so many rows, one a line."""
    pixels, lines = load_digits().data, []
    for n in range(32):
        data = [float(value) for value in pixels[n : n + rows].reshape(-1)]
        tensor = {"name": "input", "datatype": "FP64", "shape": [rows, 64], "data": data}
        lines.append(json.dumps({"inputs": [tensor], "outputs": [{"name": "predict_proba"}]}, separators=(",", ":")))
    written = folder / f"bodies-{rows}"
    written.write_text("\n".join(lines))
    return written


if __name__ == "__main__":
    raise SystemExit(main())
