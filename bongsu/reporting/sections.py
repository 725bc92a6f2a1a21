"""What the report of a run shows: the page draws it, `run` collects it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bongsu.corpus.stored import CorpusReport
from bongsu.evaluation.bootstrap import Comparison, PairedDifference
from bongsu.evaluation.calibration import CalibrationErrors, Reliability
from bongsu.evaluation.metrics import ClassificationMetrics, ThresholdCurve
from bongsu.evaluation.operating import OperatingPoint
from bongsu.evaluation.repeats import Repeats
from bongsu.evaluation.robustness import FlipCount
from bongsu.pretraining.masked_lm import Sample
from bongsu.reporting.charts import Log
from bongsu.reporting.groups import Groups
from bongsu.tasks.task import Table


class ShadedWord(NamedTuple):
    """A word of an explained message."""

    text: str
    weight: float
    share: float
    """Size of the weight, relative to the largest of the text."""


@dataclass(frozen=True)
class Mistake:
    """A wrong answer."""

    row: int
    text: str
    label: str
    predicted: str
    probability: float
    """Of the predicted class."""
    words: Sequence[ShadedWord] = ()
    """What drove the answer."""


@dataclass(frozen=True)
class Fold:
    """Accuracy in a fold."""

    fold: int
    """From 1."""
    rows: int
    accuracy: float
    f1: float
    epochs: float
    """After how many its model was best."""


@dataclass(frozen=True)
class Scores:
    """Probabilities of the positive class."""

    labels: list[int]
    probabilities: list[float]


@dataclass(frozen=True)
class ClassificationSection:
    """A classifier and its baselines, measured on the same rows."""

    names: list[str]
    """Of the classes."""
    protocol: str
    model: ClassificationMetrics
    baselines: dict[str, ClassificationMetrics] = field(default_factory=dict)
    baseline: str = ""
    """The baseline that everything is compared with."""
    difference: PairedDifference | None = None
    """Of the model to this baseline."""
    compared: dict[str, PairedDifference] = field(default_factory=dict)
    """Of the other baselines to this one."""
    reliability: Reliability | None = None
    scores: Scores | None = None
    """With two classes."""
    thresholds: ThresholdCurve | None = None
    """With two classes."""
    repeats: Repeats | None = None
    repeats_difference: PairedDifference | None = None
    """Of the mean over seeds to the baseline."""
    calibration: CalibrationErrors | None = None
    operating: Sequence[OperatingPoint] = ()
    mistakes: Sequence[Mistake] = ()
    groups: Sequence[Groups] = ()
    robustness: Sequence[FlipCount] = ()
    folds: Sequence[Fold] = ()
    curves: Sequence[Log] = ()


@dataclass(frozen=True)
class TaskSection:
    """A model of another kind of task and its baselines, measured on the same rows."""

    protocol: str
    rows: int
    metrics: list[tuple[str, str]]
    """Name and title."""
    models: dict[str, dict[str, float]]
    """Metrics by name, of this model and of each baseline."""
    comparisons: dict[str, Comparison]
    """Of this model with each baseline, by the main metric."""
    tables: list[Table]


@dataclass(frozen=True)
class Pretraining:
    """The curves of pre-training."""

    metrics: Log
    final: Mapping[str, float] = field(default_factory=dict)
    """The last evaluation."""


class StageTime(NamedTuple):
    """How long a stage took."""

    name: str
    seconds: float


@dataclass
class Report:
    """Everything on the page; sections without data are left out."""

    name: str
    language: str = "en"
    """ "en" or "ko"."""
    created: str = ""
    verdict: str = ""
    summary: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stages: list[StageTime] = field(default_factory=list)
    corpus: CorpusReport | None = None
    tokenizer: Mapping[str, float] = field(default_factory=dict)
    """`tokenizer_report.json`."""
    model: Mapping[str, object] = field(default_factory=dict)
    """The encoder's configuration, and `parameters`."""
    pretrain: Pretraining | None = None
    samples: Sequence[Sample] = ()
    classification: ClassificationSection | None = None
    test: ClassificationSection | None = None
    task: TaskSection | None = None
    task_test: TaskSection | None = None
    recipe: str = ""
    """As TOML."""
    reproduce: list[str] = field(default_factory=list)
    """Commands."""
    versions: dict[str, str] = field(default_factory=dict)
