"""What a BI developer may rely on in every mart, asked as ``bi_reader``; and that each rule can fail."""

import re

import psycopg
import pytest
from contract_rules import RULES
from published_marts import Marts
from tool_queries import METABASE_FIELDS, METABASE_TABLES, ask

FACT = "marts.fct_churn_score"
FAULTS = [
    ("marts_without_a_primary_key", f"alter table {FACT} drop constraint fct_churn_score_pkey"),
    ("marts_without_a_primary_key", f"revoke references on {FACT} from bi_reader"),
    ("keys_without_a_relationship", f"alter table {FACT} drop constraint fct_churn_score_model_key_fkey"),
    ("keys_without_a_relationship", f"alter table {FACT} add column campaign_key integer"),
    (
        "relationships_not_on_one_integer",
        "create unique index on marts.dim_customer (customer_key, dataset);"
        f" alter table {FACT} add column dataset text, add foreign key (customer_key, dataset)"
        " references marts.dim_customer (customer_key, dataset)",
    ),
    (
        "relationships_not_on_one_integer",
        f"alter table {FACT} add foreign key (run_id) references marts.dim_scoring_run (run_id)",
    ),
    (
        "foreign_keys_without_an_index",
        f"alter table {FACT} add column next_model_key integer references marts.dim_model (model_key)",
    ),
    ("relations_without_a_comment", f"comment on table {FACT} is null"),
    ("columns_without_a_comment", f"comment on column {FACT}.risk_tier is null"),
    ("columns_of_no_plain_type", f"alter table {FACT} add column details jsonb"),
    ("columns_of_no_plain_type", f"alter table {FACT} add column reasons text[]"),
    ("columns_of_no_plain_type", f"alter table {FACT} add column margin numeric"),
    ("times_without_a_date", f"alter table {FACT} add column seen_at timestamptz"),
    ("amounts_without_a_currency", f"alter table {FACT} drop column currency cascade"),
    ("amounts_without_a_currency", f"alter table {FACT} add column bonus_amount double precision"),
    ("labels_without_an_order", f"alter table {FACT} drop column tenure_group_sort cascade"),
    (
        "labels_with_two_places",
        f"update {FACT} set risk_tier_sort = 7 where customer_id = 'a' and as_of_date > '2026-10-15'",
    ),
    (
        "what_the_tools_must_not_see",
        f"create materialized view marts.rolled_up as select 1 as one; grant select on {FACT} to bi_reader",
    ),
    ("what_the_tools_must_not_see", "grant select on ops.pipeline_runs to bi_reader"),
]


@pytest.mark.parametrize("rule", RULES)
def test_marts_keep_the_contract(reader: psycopg.Connection, rule: str) -> None:
    assert RULES[rule](reader) == []


@pytest.mark.parametrize(("rule", "fault"), FAULTS, ids=[f"{rule}-{n}" for n, (rule, _) in enumerate(FAULTS)])
def test_rule_notices(damaged: psycopg.Connection, rule: str, fault: str) -> None:
    damaged.execute(fault)
    damaged.execute("set local role bi_reader")
    assert RULES[rule](damaged) != []


def test_every_rule_is_seen_to_fail() -> None:
    assert {rule for rule, _ in FAULTS} == set(RULES)


def test_keys_and_indexes_outlive_three_runs_of_all_marts(marts: Marts) -> None:
    """dbt drops the foreign keys of a fact without a word when it makes a dimension anew."""
    first, second, third = marts.keys_and_indexes
    assert first == second == third
    assert any("FOREIGN KEY" in str(definition) for _, _, definition in first)


def test_metabase_can_sample_every_mart(reader: psycopg.Connection) -> None:
    fields = ask(reader, METABASE_FIELDS)
    for table in ask(reader, METABASE_TABLES):
        names = [f'"marts"."{table["name"]}"."{field["name"]}"' for field in fields
                 if field["table_name"] == table["name"]]  # fmt: skip
        relation = f'"marts"."{table["name"]}"'
        reader.execute(f"select {', '.join(names)} from {relation} limit 10000")
        for name in names:
            reader.execute(f"select {name} from {relation} group by {name} order by {name} asc limit 1000")


def test_tools_find_the_rows_of_the_published_nights(marts: Marts, reader: psycopg.Connection) -> None:
    """A model of the marts as Power BI builds it: the fact joined to its dimensions on integer keys."""
    found = reader.execute(
        "select day.date_day, tier.risk_tier_label, count(*), sum(fact.expected_revenue_loss_amount)"
        " from marts.fct_churn_score as fact"
        " inner join marts.dim_date as day on fact.as_of_date_key = day.date_key"
        " inner join marts.dim_risk_tier as tier on fact.risk_tier_key = tier.risk_tier_key"
        " inner join marts.dim_customer as customer on fact.customer_key = customer.customer_key"
        " inner join marts.dim_scoring_run as run on fact.scoring_run_key = run.scoring_run_key"
        " where tier.risk_tier = 'high' group by 1, 2, tier.risk_tier_sort order by 1, tier.risk_tier_sort"
    ).fetchall()
    assert [(day, label, count) for day, label, count, _ in found] == [
        (marts.runs[0].as_of_date, "High risk", 1),
        (marts.runs[1].as_of_date, "High risk", 2),
    ]


def test_comments_say_more_than_the_name(reader: psycopg.Connection) -> None:
    bare = [
        f"{field['table_name']}.{field['name']}"
        for field in ask(reader, METABASE_FIELDS)
        if words(str(field["field_comment"])) <= words(str(field["name"]))
    ]
    assert bare == []


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))
