"""From raw text to the feature interface: what is seen, what is refused, what the contract says."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from clones import clone_warehouse, drop_warehouse
from telco_nights import BEFORE_FEATURES, CUT_OFF, DAY, build, customer, deliver, publish, rows

from churn_ml.errors import TransformationError
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import Run, close_run, open_run

INTERFACE = ["customer_population", "customer_labels", "customer_values", "customer_attributes"]


@pytest.fixture(scope="module")
def built(server: Settings) -> Iterator[Settings]:
    """One night of deliveries that hold every kind of row."""
    settings = clone_warehouse(server)
    deliver(
        settings,
        customer("plain", monthly_charges=" 50.456 "),
        customer("new", tenure="0", total_charges=" "),
        customer("gone", churn="Yes", monthly_charges="20"),
        customer("twice", contract="Month-to-month"),
        customer("blank total", total_charges=""),
        customer("wrong", tenure="ten", contract="Three year", monthly_charges="1e3"),
        customer("unknown outcome", churn=None),
        customer(" "),
    )
    deliver(settings, customer("twice", contract="Two year"), known_at=CUT_OFF)
    deliver(settings, customer("plain", contract="One year"), known_at=CUT_OFF + timedelta(seconds=1))
    deliver(settings, customer("other day"), as_of_date=DAY - timedelta(days=30))
    build(settings, open_run(settings, "night", CUT_OFF), *BEFORE_FEATURES, tested=True)
    yield settings
    drop_warehouse(settings)


def features_of(settings: Settings, customer_id: str, column: str) -> object:
    [(value,)] = rows(
        settings, f"select {column} from features.customer_features where customer_id = %s", [customer_id]
    )
    return value


def test_row_known_after_the_cut_off_is_not_seen(built: Settings) -> None:
    assert features_of(built, "plain", "contract") == "month_to_month"


def test_newest_delivery_of_a_key_wins(built: Settings) -> None:
    assert features_of(built, "twice", "contract") == "two_year"


@pytest.mark.parametrize("table", INTERFACE)
def test_interface_has_one_row_per_customer_of_the_snapshot(built: Settings, table: str) -> None:
    found = rows(built, f"select customer_id from features.{table} order by customer_id")
    expected = ["blank total", "gone", "new", "plain", "twice", "unknown outcome", "wrong"]
    assert [str(name) for (name,) in found] == expected


def test_refused_values_are_reported_with_their_place(built: Settings) -> None:
    found = rows(
        built,
        "select customer_id, row_number, column_name, rejected_value, expected_value"
        " from staging.stg_telco__rejects order by row_number, column_name",
    )
    yes_no = "one of Yes, No"
    assert found == [
        ("blank total", 5, "total_charges", "", "numeric or, where tenure_months = 0, blank"),
        ("wrong", 6, "contract", "Three year", "one of Month-to-month, One year, Two year"),
        ("wrong", 6, "monthly_charges", "1e3", "numeric"),
        ("wrong", 6, "tenure", "ten", "integer"),
        ("unknown outcome", 7, "churn", None, yes_no),
        (" ", 8, "customer_id", " ", "a customer key that is not blank"),
    ]


def test_population_says_who_is_scored_and_why_not(built: Settings) -> None:
    found = rows(
        built,
        "select customer_id, is_active, is_eligible, exclusion_reason from features.customer_population",
    )
    reasons = {name: (active, eligible, reason) for name, active, eligible, reason in found}
    refused = (True, False, "rejected_value")
    assert reasons == {
        "plain": (True, True, None),
        "new": (True, True, None),
        "twice": (True, True, None),
        "gone": (False, False, "not_active"),
        "blank total": refused,
        "wrong": refused,
        "unknown outcome": refused,
    }


def test_features_leave_out_customers_with_a_refused_value(built: Settings) -> None:
    found = rows(built, "select customer_id from features.customer_features order by 1")
    assert found == [("gone",), ("new",), ("plain",), ("twice",)]


def test_unknown_outcome_is_null_and_never_a_stayer(built: Settings) -> None:
    found = rows(
        built,
        "select customer_id, churned, label_status, value_lost_amount::text from features.customer_labels"
        " where customer_id in ('gone', 'new', 'unknown outcome') order by 1",
    )
    assert found == [
        ("gone", True, "known", "240.00"),
        ("new", False, "known", "0.00"),
        ("unknown outcome", None, "missing", None),
    ]


def test_missing_value_is_stated(built: Settings) -> None:
    found = rows(
        built,
        "select customer_id, monthly_value_amount::text, value_status from features.customer_values"
        " where customer_id in ('plain', 'wrong') order by 1",
    )
    assert found == [("plain", "50.46", "known"), ("wrong", None, "missing")]


def test_contract_names_the_columns_of_the_database(built: Settings) -> None:
    contract = rows(
        built, "select feature_name, data_type, position from features.feature_contract order by position"
    )
    columns = rows(
        built,
        "select column_name, data_type, ordinal_position - 3 from information_schema.columns"
        " where table_schema = 'features' and table_name = 'customer_features' and ordinal_position > 3"
        " order by ordinal_position",
    )
    assert contract == columns


def test_sensitive_features_are_marked(built: Settings) -> None:
    found = rows(
        built, "select feature_name from features.feature_contract where sensitivity = 'sensitive' order by 1"
    )
    assert found == [("gender",), ("is_senior",)]


def test_total_charges_is_no_feature(built: Settings) -> None:
    assert rows(built, "select from features.feature_contract where feature_name ~ '^total'") == []


def test_every_column_of_dbt_is_described(built: Settings) -> None:
    bare = rows(
        built,
        "select attrelid::regclass::text, attname from pg_attribute"
        " join pg_class on pg_class.oid = attrelid"
        " where relnamespace::regnamespace::text in ('staging', 'intermediate', 'features', 'marts')"
        " and relkind in ('r', 'v') and attnum > 0 and not attisdropped"
        " and col_description(attrelid, attnum) is null",
    )
    assert bare == []


def test_training_and_night_may_interleave(settings: Settings) -> None:
    earlier = CUT_OFF - timedelta(days=1)
    deliver(settings, customer("a", tenure="1"), as_of_date=DAY - timedelta(days=1), known_at=earlier)
    deliver(settings, customer("a", tenure="2"))
    training, night = open_run(settings, "training", earlier), open_run(settings, "night", CUT_OFF)
    for layer in BEFORE_FEATURES:
        for run in (training, night):
            build(settings, run, layer)
    found = rows(settings, "select as_of_date, tenure_months from features.customer_features order by 1")
    assert found == [(training.as_of_date, 1), (night.as_of_date, 2)]


@pytest.fixture(scope="module")
def failed_template(server: Settings) -> Iterator[tuple[Settings, Run]]:
    """A night of one customer that failed after its features were built."""
    settings = clone_warehouse(server)
    deliver(settings, customer("a"))
    night = open_run(settings, "night", CUT_OFF)
    build(settings, night, *BEFORE_FEATURES)
    close_run(settings, night.run_id, "failed", "test")
    yield settings, night
    drop_warehouse(settings)


@pytest.fixture
def failed(failed_template: tuple[Settings, Run]) -> Iterator[tuple[Settings, Run]]:
    """The same in a warehouse of the test's own."""
    settings = clone_warehouse(failed_template[0])
    yield settings, failed_template[1]
    drop_warehouse(settings)


def test_rerun_leaves_identical_features(failed: tuple[Settings, Run]) -> None:
    settings, run = failed
    tables = ["customer_features", *INTERFACE]

    def contents() -> list[object]:
        return [rows(settings, f"select * from features.{table} order by customer_id") for table in tables]

    before = contents()
    build(settings, run, *BEFORE_FEATURES)
    assert contents() == before


def test_other_nights_stay_as_they_were(failed: tuple[Settings, Run]) -> None:
    settings, _ = failed
    deliver(settings, customer("a", tenure="2"), known_at=CUT_OFF + timedelta(hours=1))
    later = open_run(settings, "reproduce", CUT_OFF + timedelta(hours=2))
    build(settings, later, *BEFORE_FEATURES)
    found = rows(settings, "select tenure_months from features.customer_features order by known_as_of")
    assert found == [(10,), (2,)]


def build_staging_of_another_night(settings: Settings) -> None:
    day, cut_off = DAY + timedelta(days=1), CUT_OFF + timedelta(days=1)
    deliver(settings, customer("b"), as_of_date=day, known_at=cut_off)
    build(settings, open_run(settings, "night", cut_off), "staging")


def customers_of(settings: Settings, schema_and_table: str) -> list[str]:
    found = rows(settings, f"select customer_id from {schema_and_table} order by 1")
    return [str(customer_id) for (customer_id,) in found]


def test_failed_night_goes_on_after_another_night_was_staged(failed: tuple[Settings, Run]) -> None:
    settings, night = failed
    build_staging_of_another_night(settings)
    build(settings, night, "features")
    assert customers_of(settings, "features.customer_features") == ["a"]


def test_failed_night_is_no_longer_staged_once_a_newer_run_of_it_has_succeeded(
    failed: tuple[Settings, Run],
) -> None:
    settings, _ = failed
    close_run(settings, open_run(settings, "night", CUT_OFF).run_id, "succeeded")
    build_staging_of_another_night(settings)
    assert customers_of(settings, "staging.stg_telco__customers") == ["b"]


def test_failed_night_is_no_longer_staged_once_a_later_cut_off_was_published(
    failed: tuple[Settings, Run],
) -> None:
    settings, _ = failed
    later = open_run(settings, "night", CUT_OFF + timedelta(hours=1))
    with connect(settings, Role.TRANSFORMER) as transformer:
        transformer.execute("select ops.begin_marts(%s)", [later.run_id])
    publish(settings, later)
    close_run(settings, later.run_id, "succeeded")
    build_staging_of_another_night(settings)
    assert customers_of(settings, "staging.stg_telco__customers") == ["b"]


def test_features_of_a_night_are_never_replaced_by_none(failed: tuple[Settings, Run]) -> None:
    settings, night = failed
    close_run(settings, night.run_id, "succeeded")
    build_staging_of_another_night(settings)
    with pytest.raises(
        TransformationError,
        match=r"Expected rows of 2026-10-31.*features, found none to replace its 1 rows.*dbt_staging",
    ):
        build(settings, night, "features")
    for table in ("customer_features", *INTERFACE):
        assert customers_of(settings, f"features.{table}") == ["a"]


def test_mended_night_may_lose_all_its_rejects(settings: Settings) -> None:
    deliver(settings, customer("a", tenure="ten"), known_at=CUT_OFF - timedelta(hours=1))
    night = open_run(settings, "night", CUT_OFF)
    build(settings, night, "staging")
    deliver(settings, customer("a", tenure="10"))
    build(settings, night, "staging")
    assert customers_of(settings, "staging.stg_telco__rejects") == []


def test_night_without_parameters_fails_and_names_the_seed(settings: Settings) -> None:
    deliver(settings, customer("a"))
    run = open_run(settings, "night", CUT_OFF)
    build(settings, run, "staging", "intermediate")
    with connect(settings, Role.TRANSFORMER) as transformer:
        transformer.execute("update staging.decision_parameters set valid_to = %s", [DAY])
    with pytest.raises(
        TransformationError, match=r"(?s)valid on 2026-10-31, found 0.*decision_parameters\.csv"
    ):
        build(settings, run, "features")


def test_night_without_customers_fails(settings: Settings) -> None:
    run = open_run(settings, "night", CUT_OFF)
    build(settings, run, "staging", "intermediate")
    with pytest.raises(TransformationError, match=r"snapshot_is_not_empty.*land a delivery for its day"):
        build(settings, run, "features", tested=True)
