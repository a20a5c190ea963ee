"""Each expectation in the files, broken by one change to a sound night: that check fails, no other.

`also` names the checks that the change cannot but fail as well.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from churn_ml.errors import GateBlocked
from churn_ml.quality.gates import run_gate
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect

pytestmark = pytest.mark.usefixtures("without_pages")

GX_FOLDER = Path(__file__).parents[2] / "great_expectations"
ADD_ON_COLUMNS = ["online_security", "online_backup", "device_protection", "tech_support", "streaming_tv",
                  "streaming_movies"]  # fmt: skip
CATEGORY_COLUMNS = ["gender", "senior_citizen", "partner", "dependents", "phone_service", "multiple_lines",
                    "internet_service", "contract", "paperless_billing", "payment_method",
                    *ADD_ON_COLUMNS]  # fmt: skip


ELIGIBLE = "customer_id = 'c1'"
NOT_ACTIVE = "customer_id = 'c4'"
HIGH = "customer_id = 'c199'"
TEXT_FAULTS = {
    **{f"{column}_is_known": (column, "yes") for column in CATEGORY_COLUMNS},
    "tenure_is_a_number": ("tenure", "1.5"),
    "monthly_charges_is_a_number": ("monthly_charges", "1,234.50"),
    "total_charges_is_a_number_or_blank": ("total_charges", "n/a"),
}


@dataclass(frozen=True)
class Fault:
    """A check, the change that breaks it and what else that change breaks."""

    gate: str
    check: str
    change: str
    also: frozenset[str] = field(default_factory=frozenset)


def fault(gate: str, check: str, change: str, *also: str) -> Fault:
    return Fault(gate, check, change, frozenset(also))


def quarantine(row_count: int) -> str:
    return (
        f"update ops.landing_batches set row_count_quarantined = {row_count}, "
        f"row_count_in_file = 200 + {row_count}"
    )


def first_customers(count: int) -> str:
    return f"substr(customer_id, 2)::integer <= {count}"


def repeat_keys(count: int) -> str:
    """Deliver some rows twice, which the batch accounts for."""
    return (
        f"insert into raw.customers select * from raw.customers where {first_customers(count)};"
        f"update ops.landing_batches set row_count_in_file = 200 + {count}, row_count_landed = 200 + {count}"
    )


def repeat_row(table: str) -> str:
    return f"insert into {table} select * from {table} where {ELIGIBLE}"


def reject_customers(count: int) -> str:
    return (
        f"delete from features.customer_features where {first_customers(count)};"
        "update features.customer_population set exclusion_reason = 'rejected_value', is_eligible = false "
        f"where {first_customers(count)}"
    )


def publish_former_night(customer_count: int) -> str:
    return f"""
        insert into ops.pipeline_runs (run_id, run_kind, dataset, as_of_date, known_as_of, code_version,
            configuration_sha256)
        values ('former', 'night', 'telco', '2026-10-30', '2026-10-31 02:00+00', '', '');
        insert into marts.fct_churn_score (run_id, customer_id)
        select 'former', number from generate_series(1, {customer_count}) as number;
        insert into ops.published_runs values ('2026-10-30', 'former', '2026-10-31 02:00+00')"""


EMPTY_POPULATION_FAILURES = [
    "population_is_not_empty", "someone_is_eligible", "nobody_is_rejected", "few_are_rejected",
    "features_and_values_stay_inside_the_population",
]  # fmt: skip

FAULTS = [
    # raw -----------------------------------------------------------------------------------
    fault("raw", "a_delivery_landed", "update ops.landing_batches set entity = 'invoices'",
          "no_record_is_quarantined", "few_records_are_quarantined"),
    fault("raw", "no_record_is_quarantined", quarantine(1)),
    fault("raw", "few_records_are_quarantined", quarantine(3), "no_record_is_quarantined"),
    fault("raw", "landed_rows_are_in_raw", f"delete from raw.customers where {ELIGIBLE}"),
    fault("raw", "snapshot_is_not_empty",
          "delete from raw.customers;"
          "update ops.landing_batches set row_count_in_file = 0, row_count_landed = 0",
          "texts_are_present", "customer_id_is_delivered_once", "customer_id_is_rarely_repeated",
          "no_record_is_quarantined", "few_records_are_quarantined"),
    fault("raw", "customer_id_is_stated", f"update raw.customers set customer_id = ' ' where {ELIGIBLE}"),
    fault("raw", "customer_id_is_delivered_once", repeat_keys(1)),
    fault("raw", "customer_id_is_rarely_repeated", repeat_keys(3), "customer_id_is_delivered_once"),
    fault("raw", "churn_is_yes_or_no", f"update raw.customers set churn = null where {ELIGIBLE}"),
    # features ------------------------------------------------------------------------------
    fault("features", "population_is_not_empty", "delete from features.customer_population",
          *EMPTY_POPULATION_FAILURES),
    fault("features", "someone_is_eligible",
          "update features.customer_population"
          " set is_eligible = false, exclusion_reason = 'asked_not_to_be'"),
    fault("features", "population_has_one_row_per_customer",
          repeat_row("features.customer_population")),
    fault("features", "features_have_one_row_per_customer",
          repeat_row("features.customer_features")),
    fault("features", "features_and_values_stay_inside_the_population",
          f"update features.customer_values set customer_id = 'stranger' where {NOT_ACTIVE}"),
    fault("features", "population_is_features_plus_rejected",
          "update features.customer_population set is_eligible = false, exclusion_reason = 'asked_not_to_be' "
          f"where {ELIGIBLE}; delete from features.customer_features where {ELIGIBLE}", "nobody_is_rejected"),
    fault("features", "rejected_customers_have_no_features",
          "update features.customer_population set is_eligible = false, exclusion_reason = 'rejected_value' "
          f"where {ELIGIBLE}"),
    fault("features", "eligibility_is_explained",
          f"update features.customer_population set is_eligible = null where {ELIGIBLE}"),
    fault("features", "eligible_customers_have_features",
          f"delete from features.customer_features where {ELIGIBLE}", "population_is_features_plus_rejected",
          "nobody_is_rejected"),
    fault("features", "eligible_customers_have_a_value_row",
          f"delete from features.customer_values where {ELIGIBLE}"),
    fault("features", "eligible_values_are_known",
          "update features.customer_values set monthly_value_amount = null, value_status = 'missing' "
          f"where {ELIGIBLE}"),
    fault("features", "nobody_is_rejected", reject_customers(2)),
    fault("features", "few_are_rejected", reject_customers(3), "nobody_is_rejected"),
    fault("features", "feature_contract_is_not_empty",
          "delete from features.feature_contract; alter table features.customer_features"
          " drop column contract, drop column tenure_months"),
    fault("features", "contract_and_table_name_the_same_features",
          "delete from features.feature_contract where feature_name = 'contract'"),
    fault("features", "features_hold_no_null",
          f"update features.customer_features set contract = null where {ELIGIBLE}"),
    fault("features", "label_definition_is_present", "delete from features.customer_labels"),
    fault("features", "every_customer_has_a_label_row",
          f"delete from features.customer_labels where {ELIGIBLE}"),
    fault("features", "labels_have_one_row_per_customer",
          repeat_row("features.customer_labels")),
    fault("features", "labels_agree_with_their_status",
          f"update features.customer_labels set label_status = 'immature' where {ELIGIBLE}"),
    fault("features", "some_churned_and_some_stayed", "update features.customer_labels set churned = false"),
    fault("features", "values_are_present", "delete from features.customer_values",
          "eligible_customers_have_a_value_row", "values_have_one_currency"),
    fault("features", "monthly_value_is_not_negative",
          f"update features.customer_values set monthly_value_amount = -0.01 where {ELIGIBLE}"),
    fault("features", "value_status_is_stated",
          f"update features.customer_values set value_status = null where {NOT_ACTIVE}"),
    fault("features", "values_have_one_currency",
          f"update features.customer_values set currency = 'EUR' where {ELIGIBLE}"),
    # marts ---------------------------------------------------------------------------------
    fault("marts", "scores_mart_is_not_empty", "delete from marts.fct_churn_score",
          "expected_loss_is_at_most_the_value_at_risk", "scores_have_one_currency",
          "mart_holds_the_whole_population", "eligible_customers_are_scored_once",
          "scores_are_as_the_scorer_wrote_them", "one_model_scored_the_run",
          "daily_mart_counts_the_scored_customers", "daily_mart_adds_up_revenue_at_risk",
          "daily_mart_adds_up_expected_loss", "current_mart_holds_the_active_customers",
          "current_mart_holds_the_same_money", "kpis_hold_the_same_money", "run_dimension_agrees",
          "high_tier_is_neither_empty_nor_everyone"),
    fault("marts", "probability_is_not_below_zero",
          f"update marts.fct_churn_score set churn_probability = -0.01 where {ELIGIBLE}",
          "scores_are_as_the_scorer_wrote_them"),
    fault("marts", "probability_is_not_above_one",
          f"update marts.fct_churn_score set churn_probability = 1.01 where {HIGH}",
          "scores_are_as_the_scorer_wrote_them"),
    fault("marts", "tier_follows_the_parameters",
          "update features.decision_parameters set tier_medium_from = 0.41"),
    fault("marts", "expected_loss_is_at_most_the_value_at_risk",
          "update marts.fct_churn_score set value_at_risk_amount = 0.01 where customer_id = 'c3'",
          "daily_mart_adds_up_revenue_at_risk"),
    fault("marts", "expected_loss_is_not_negative",
          """update marts.fct_churn_score set expected_revenue_loss_amount = -1 where customer_id = 'c3';
             update marts.customer_churn_current set expected_revenue_loss_amount = -1
             where customer_id = 'c3';
             update marts.churn_kpis_daily set expected_revenue_loss_amount = (
                 select sum(expected_revenue_loss_amount) from marts.fct_churn_score);
             update marts.revenue_at_risk_daily set expected_revenue_loss_amount = (
                 select sum(expected_revenue_loss_amount) from marts.fct_churn_score as scores
                 where scores.risk_tier = revenue_at_risk_daily.risk_tier)"""),
    fault("marts", "scores_have_one_currency",
          f"update marts.fct_churn_score set currency = null where {ELIGIBLE}"),
    fault("marts", "someone_is_scored",
          """delete from scores.customer_scores;
             update marts.fct_churn_score
             set churn_probability = null, risk_tier = null, expected_revenue_loss_amount = null;
             update marts.customer_churn_current set expected_revenue_loss_amount = null;
             update marts.churn_kpis_daily set expected_revenue_loss_amount = null;
             update marts.dim_scoring_run set scored_count = 0; delete from marts.revenue_at_risk_daily""",
          "eligible_customers_are_scored_once", "one_model_scored_the_run",
          "high_tier_is_neither_empty_nor_everyone"),
    fault("marts", "mart_has_one_row_per_customer",
          f"""insert into marts.fct_churn_score select * from marts.fct_churn_score where {NOT_ACTIVE};
              update marts.dim_scoring_run set customer_count = 201"""),
    fault("marts", "mart_holds_the_whole_population",
          f"""delete from marts.fct_churn_score where {NOT_ACTIVE};
              update marts.dim_scoring_run set customer_count = 199"""),
    fault("marts", "mart_holds_nobody_else",
          f"delete from features.customer_population where {NOT_ACTIVE}"),
    fault("marts", "eligible_customers_are_scored_once",
          f"update features.customer_population set is_eligible = true where {NOT_ACTIVE}"),
    fault("marts", "nobody_else_is_scored",
          f"update features.customer_population set is_eligible = false where {ELIGIBLE}"),
    fault("marts", "scores_are_as_the_scorer_wrote_them",
          f"update scores.customer_scores set churn_probability = 0 where {ELIGIBLE}"),
    fault("marts", "one_model_scored_the_run",
          f"""insert into ml.model_versions
              select 'm2', run_id, dataset, label_definition, family, validation, as_of_date, known_as_of,
                  seed, fold_count, row_count, churned_count, feature_contract, metrics, library_versions,
                  artifact, artifact_sha256
              from ml.model_versions;
              update scores.customer_scores set model_version = 'm2' where {ELIGIBLE};
              update marts.fct_churn_score set model_version = 'm2' where {ELIGIBLE}"""),
    fault("marts", "daily_mart_counts_the_scored_customers",
          "update marts.revenue_at_risk_daily set customer_count = customer_count + 1 "
          "where risk_tier = 'low'"),
    fault("marts", "daily_mart_adds_up_revenue_at_risk",
          "update marts.revenue_at_risk_daily set revenue_at_risk_amount = revenue_at_risk_amount - 0.01 "
          "where risk_tier = 'low'"),
    fault("marts", "daily_mart_adds_up_expected_loss",
          "update marts.revenue_at_risk_daily set expected_revenue_loss_amount = "
          "expected_revenue_loss_amount + 0.01 where risk_tier = 'low'"),
    fault("marts", "current_mart_holds_the_active_customers",
          "insert into marts.customer_churn_current (run_id, customer_id) "
          "select run_id, 'stranger' from marts.dim_scoring_run"),
    fault("marts", "current_mart_holds_the_same_money",
          "update marts.customer_churn_current set expected_revenue_loss_amount = "
          f"expected_revenue_loss_amount + 0.01 where {ELIGIBLE}"),
    fault("marts", "kpis_hold_the_same_money",
          "update marts.churn_kpis_daily set expected_revenue_loss_amount = "
          "expected_revenue_loss_amount + 0.01"),
    fault("marts", "mrr_bridge_closes",
          "update marts.churn_kpis_daily set mrr_new_amount = mrr_new_amount + 0.01"),
    fault("marts", "risk_moves_little",
          "update marts.fct_churn_score set risk_change_customer_pts = -26 where " + first_customers(30)),
    fault("marts", "outcomes_are_stated_once",
          publish_former_night(200) + "; insert into marts.fct_score_outcome values ('former', 1, 1)"),
    fault("marts", "nobody_held_out_is_queued",
          "insert into marts.retention_queue select run_id, customer_id from marts.fct_treatment_assignment "
          "where is_held_out"),
    fault("marts", "holdout_has_its_declared_share",
          "update marts.fct_treatment_assignment set is_held_out = false"
          "; update features.campaign_parameters set holdout_share = 0.50"),
    fault("marts", "run_dimension_agrees",
          "update marts.dim_scoring_run set active_count = active_count + 1"),
    fault("marts", "high_tier_is_neither_empty_nor_everyone",
          """update features.decision_parameters set tier_high_from = 1.01;
             update marts.fct_churn_score set risk_tier = 'medium' where risk_tier = 'high'"""),
    fault("marts", "customer_count_changes_little", publish_former_night(140)),
    fault("marts", "customer_count_does_not_jump", publish_former_night(120),
          "customer_count_changes_little"),
]  # fmt: skip


def declared_checks() -> dict[str, dict[str, object]]:
    """Every expectation on telco, by its check name; the other datasets' own have files like this one."""
    paths = sorted((GX_FOLDER / "expectations").glob("*.json"))
    others = ("subscriptions__", "bank__")
    suites = [json.loads(path.read_text()) for path in paths if not path.stem.startswith(others)]
    return {item["meta"]["check"]: item for suite in suites for item in suite["expectations"]}


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: case.check)
def test_each_check_fails_when_its_rule_is_broken(
    case: Fault,
    gate_settings: Settings,
    build_night: Callable[..., str],
    execute: Callable[..., None],
) -> None:
    run_id = build_night()
    execute(case.change, run_id)
    expected = {case.check} | case.also
    severities = {declared_checks()[check]["meta"]["severity"] for check in expected}
    if "block" in severities:
        with pytest.raises(GateBlocked, match=case.check if expected == {case.check} else case.gate):
            run_gate(gate_settings, run_id, case.gate)
    else:
        assert set(run_gate(gate_settings, run_id, case.gate).failed_warning) == expected
    with connect(gate_settings, Role.AUDITOR) as auditor:
        failed = auditor.execute(
            "select check_name, verdict from ops.validation_results where verdict <> 'pass'"
        )
        assert dict(failed.fetchall()) == dict.fromkeys(expected, "fail")


def test_each_raw_text_is_checked_and_only_warns(
    gate_settings: Settings, build_night: Callable[..., str], execute: Callable[..., None]
) -> None:
    run_id = build_night()
    changes = [f"{column} = {text!r}" for column, text in TEXT_FAULTS.values()]
    execute(f"update raw.customers set {', '.join(changes)} where {ELIGIBLE}", run_id)
    summary = run_gate(gate_settings, run_id, "raw")
    assert set(summary.failed_warning) == set(TEXT_FAULTS)
    assert summary.failed_blocking == ()


def test_every_check_in_the_files_has_a_fault_here() -> None:
    one_row = {
        name
        for name, item in declared_checks().items()
        if item["kwargs"] == {"min_value": 1, "max_value": 1}  # the query always gives one row of sums
    }
    broken = {check for case in FAULTS for check in {case.check} | case.also} | set(TEXT_FAULTS)
    assert broken == set(declared_checks()) - one_row
