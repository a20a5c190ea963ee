"""Forward folds: nothing is learned from a label that was still open on the validation date."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import cross_val_score

from churn_ml.errors import TrainingError
from churn_ml.features.contract import FeatureContract
from churn_ml.training.dated_panel import DatedPanel
from churn_ml.training.folds import ForwardFold, ForwardFolds, LabelSpans
from churn_ml.training.panel import Panel
from churn_ml.training.validation import (
    calibrate_splits,
    customer_groups,
    customer_splits,
    fold_of_rows,
    plan_splits,
)

SPANS = LabelSpans(gap_days=7, horizon_days=30, grace_days=7, late_allowance_days=3)
MONTH_ENDS = [date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30), date(2026, 5, 31)]
days = st.dates(date(2020, 1, 1), date(2030, 12, 31))
spans = st.builds(LabelSpans, st.integers(0, 40), st.integers(1, 120), st.integers(0, 40), st.integers(0, 10))


def rows_of(dates: list[date], each: int = 3) -> np.ndarray:
    return np.repeat(np.array(dates, "datetime64[D]"), each)


def test_month_ends_are_purged_by_gap_horizon_and_grace() -> None:
    folds = ForwardFolds(SPANS).folds(rows_of(MONTH_ENDS))
    found = {fold.validation_date: fold.training_dates for fold in folds}
    assert found == {
        date(2026, 3, 31): (date(2026, 1, 31),),
        date(2026, 4, 30): (date(2026, 1, 31), date(2026, 2, 28)),
        date(2026, 5, 31): (date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31)),
    }


def test_a_window_may_close_with_the_last_second_of_the_validation_date() -> None:
    first = date(2026, 3, 31)
    last = first + timedelta(days=SPANS.closing_days)
    assert SPANS.closes_on(first) == last
    assert ForwardFolds(SPANS).folds(rows_of([first, last]))[0].training_dates == (first,)
    with pytest.raises(TrainingError, match="found 2 dates from 2026-03-31 to 2026-05-13"):
        ForwardFolds(SPANS).folds(rows_of([first, last - timedelta(days=1)]))


def test_the_newest_dates_are_validated_on() -> None:
    years = [date(2026, 1, 1) + timedelta(days=60 * n) for n in range(9)]
    folds = ForwardFolds(SPANS).folds(rows_of(years))
    assert [(fold.fold, fold.validation_date) for fold in folds] == list(enumerate(years[-4:]))
    assert ForwardFolds(SPANS, most_folds=2).get_n_splits(rows_of(years)) == 2


@given(dates=st.lists(days, min_size=1, max_size=30), spans=spans, most_folds=st.integers(1, 6))
def test_no_training_window_reaches_past_the_validation_date(
    dates: list[date], spans: LabelSpans, most_folds: int
) -> None:
    as_of_dates = np.array(dates, "datetime64[D]")
    try:
        splits = list(ForwardFolds(spans, most_folds=most_folds).split(as_of_dates))
    except TrainingError:
        assert (max(dates) - min(dates)).days < spans.closing_days
        return
    assert 1 <= len(splits) <= most_folds
    for training, validation in splits:
        (validation_date,) = set(as_of_dates[validation].tolist())
        assert len(validation) == dates.count(validation_date)
        end_of_validation = validation_date + timedelta(days=1)
        for day in as_of_dates[training].tolist():
            window_end = day + timedelta(days=1 + spans.gap_days + spans.horizon_days + spans.grace_days)
            assert window_end <= end_of_validation
        closed = [day for day in dates if spans.closes_on(day) <= validation_date]
        assert len(training) == len(closed) > 0


@given(dates=st.lists(days, min_size=1, max_size=12), validated=days, spans=spans)
def test_an_overlapping_fold_cannot_be_built(dates: list[date], validated: date, spans: LabelSpans) -> None:
    overlaps = any(spans.closes_on(day) > validated for day in dates)
    if overlaps:
        with pytest.raises(TrainingError, match="have closed by the end of"):
            ForwardFold(0, validated, tuple(dates), spans)
    else:
        ForwardFold(0, validated, tuple(dates), spans)


def test_a_fold_without_training_dates_cannot_be_built() -> None:
    with pytest.raises(TrainingError, match="found none"):
        ForwardFold(0, date(2026, 3, 31), (), SPANS)
    fold = ForwardFold(0, date(2026, 3, 31), (date(2026, 1, 31),), SPANS)
    with pytest.raises(TrainingError, match=r"2026-01-31 \(closes 2026-03-16\)"):
        replace(fold, validation_date=date(2026, 3, 1))


@pytest.mark.parametrize(
    "asked", [{"shuffle": True}, {"n_splits": 5}, {"random_state": 1}, {"fold_count": 5}]
)
def test_a_random_split_cannot_be_asked_for(asked: dict[str, object]) -> None:
    with pytest.raises(TrainingError, match=f"found {next(iter(asked))}.*never at random.*most_folds"):
        ForwardFolds(SPANS, **asked)
    with pytest.raises(TrainingError, match="most_folds 0"):
        ForwardFolds(SPANS, most_folds=0)


@pytest.mark.parametrize(
    "given_rows",
    [
        pd.DataFrame({"as_of_date": rows_of(MONTH_ENDS), "x": 1.0}),
        pd.Series(rows_of(MONTH_ENDS)),
        np.arange(10),
        np.array(["2026-01-31"]),
        np.array(["2026-01-31", "NaT"], "datetime64[D]"),
        rows_of(MONTH_ENDS).reshape(5, 3),
        MONTH_ENDS,
    ],
)
def test_only_as_of_dates_are_split(given_rows: object) -> None:
    with pytest.raises(TrainingError, match="splits by date alone"):
        list(ForwardFolds(SPANS).split(given_rows))


def test_scikit_learn_cannot_use_it_on_a_frame() -> None:
    frame = pd.DataFrame({"x": range(15)})
    with pytest.raises(TrainingError, match="found DataFrame"):
        cross_val_score(DummyClassifier(), frame, [0, 1, 0] * 5, cv=ForwardFolds(SPANS))


def dated_panel() -> DatedPanel:
    frame = pd.DataFrame({"x": range(6)})
    return DatedPanel(
        contract=FeatureContract(()), customer_ids=pa.chunked_array([["a", "b", "a", "b", "a", "b"]]),
        frame=frame, churned=np.arange(6) % 2 == 0, monthly_values=np.zeros(6), attributes=frame[[]],
        sensitive=frame[[]], spans=SPANS, nights=[], customer_count=2,
        customer_groups=np.zeros(6, np.int16), as_of_dates=rows_of(MONTH_ENDS[:3], 2),
    )  # fmt: skip


def snapshot(churned: np.ndarray) -> Panel:
    count = len(churned)
    frame = pd.DataFrame({"x": range(count)})
    return Panel(
        contract=FeatureContract(()), customer_ids=pa.chunked_array([[str(row) for row in range(count)]]),
        frame=frame, churned=churned, monthly_values=np.zeros(count), attributes=frame[[]],
        sensitive=frame[[]], folds=np.arange(count, dtype=np.int16) % 3,
    )  # fmt: skip


def test_dated_rows_do_not_enter_the_snapshot_path() -> None:
    frame = pd.DataFrame({"x": range(3)})
    with pytest.raises(TrainingError, match=r"found 3 rows of 2 customers.*ForwardFolds"):
        Panel(FeatureContract(()), pa.chunked_array([["a", "b", "a"]]), frame, np.zeros(3, bool), np.zeros(3),
              frame[[]], frame[[]], np.zeros(3, np.int16))  # fmt: skip
    with pytest.raises(
        TrainingError, match=r"no folds of customers for dated rows, found 5.*never at random"
    ):
        plan_splits(dated_panel(), repeats=1, fold_count=5, seed=1)


def test_dated_rows_are_split_forward_once_however_often_it_is_asked_for() -> None:
    panel = dated_panel()
    [splits] = plan_splits(panel, repeats=3, fold_count=None, seed=1)
    assert [(split.training.tolist(), split.validation.tolist()) for split in splits] == [([0, 1], [4, 5])]
    assert fold_of_rows(splits, 6).tolist() == [-1, -1, -1, -1, 0, 0]
    assert customer_groups(panel, np.array([0, 1, 4])).tolist() == [0, 1, 0]


def test_snapshot_folds_are_stratified_seeded_and_drawn_anew_for_each_repeat() -> None:
    panel = snapshot(np.arange(100) < 20)
    first, second = plan_splits(panel, repeats=2, fold_count=5, seed=1)
    for splits in (first, second):
        assert sorted(np.concatenate([split.validation for split in splits])) == list(range(100))
        assert [int(panel.churned[split.validation].sum()) for split in splits] == [4] * 5
        for split in splits:
            assert not set(split.training) & set(split.validation)
    assert first[0].validation.tolist() != second[0].validation.tolist()
    again, _ = plan_splits(panel, repeats=2, fold_count=5, seed=1)
    assert [split.validation.tolist() for split in again] == [split.validation.tolist() for split in first]


def test_a_row_is_calibrated_by_other_rows_only() -> None:
    """The calibrator of a fold does not change with the outcomes of its own rows."""
    rng = np.random.default_rng(2)
    raw = rng.uniform(0.05, 0.95, 300)
    churned = rng.random(300) < raw**2
    panel = snapshot(churned)
    splits = customer_splits(panel, 3)
    own = splits[0].validation
    turned = np.where(np.isin(np.arange(300), own), ~churned, churned)
    said = calibrate_splits(panel, splits, raw, "sigmoid").calibrated
    other = calibrate_splits(replace(panel, churned=turned), splits, raw, "sigmoid").calibrated
    np.testing.assert_array_equal(said[own], other[own])
    assert (said[splits[1].validation] != other[splits[1].validation]).any()
