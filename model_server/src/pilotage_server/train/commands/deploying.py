"""`pilotage-model advise`, `manifest` and `report`: what to gate on, the ModelDeployment, the page for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from pilotage_server.train.advice import Advice, Use, advise
from pilotage_server.train.commands.ending import Exit, fail, refusals
from pilotage_server.train.config.types import Costs

_Run = Annotated[Path, typer.Argument(help="Folder of a training run (holds result.json).")]


def advise_command(
    data: Annotated[Path, typer.Argument(help="CSV file with a header line, or a Parquet file.")],
    target: Annotated[str, typer.Option(help="Column of the classes.")],
    costs: Annotated[Path | None, typer.Option(help="YAML: {actual: {predicted: cost}}.")] = None,
    use: Annotated[Use, typer.Option(help="What the answers are for.")] = Use.GENERAL,
) -> None:
    """Say which metrics to gate on for some data, and why; prints the matching gates as YAML on stdout.

    Exit codes: 0 said, 2 usage.

    Example: pilotage-model advise loans.csv --target defaulted --costs costs.yaml --use screening
    """
    from pilotage_server.train.config import ConfigError, File
    from pilotage_server.train.data.files import read_file
    from pilotage_server.train.data.parse import check_labels
    from pilotage_server.train.data.table import order_classes

    with refusals():
        kind = "parquet" if data.suffix == ".parquet" else "csv"
        source = File(path=data, target=target, format=kind)
        cells = read_file(source)
        if target not in cells:
            raise ConfigError(f"--target: {target!r} is no column of {data}; columns: {', '.join(cells)}")
        check_labels(source, cells[target])
        classes, _, labels = order_classes(cells[target])
        counts = {label: int((labels == i).sum()) for i, label in enumerate(classes)}
        prices = _costs(costs, classes)
        counsel = advise(counts, prices, use)
    total = sum(counts.values())
    say = [f"{data.name}: {total} rows, {len(classes)} classes"]
    say += [f"  {label}: {count} ({count / total:.1%})" for label, count in counts.items()]
    say += ["", "Gate on:"]
    say += [f"  {one.title}: {one.reason}." for one in counsel.gates]
    say += ["", f"Select models by {counsel.select_by}: {counsel.select_reason}."]
    say += [f"Beware: {warning}." for warning in counsel.warnings]
    print("\n".join(say), file=sys.stderr)
    gates = [_gate(one, counts, prices) for one in counsel.gates]
    print(f"# search.metric: {counsel.select_by}")
    print("# Margins no finer than these rows could tell; pilotage-model manifest sets bounds from a test set.")
    print(yaml.safe_dump({"gates": gates}, sort_keys=False, allow_unicode=True), end="")


def _gate(one: Advice, counts: Mapping[str, int], costs: Costs) -> dict[str, Any]:
    """A gate as it stands in a ModelDeployment."""
    from pilotage_server.train.deploy.gates import gate_name
    from pilotage_server.train.deploy.margins import first_margin

    gate: dict[str, Any] = {"name": gate_name(one), "metric": one.metric}
    gate |= {"class": one.label} if one.label else {}
    gate |= {"average": one.average} if one.average else {}
    if one.metric == "expectedCost":
        gate["costs"] = {actual: dict(row) for actual, row in costs.items()}
    return gate | {"margin": first_margin(one, counts, costs)}


def _costs(path: Path | None, classes: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Read costs and hold them against the classes; raises `ConfigError`."""
    if path is None:
        return {}
    from pilotage_server.document import Document, Malformed
    from pilotage_server.train.config import ConfigError
    from pilotage_server.train.config.read_rules import read_costs
    from pilotage_server.train.search.decision import cost_matrix

    try:
        document = Document({"costs": yaml.safe_load(path.read_text(encoding="utf-8"))})
        costs = {actual: dict(row) for actual, row in read_costs(document.root).items()}
        document.finish()
    except (OSError, yaml.YAMLError, Malformed) as error:
        raise ConfigError(f"--costs {path}: {error}") from error
    cost_matrix(costs, classes)
    return costs


def manifest_command(
    run: _Run,
    server_image: Annotated[str, typer.Option(help="Image of the model server.")] = "pilotage.dev/server:dev",
    name: Annotated[str | None, typer.Option(help="Name of the ModelDeployment; the model's own by default.")] = None,
    namespace: Annotated[str, typer.Option(help="Its namespace.")] = "models",
    use: Annotated[Use, typer.Option(help="What the answers are for.")] = Use.GENERAL,
    prevalence: Annotated[
        str | None, typer.Option(help="Class frequencies in production: fraud=0.02,ok=0.98. Precision floors need it.")
    ] = None,
    labels_per_day: Annotated[
        float, typer.Option(help="Labels a day that a wave's traffic yields, for the plan.")
    ] = 0.0,
    label_delay: Annotated[str, typer.Option(help="How long labels take, such as 10m or 24h.")] = "10m",
    weights: Annotated[str, typer.Option(help="Canary weights, ascending.")] = "10,50",
    alpha: Annotated[float, typer.Option(help="Chance at most that a model which breaks a gate is promoted.")] = 0.05,
) -> None:
    """Write a ready ModelDeployment for a run: gates out of its test set, and how many labels they will take.

    Exit codes: 0 written, 2 usage.

    Example: pilotage-model manifest build/digits --server-image registry.example.com/server@sha256:… > digits.yaml
    """
    from pilotage_server.train.config import ConfigError
    from pilotage_server.train.deploy.gates import Setting, plan_gates
    from pilotage_server.train.deploy.modeldeployment import Wishes, render

    document = read_result(run)
    with refusals():
        try:
            steps = tuple(int(weight) for weight in weights.split(","))
            shares = None if prevalence is None else _shares(prevalence)
        except ValueError as error:
            raise ConfigError("--weights and --prevalence: write 10,50 and fraud=0.02,ok=0.98") from error
        if not 0 < alpha <= 0.5 or sorted(set(steps)) != list(steps) or not all(0 < step < 100 for step in steps):
            raise ConfigError("--weights: ascending whole numbers from 1 to 99; --alpha: in (0, 0.5]")
        counts = dict(zip(document["classes"], document["data"]["classRows"], strict=True))
        counsel = advise(counts, document["costs"], use, hardest=_hardest(document))
        setting = Setting(canary_share=steps[-1] / 100, alpha=alpha, prevalence=shares, costs=document["costs"])
        gates = plan_gates(document, counsel.gates, setting)
    wishes = Wishes(
        name=name or document["name"],
        namespace=namespace,
        image=server_image,
        label_delay=label_delay,
        weights=steps,
        alpha=alpha,
        labels_per_day=labels_per_day,
    )
    print(render(document, gates, wishes), end="")


def _shares(text: str) -> dict[str, float]:
    return {label.strip(): float(share) for label, share in (part.split("=") for part in text.split(","))}


def _hardest(document: dict[str, Any]) -> str | None:
    """The class the test rows say is found least."""
    known = {
        k: v["recall"]["value"] for k, v in document["metrics"]["perClass"].items() if v["recall"]["value"] is not None
    }
    return min(known, key=lambda label: known[label]) if known else None


def report_command(
    run: _Run,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.html and model_card.md; the run's by default.")
    ] = None,
) -> None:
    """Write the report and the model card of a run anew, out of its result.json.

    The bundle keeps those it was signed with. Exit codes: 0 written, 2 no result of this version of the trainer.

    Example: pilotage-model report build/iris --out build/pages
    """
    from pilotage_server.train.report.card import render_card
    from pilotage_server.train.report.page import render_report

    document = read_result(run)
    try:
        pages = {"report.html": render_report(document), "model_card.md": render_card(document)}
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        fail(f"{run}: result.json is not as this version writes it ({error!r}); train again", Exit.USAGE)
    folder = out or run
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for page, content in pages.items():
            (folder / page).write_text(content, encoding="utf-8")
            print(folder / page)
    except OSError as error:
        fail(f"--out {folder}: cannot be written ({error.strerror})", Exit.USAGE)


def read_result(run: Path) -> dict[str, Any]:
    """Read result.json of a run, or end with a usage error."""
    try:
        found: dict[str, Any] = json.loads((run / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        fail(
            f"{run}: holds no result.json of a finished run; name the --out folder of pilotage-model train", Exit.USAGE
        )
    return found
