"""What a collector is told: its command line as one value, and the file the operator writes.

The file (`collector.json` of the ConfigMap) is read again while the collector runs: a new `labelDelaySeconds`,
`export`, `auditRate` or `omit` acts without a restart, `windowLabels` at the next. A file that cannot be used any more
changes nothing and is logged once; at the start it is fatal.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

import orjson
import structlog

from pilotage_server.document import Document, Malformed, Section, nearest
from pilotage_server.feedback.collector.window import WINDOW_LABELS

MOST_WINDOW_LABELS: Final = 50_000
LONGEST_DELAY_S: Final = 29 * 24 * 3600
"""A day less than rows are kept: a label must mature before its row may go."""
Word = TypeVar("Word", bound=StrEnum)
_log = structlog.get_logger(__name__)


class SettingsRefused(Exception):
    """The collector cannot start like this; the text names the setting, its value and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorSettings:
    """The command line of `pilotage-server collect`; `run_collector` resolves mount paths under the pod's root."""

    config: Path
    data: Path
    key_dir: Path
    host: str
    port: int = 8090
    admin_port: int = 8091


class Export(StrEnum):
    """Counters that gates ask for beyond the confusion matrix."""

    SCORES = "scores"
    """100 series per class, kept only when asked for."""
    LOSS = "loss"
    """Three series per revision, shown whether asked for or not."""
    AUDIT = "audit"
    """As many series as the matrix."""


class Omit(StrEnum):
    """Metrics for people that cost series; what gates read cannot be left out."""

    QUALITY = "quality"
    COHORTS = "cohorts"
    CONFUSION = "confusion"
    SCORES = "scores"
    """`model_score_outcomes_total` only."""
    SLICES = "slices"


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorConfig:
    """The file: which model in which cluster, and how old a prediction must be to be counted, in s.

    `export`: counters that gates ask for. `audit_rate`: the share of requests that pods pick for labelling.
    `omit`: metrics for people that nobody wants. `window`: the labels `model_quality` is made of.
    """

    model: str
    namespace: str
    cluster: str
    label_delay_s: float
    export: frozenset[Export] = frozenset()
    audit_rate: float = 0.0
    omit: frozenset[Omit] = frozenset()
    window: int = WINDOW_LABELS

    def omits(self, metrics: Omit) -> bool:
        """Whether nobody wants these."""
        return metrics in self.omit

    def shows(self, wanted: Export) -> bool:
        """Whether these counters are to be shown."""
        return wanted in self.export or (wanted is Export.AUDIT and self.audit_rate > 0)

    @property
    def label_delay_ms(self) -> int:
        """The delay in whole ms."""
        return round(self.label_delay_s * 1000)


class ConfigFile:
    """The file and its last usable content, `current`."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises `SettingsRefused`."""
        self._path = path
        self._content = _read(path)
        self._refusal = ""
        self.current = _parse(path, self._content)

    def refresh(self) -> None:
        """Read the file again; keep what is in force when it is unreadable, wrong, or about another model."""
        try:
            content = _read(self._path)
            if content != self._content:
                self._change(content)
        except SettingsRefused as error:
            if str(error) != self._refusal:
                _log.error("collector.config_refused", error=str(error))
            self._refusal = str(error)
        else:
            self._refusal = ""

    def _change(self, content: bytes) -> None:
        config, before = _parse(self._path, content), self.current
        if (config.model, config.namespace, config.cluster) != (before.model, before.namespace, before.cluster):
            raise SettingsRefused(f"{self._path}: model, namespace or cluster changed; start another collector for it")
        _log.info(
            "collector.config_changed",
            label_delay_s=config.label_delay_s,
            before_s=before.label_delay_s,
            export=sorted(config.export),
            audit_rate=config.audit_rate,
        )
        self.current, self._content = config, content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsRefused(
            f"--config {path}: {error.strerror}; mount the ConfigMap of the collector there"
        ) from error


def _parse(path: Path, content: bytes) -> CollectorConfig:
    try:
        document = Document(orjson.loads(content))
        root = document.root
        config = CollectorConfig(
            model=root.text("model", pattern=".+", longest=63),
            namespace=root.text("namespace", pattern=".+", longest=63),
            cluster=root.text("cluster", pattern=".+", longest=63),
            label_delay_s=root.number("labelDelaySeconds", low=0, high=LONGEST_DELAY_S),
            export=_words(root, "export", Export),
            audit_rate=root.number("auditRate", 0.0, low=0, high=1),
            omit=_words(root, "omit", Omit),
            window=root.integer("windowLabels", WINDOW_LABELS, low=0, high=MOST_WINDOW_LABELS),
        )
        document.finish()
    except (orjson.JSONDecodeError, Malformed) as error:
        raise SettingsRefused(f"--config {path}: {error}") from error
    return config


def _words(root: Section, key: str, closed: type[Word]) -> frozenset[Word]:
    words = root.items(key, (), longest=16)
    known = {one.value for one in closed}
    for word in words:
        if word not in known:
            root.mistake(key, f"{str(word)[:60]!r}; {nearest(str(word), sorted(known))}")
    return frozenset(closed(word) for word in words if word in known)
