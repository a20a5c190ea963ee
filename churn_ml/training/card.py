"""The model card: one self-contained HTML page per model version, for people who answer for it.

`card_content` condenses what a training knows into plain data, `render_card` lays it out. The page
holds no customer's data, no script and no address; the same content gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from churn_ml.models.registration import GateResult
from churn_ml.training import card_plots
from churn_ml.training.card_curves import (
    Bin,
    Curve,
    DateRows,
    Decile,
    Distribution,
    FairnessRow,
    ProfitCurve,
    deciles,
    distribution,
    fairness_rows,
    precision_recall_points,
    profit_curve,
    reliability_bins,
    roc_points,
    rows_by_date,
)
from churn_ml.training.card_words import FORMATS, GateGroup, gate_groups, limits_of, metric_rows, verdict_of
from churn_ml.training.metrics import row_losses
from churn_ml.training.profit import BoolArray, DecisionParameters, FloatArray, acted_on

_TEMPLATE = "card.html.j2"


@dataclass(frozen=True)
class ModelFacts:
    """What a training knows about its model before any figure.

    Attributes
    ----------
    title, label_description
        The dataset and what counts as leaving, in words; the latter is left out where empty.
    parameters
        The family's hyperparameters.
    calibration, calibration_log_losses
        The chosen method, and the cross-validated log loss of each method tried, in nats.
    validation
        ``cross_sectional`` or ``out_of_time``.
    row_count, churned_count
        Of all rows that the model learned from.
    features
        Names of the columns that it reads.
    """

    dataset: str
    title: str
    label_definition: str
    family: str
    parameters: Mapping[str, Any]
    calibration: str
    calibration_log_losses: Mapping[str, float]
    validation: str
    fold_count: int
    repeat_count: int
    as_of_date: date
    known_as_of: datetime
    run_id: str
    seed: int
    training_sha256: str
    row_count: int
    churned_count: int
    features: Sequence[str]
    library_versions: Mapping[str, str]
    label_description: str = ""


@dataclass(frozen=True)
class CardContent:
    """Everything on the card, as plain data; `validated` rows are those that the figures are of."""

    facts: ModelFacts
    validated_count: int
    validated_churned_count: int
    unknown_value_count: int
    raw_log_loss: float
    calibrated_log_loss: float
    decision: DecisionParameters | None
    metrics: Mapping[str, Any]
    gates: tuple[GateResult, ...]
    candidates: Mapping[str, Mapping[str, Any]]
    importance: tuple[tuple[str, float], ...]
    contribution_method: str
    reliability_raw: tuple[Bin, ...]
    reliability: tuple[Bin, ...]
    distribution: Distribution
    roc: Curve
    precision_recall: Curve
    deciles: tuple[Decile, ...]
    profit: ProfitCurve | None
    dates: tuple[DateRows, ...]
    sensitive: tuple[str, ...]
    fairness: tuple[FairnessRow, ...]
    value_family: str | None
    value_metrics: Mapping[str, float | None]


def card_content(
    facts: ModelFacts,
    *,
    churned: BoolArray,
    raw: FloatArray,
    calibrated: FloatArray,
    monthly_values: FloatArray,
    decision: DecisionParameters | None,
    metrics: Mapping[str, Any],
    gates: Sequence[GateResult],
    candidates: Mapping[str, Mapping[str, Any]],
    importance: Mapping[str, float],
    contribution_method: str = "",
    as_of_dates: npt.NDArray[np.datetime64] | None = None,
    sensitive: Mapping[str, npt.NDArray[Any]] | None = None,
    value_family: str | None = None,
    value_metrics: Mapping[str, float | None] | None = None,
) -> CardContent:
    """Condense a training into what its card shows.

    Parameters
    ----------
    churned, raw, calibrated, monthly_values : arrays of shape (n_rows,)
        The rows that were validated on; probabilities are of pipelines that had not seen the row, of
        the first repeat. `monthly_values` is NaN where not known.
    metrics : mapping
        Flat metrics with ``_low`` and ``_high`` as `evaluate` gives them, and ``_deviation`` between
        folds where known. Other entries are not shown.
    candidates : mapping
        Family -> its metrics, that of the model included; also ``calibration``, ``trial_count`` and
        ``seconds`` where known.
    importance : mapping
        Feature -> mean absolute contribution in log-odds.
    contribution_method : str
        What a contribution is, as `Explainer.method` says.
    as_of_dates : array of shape (n_rows,), optional
        Of dated datasets.
    sensitive : mapping, optional
        Attribute -> group of each row, shape (n_rows,), as `fairness_gates` takes them.
    value_family, value_metrics : optional
        The regression of expected months retained, where the dataset has one.
    """
    groups = sensitive or {}
    acted = acted_on(calibrated, monthly_values, decision)
    return CardContent(
        facts=facts,
        validated_count=len(churned),
        validated_churned_count=int(churned.sum()),
        unknown_value_count=int(np.isnan(monthly_values).sum()),
        raw_log_loss=float(row_losses(churned, raw).mean()),
        calibrated_log_loss=float(row_losses(churned, calibrated).mean()),
        decision=decision,
        metrics=metrics,
        gates=tuple(gates),
        candidates=candidates,
        importance=tuple(sorted(importance.items(), key=lambda item: (-item[1], item[0]))),
        contribution_method=contribution_method,
        reliability_raw=reliability_bins(churned, raw),
        reliability=reliability_bins(churned, calibrated),
        distribution=distribution(churned, calibrated),
        roc=roc_points(churned, calibrated),
        precision_recall=precision_recall_points(churned, calibrated),
        deciles=deciles(churned, calibrated),
        profit=profit_curve(churned, calibrated, monthly_values, decision),
        dates=() if as_of_dates is None else rows_by_date(churned, calibrated, as_of_dates),
        sensitive=tuple(groups),
        fairness=fairness_rows(churned, calibrated, acted, groups),
        value_family=value_family,
        value_metrics=value_metrics or {},
    )


def render_card(content: CardContent, model_version: str) -> str:
    """Return the page; `model_version` is known at registration, which is when `NewModel.card` is called."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FORMATS)
    groups = gate_groups(content.gates)
    return environment.get_template(_TEMPLATE).render(
        card=content,
        facts=content.facts,
        model_version=model_version,
        verdict=verdict_of(content.gates),
        gate_groups=groups,
        fairness_gates=_by_subject(content.gates),
        leakage=_leakage(groups),
        metric_rows=metric_rows(
            content.metrics, None if content.decision is None else content.decision.currency
        ),
        candidates=_ranked(content.candidates),
        limits=limits_of(
            validation=content.facts.validation,
            unread=[name for name in content.sensitive if name not in content.facts.features],
            read=[name for name in content.sensitive if name in content.facts.features],
            unknown_value_count=content.unknown_value_count,
            candidate_count=len(content.candidates),
            has_money=content.profit is not None,
        ),
        plots=_plots(content),
    )


def _ranked(candidates: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the families, best log loss first, those without one last."""
    return sorted(
        candidates.items(),
        key=lambda item: (item[1].get("log_loss") is None, item[1].get("log_loss") or 0.0, item[0]),
    )


def _by_subject(gates: Sequence[GateResult]) -> dict[tuple[str, str], GateResult]:
    return {(gate.gate, gate.subject): gate for gate in gates if gate.gate.startswith("fairness_")}


def _leakage(groups: Sequence[GateGroup]) -> list[GateResult]:
    """Return the columns by what each tells alone, most telling first, then the shuffled labels."""
    found = {group.gate: group.results for group in groups}
    columns = sorted(
        found.get("leakage_column", ()), key=lambda gate: (-(gate.observed or 0.0), gate.subject)
    )
    return [*columns, *found.get("leakage_shuffled", ())]


def _plots(content: CardContent) -> dict[str, str]:
    base_rate = content.validated_churned_count / content.validated_count
    plots = {
        "reliability": card_plots.reliability_plot(content.reliability_raw, content.reliability),
        "distribution": card_plots.distribution_plot(content.distribution),
        "roc": card_plots.roc_plot(content.roc, content.metrics.get("roc_auc")),
        "precision_recall": card_plots.precision_recall_plot(
            content.precision_recall, base_rate, content.metrics.get("pr_auc")
        ),
        "lift": card_plots.lift_plot(content.deciles),
        "gain": card_plots.gain_plot(content.deciles),
        "candidates": card_plots.candidates_plot(_ranked(content.candidates), content.facts.family),
    }
    if content.importance:
        plots["importance"] = card_plots.importance_plot(content.importance)
    if content.profit is not None:
        plots["profit"] = card_plots.profit_plot(content.profit)
    if content.dates:
        plots["dates"] = card_plots.dates_plot(content.dates)
    return plots
