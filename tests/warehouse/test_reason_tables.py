"""The reviewed tables of reasons, and the sentences and amounts that the marts make of scores."""

import csv
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from clones import clone_warehouse, drop_warehouse
from telco_nights import BEFORE_FEATURES, CUT_OFF, build, customer, deliver, rows, score

from churn_ml.errors import TransformationError
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import Run, open_run

PROJECT = Path(__file__).resolve().parents[2]
SEEDS = PROJECT / "dbt_project" / "seeds"
DATASETS = sorted(path.stem for path in (PROJECT / "datasets").glob("*.yml"))
FORMATS = {"boolean": {"yes_no"}, "text": {"category"}, "integer": {"number"},
           "double precision": {"number", "percent"}}  # fmt: skip
DIRECTIONS = ("raises", "lowers")


def seed(name: str, dataset: str) -> list[dict[str, str]]:
    with (SEEDS / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["dataset"] == dataset]


def features_of(dataset: str) -> dict[str, dict[str, Any]]:
    """The features that a model may read, by what dbt declares of them."""
    path = PROJECT / "dbt_project" / "models" / "features" / dataset / f"{dataset}__customer_features.yml"
    columns = yaml.safe_load(path.read_text(encoding="utf-8"))["models"][0]["columns"]
    declared = {column["name"]: column for column in columns if "config" in column}
    found = {name: column["config"]["meta"] | {"type": column["data_type"]}
             for name, column in declared.items()}  # fmt: skip
    return {name: meta for name, meta in found.items()
            if meta["sensitivity"] == "none" and meta["leakage_class"] == "safe"}  # fmt: skip


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_feature_that_models_read_has_a_sentence_for_either_direction(dataset: str) -> None:
    expected = [f"{name}__{direction}" for name in features_of(dataset) for direction in DIRECTIONS]
    assert [row["reason_code"] for row in seed("reason_templates", dataset)] == expected


@pytest.mark.parametrize("dataset", DATASETS)
def test_sentences_fit_the_values_of_their_features(dataset: str) -> None:
    features = features_of(dataset)
    for row in seed("reason_templates", dataset):
        meta, sentence = features[row["reason_code"].split("__")[0]], row["sentence"]
        assert row["value_format"] in FORMATS[meta["type"]], row
        assert ("{value}" in sentence) != (row["value_format"] == "yes_no"), row
        assert ("|" in sentence) == (row["value_format"] == "yes_no"), row
        assert ("{percentile}" in sentence) == (row["value_format"] in ("number", "percent")), row
        assert bool(row["sentence_without_value"]) == meta.get("is_nullable", False), row
        assert sentence.endswith("."), row


@pytest.mark.parametrize("dataset", DATASETS)
def test_an_action_is_recommended_for_what_raises_the_risk_and_can_be_changed(dataset: str) -> None:
    expected = [f"{name}__raises" for name, meta in features_of(dataset).items() if meta.get("is_actionable")]
    assert [row["reason_code"] for row in seed("reason_actions", dataset)] == expected != []
    texts = {row["action_code"]: row["action"] for row in seed("reason_actions", dataset)}
    assert all(
        (row["action_code"], row["action"]) in texts.items() for row in seed("reason_actions", dataset)
    )


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_row_says_who_reviewed_it_and_words_are_of_categories(dataset: str) -> None:
    categories = {name for name, meta in features_of(dataset).items() if meta["type"] == "text"}
    words = seed("reason_words", dataset)
    assert {row["feature_name"] for row in words} == categories
    for row in [*seed("reason_templates", dataset), *seed("reason_actions", dataset), *words]:
        assert row["reviewed_by"], row
        assert row["reviewed_on"], row


def reasons(*given: tuple[str, str | None, int | None, float]) -> dict[str, object]:
    """The columns of a score for its reasons, most weighty first."""
    columns: dict[str, object] = {}
    for number, (code, value, percentile, points) in enumerate(given, start=1):
        columns |= {f"reason_{number}_code": code, f"reason_{number}_value": value,
                    f"reason_{number}_percentile": percentile,
                    f"reason_{number}_points": points}  # fmt: skip
    return columns


def explain(settings: Settings, run: Run, customer_id: str, columns: Mapping[str, object]) -> None:
    """Give a score of the run more columns, as the scorer would have written them."""
    changes = ", ".join(f"{name} = %s" for name in columns)
    with connect(settings, Role.OWNER) as owner:
        owner.execute(
            f"update scores.customer_scores set {changes} where run_id = %s and customer_id = %s",
            [*columns.values(), run.run_id, customer_id],
        )


EXPLAINED = {
    "numbers": reasons(
        ("tenure_months__lowers", "64", 91, -8.25),
        ("monthly_charges_amount__raises", "70.3500000001", 4, 3.5),
        ("monthly_charges_amount__lowers", "70.00", 40, -0.5),
    ),
    "categories": reasons(
        ("contract__raises", "month_to_month", None, 12.0),
        ("online_security__raises", "no", None, 6.0),
        ("payment_method__raises", "carrier_pigeon", None, 1.0),
    ),
    "flags": reasons(
        ("has_partner__raises", "no", None, 2.0),
        ("has_dependents__lowers", "yes", None, -1.0),
    ),
    "no reasons": {},
}
MORE, LESS = ": such customers leave more often.", ": such customers leave less often."
SENTENCES = {
    "numbers": (
        f"Customer for 64 months, high among customers (percentile 91){LESS}",
        f"Pays 70.35 a month, low among customers (percentile 4){MORE}",
        f"Pays 70 a month, usual among customers (percentile 40){LESS}",
        "review_price",
    ),
    "categories": (
        f"On a month-to-month contract{MORE}",
        f"Has no online security{MORE}",
        f"Pays by carrier pigeon{MORE}",
        "offer_longer_contract",
    ),
    "flags": (f"Has no partner{MORE}", f"Has dependents{LESS}", None, None),
    "no reasons": (None, None, None, None),
}


@pytest.fixture(scope="module")
def explained(server: Settings) -> Iterator[tuple[Settings, Run]]:
    settings = clone_warehouse(server)
    deliver(settings, *[customer(name, monthly_charges="33.33") for name in EXPLAINED])
    run = open_run(settings, "night", CUT_OFF)
    build(settings, run, *BEFORE_FEATURES)
    score(settings, run, dict.fromkeys(EXPLAINED, 0.5))
    for name, columns in EXPLAINED.items():
        explain(settings, run, name, columns | {"churn_probability_low": 0.4, "churn_probability_high": 0.6})
    build(settings, run, "marts")
    yield settings, run
    drop_warehouse(settings)


def test_reasons_read_as_sentences(explained: tuple[Settings, Run]) -> None:
    settings, _ = explained
    found = rows(
        settings,
        "select customer_id, reason_1_sentence, reason_2_sentence, reason_3_sentence, recommended_action_code"
        " from marts.customer_churn_current",
    )
    assert {str(name): tuple(rest) for name, *rest in found} == SENTENCES


def test_reasons_keep_their_codes_points_and_action(explained: tuple[Settings, Run]) -> None:
    settings, _ = explained
    found = rows(
        settings,
        "select reason_1_code, reason_1_points, reason_3_code, reason_3_points, recommended_action"
        " from marts.customer_churn_current where customer_id = 'numbers'",
    )
    action = "Review the price: offer a discount or a smaller bundle."
    assert found == [("tenure_months__lowers", -8.25, "monthly_charges_amount__lowers", -0.5, action)]


@pytest.mark.parametrize("mart", ["fct_churn_score", "customer_churn_current"])
def test_the_interval_of_a_probability_is_beside_it(explained: tuple[Settings, Run], mart: str) -> None:
    settings, _ = explained
    found = rows(
        settings,
        f"select distinct churn_probability_low, churn_probability, churn_probability_high from marts.{mart}",
    )
    assert found == [(0.4, 0.5, 0.6)]


def test_reasons_without_a_whole_sentence_stop_the_night(explained: tuple[Settings, Run]) -> None:
    """Each of the four by itself: an unknown code, no percentile, no value, no flag."""
    settings, run = explained
    cloned = clone_warehouse(settings)
    broken = [("shoe_size__raises", "44", 90, 1.0), ("tenure_months__raises", "44", None, 1.0),
              ("monthly_charges_amount__raises", None, None, 1.0)]  # fmt: skip
    explain(cloned, run, "numbers", reasons(*broken))
    explain(cloned, run, "flags", reasons(("has_partner__raises", "maybe", None, 1.0)))
    with pytest.raises(TransformationError, match=r"reasons_have_sentences .*Got 4 results"):
        build(cloned, run, "marts", tested=True)
    drop_warehouse(cloned)


def declaring(settings: Settings, folder: Path, value_definition: str) -> Settings:
    project = folder / "project"
    (project / "datasets").mkdir(parents=True)
    (project / "dbt_project").symlink_to(PROJECT / "dbt_project")
    text = (PROJECT / "datasets" / "telco.yml").read_text(encoding="utf-8")
    changed = text.replace('value_definition: "mrr_horizon"', f'value_definition: "{value_definition}"')
    (project / "datasets" / "telco.yml").write_text(changed, encoding="utf-8")
    return settings.model_copy(update={"project_dir": project})


def test_value_at_risk_by_truncated_clv_uses_the_months_that_the_model_expects(
    settings: Settings, tmp_path: Path
) -> None:
    declared = declaring(settings, tmp_path, "truncated_clv")
    deliver(declared, *[customer(name, monthly_charges="33.33") for name in ("stays", "unknown")])
    deliver(declared, customer("torn", monthly_charges="many"), known_at=CUT_OFF - timedelta(hours=1))
    run = open_run(declared, "night", CUT_OFF)
    build(declared, run, *BEFORE_FEATURES)
    score(declared, run, {"stays": 0.5, "unknown": 0.5})
    explain(declared, run, "stays", {"expected_months_retained": 7.25})
    build(declared, run, "marts")
    found = rows(
        declared,
        "select customer_id, value_at_risk_amount::text, expected_revenue_loss_amount::text, value_status"
        " from marts.fct_churn_score order by customer_id",
    )
    assert found == [
        ("stays", "241.64", "120.82", "known"),
        ("torn", None, None, "missing"),
        ("unknown", None, None, "no_expected_months"),
    ]
    [(definition, valued)] = rows(
        declared,
        "select value_definition, sum(valued_customer_count) from marts.revenue_at_risk_daily"
        " inner join marts.dim_scoring_run using (run_id) group by 1",
    )
    assert (definition, int(str(valued))) == ("truncated_clv", 1)


def test_a_dataset_with_revenue_refuses_a_definition_made_for_those_without(
    settings: Settings, tmp_path: Path
) -> None:
    declared = declaring(settings, tmp_path, "fixed_amount")
    deliver(declared, customer("a"))
    run = open_run(declared, "night", CUT_OFF)
    with pytest.raises(TransformationError, match="one of mrr_horizon, truncated_clv, found fixed_amount"):
        build(declared, run, *BEFORE_FEATURES)
