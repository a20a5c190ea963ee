"""The first night of a new champion: each change of a probability is the model's and the customer's."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from clones import clone_warehouse, drop_warehouse
from registered_models import register_model, rows_of_features
from risk_marts import build_marts, cut_off, facts
from telco_nights import (
    BEFORE_FEATURES,
    CUT_OFF,
    DAY,
    build,
    customer,
    deliver,
    publish,
    rows,
)

from churn_ml.features.stream import read_table
from churn_ml.models.deployments import promote
from churn_ml.models.registry import load_model
from churn_ml.scoring.night import score_night
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import Run, open_repetition, open_run
from churn_ml.warehouse.sql import SQL

YESTERDAY = DAY - timedelta(days=1)
PEOPLE = 60


@pytest.fixture(scope="module")
def succession(server: Settings) -> Iterator[tuple[Settings, list[Run], list[str]]]:
    """Two nights of one champion each; of every third customer nothing has changed in between."""
    settings = clone_warehouse(server)
    runs, versions = [], []
    for number, day in enumerate((YESTERDAY, DAY)):
        deliver(settings, *_people(number), as_of_date=day, known_at=cut_off(day))
        run = open_run(settings, "night", cut_off(day))
        build(settings, run, *BEFORE_FEATURES)
        if not versions:
            fitted = rows_of_features(settings)
            versions = [register_model(settings, cut_off(day), rows=fitted, seed=seed) for seed in (1, 2)]
        promote(settings, versions[number], cut_off(day), "a reason", "tests")
        score_night(settings, run.run_id)
        build_marts(settings, run, tested=day == DAY)
        publish(settings, run)
        runs.append(run)
    yield settings, runs, versions
    drop_warehouse(settings)


def _people(number: int) -> list[dict[str, str | None]]:
    """Customers of whom the last one comes on the second night and has trained no model."""
    contracts = ("Month-to-month", "One year", "Two year")
    return [
        customer(
            f"c{place:02}",
            tenure=str(1 + place + (number if place % 3 else 0)),
            monthly_charges=f"{20 + place * 7 % 90 + (5 * number if place % 3 else 0)}.50",
            contract=contracts[place % 4 % 3],
            paperless_billing="Yes" if place % 5 else "No",
        )
        for place in range(PEOPLE + number)
    ]


def test_the_new_champion_scores_the_night_before_by_its_own_fold(
    succession: tuple[Settings, list[Run], list[str]],
) -> None:
    settings, runs, versions = succession
    model = load_model(settings, versions[1])
    with connect(settings, Role.SCORER) as scorer:
        features = read_table(
            scorer,
            SQL("select customer_features.customer_id, fold, {} from features.customer_features"
                " left join ml.training_customers on training_customers.customer_id ="
                " customer_features.customer_id and model_version = %s where as_of_date = %s order by 1"
                ).format(model.contract.select_list("customer_features")),
            [versions[1], YESTERDAY],
            {"customer_id": pa.string(), "fold": pa.int16()} | model.contract.arrow_types,
        )  # fmt: skip
    folds = features.column("fold").to_numpy()
    said = model.model.predict(model.contract.to_frame(features.select(model.contract.names)), folds)
    found = rows(
        settings,
        "select customer_id, base_run_id, model_version, churn_probability from scores.model_change_scores"
        " where run_id = %s order by 1",
        [runs[1].run_id],
    )
    assert [row[:3] for row in found] == [
        (name, runs[0].run_id, versions[1]) for name in features.column("customer_id").to_pylist()
    ]
    assert np.allclose([row[3] for row in found], said.calibrated, rtol=0, atol=1e-6)
    assert rows(settings, "select from scores.model_change_scores where run_id = %s", [runs[0].run_id]) == []


def test_a_change_of_champion_is_split_exactly(
    succession: tuple[Settings, list[Run], list[str]],
) -> None:
    settings, runs, _ = succession
    columns = "churn_probability, previous_churn_probability, risk_change_pts, risk_change_model_pts," \
              " risk_change_customer_pts"  # fmt: skip
    found = facts(settings, runs[1], columns)
    before = dict(rows(
        settings, "select customer_id, churn_probability from scores.model_change_scores where run_id = %s",
        [runs[1].run_id],
    ))  # fmt: skip
    assert found.pop(f"c{PEOPLE}")[1:] == [None] * 4
    assert len(found) == len(before) == PEOPLE
    for name, (now, former, change, by_model, by_customer) in found.items():
        assert change == by_model + by_customer
        assert by_model == pytest.approx(Decimal(100 * (before[name] - former)), abs=Decimal("1e-6"))
        assert by_customer == pytest.approx(Decimal(100 * (now - before[name])), abs=Decimal("2e-6"))
        assert by_customer == 0 or int(name[1:]) % 3
    assert sum(row[3] != 0 for row in found.values()) > PEOPLE / 2
    assert sum(row[4] != 0 for row in found.values()) > 10


def test_every_reason_is_a_row(succession: tuple[Settings, list[Run], list[str]]) -> None:
    settings, runs, _ = succession
    given = rows(
        settings,
        "select customer_id, rank, code, split_part(code, '__', 1), value, percentile, points, is_actionable,"
        " case when log_odds > 0 then 'raises' else 'lowers' end from scores.customer_scores,"
        " lateral (values (1, reason_1_code, reason_1_value, reason_1_percentile, reason_1_points,"
        "  reason_1_is_actionable, reason_1_log_odds), (2, reason_2_code, reason_2_value,"
        "  reason_2_percentile, reason_2_points, reason_2_is_actionable, reason_2_log_odds),"
        "  (3, reason_3_code, reason_3_value, reason_3_percentile, reason_3_points, reason_3_is_actionable,"
        "  reason_3_log_odds)) as reasons (rank, code, value, percentile, points, is_actionable, log_odds)"
        " where run_id = %s and code is not null order by 1, 2",
        [runs[0].run_id],
        Role.SCORER,
    )
    told = rows(
        settings,
        "select customer_id, reason_rank, reason_code, feature_name, reason_value, reason_percentile,"
        " reason_points, is_actionable, direction from marts.fct_churn_reason where run_id = %s"
        " order by 1, 2",
        [runs[0].run_id],
        Role.READER,
    )
    assert told == given
    assert {row[1] for row in told} == {1, 2, 3}
    assert {row[8] for row in told} == {"raises", "lowers"}


@pytest.fixture
def heirs(
    succession: tuple[Settings, list[Run], list[str]],
) -> Iterator[tuple[Settings, list[Run], list[str]]]:
    """The same two nights in a warehouse of the test's own."""
    cloned = clone_warehouse(succession[0])
    yield cloned, *succession[1:]
    drop_warehouse(cloned)


def change_scores(settings: Settings, run: Run) -> list[tuple[object, ...]]:
    return rows(
        settings,
        "select customer_id, churn_probability from scores.model_change_scores where run_id = %s order by 1",
        [run.run_id],
    )


def test_a_change_stays_unsplit_where_the_features_are_gone(
    heirs: tuple[Settings, list[Run], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    settings, runs, _ = heirs
    repeated = open_repetition(settings, "reproduce", DAY)
    score_night(settings, repeated.run_id)
    assert change_scores(settings, repeated) == change_scores(settings, runs[1]) != []
    with connect(settings, Role.TRANSFORMER) as transformer:
        transformer.execute("delete from features.customer_features where as_of_date = %s", [YESTERDAY])
    again = open_run(settings, "night", CUT_OFF)
    score_night(settings, again.run_id)
    assert change_scores(settings, again) == []
    assert "its features no longer stand" in caplog.text
    build_marts(settings, again)
    former, found = (facts(settings, run, "risk_change_pts, risk_change_model_pts, risk_change_customer_pts")
                     for run in (runs[1], again))  # fmt: skip
    assert found == {name: [values[0], None, None] for name, values in former.items()}
    # A reproduction of the night that was split takes over what it can no longer work out.
    score_night(settings, repeated.run_id)
    assert change_scores(settings, repeated) == change_scores(settings, runs[1])
    assert f"takes over {PEOPLE} scores" in caplog.text


def test_a_column_younger_than_the_night_before_is_not_filled_with_guesses(
    heirs: tuple[Settings, list[Run], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    settings, _, versions = heirs
    with connect(settings, Role.OWNER) as owner:
        owner.execute(
            "update ml.model_versions set feature_contract = (select jsonb_agg(entry) from"
            " jsonb_array_elements(feature_contract) as entry where entry ->> 'name' <> 'tenure_months')"
            " where model_version = %s",
            [versions[0]],
        )
    again = open_run(settings, "night", CUT_OFF)
    score_night(settings, again.run_id)
    assert len(change_scores(settings, again)) == PEOPLE
    with connect(settings, Role.TRANSFORMER) as transformer:
        transformer.execute("alter table features.customer_features alter tenure_months drop not null")
        transformer.execute(
            "update features.customer_features set tenure_months = null where as_of_date = %s", [YESTERDAY]
        )
    score_night(settings, again.run_id)
    assert change_scores(settings, again) == []
    assert "found no value of tenure_months: they were added since" in caplog.text
