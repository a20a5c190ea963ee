"""Late rows: the night reproduced stays as it was published, restated it shows them."""

from datetime import timedelta

from churn_ml.audit.bench import NO_CHAMPION, Bench, Champion, Finding
from churn_ml.audit.comparison import LISTED, Difference
from churn_ml.audit.deliveries import land_rows
from churn_ml.audit.disturbances import make_late_rows, tables_of
from churn_ml.audit.nights import build_night, reproduce_night, restate_night, stage
from churn_ml.errors import ReproductionError
from churn_ml.publishing.comparison import Comparison, compare_run, read_comparison
from churn_ml.publishing.differences import RowDifference
from churn_ml.services.dated_nights import Night
from churn_ml.warehouse.connection import Role

_FACT = "fct_churn_score"
_LATE_CUSTOMERS = 5
_SHOWN = 3
_EVERY_ROW = 100_000


def prove_late_arrival(bench: Bench) -> Finding:
    """A late row leaves the night as it was when it is reproduced, and shows when it is restated."""
    champion = bench.begin_published()
    return _prove_features(bench) if champion is None else _prove_marts(bench, champion)


def _prove_features(bench: Bench) -> Finding:
    """Compare features only."""
    bench.begin_built()
    landed, later = _land_late_rows(bench)
    done = f"{bench.night_name} after {landed} late rows: reproduced"
    run = stage(bench.target, bench.night)
    build_night(bench.target, run, bench.night)
    rows, differences = bench.compare_features()
    if differences:
        return Finding(f"{done}; {NO_CHAMPION}", differences)
    build_night(bench.target, run, later)
    _, restated = bench.compare_features(later)
    listed = "; ".join(f"{d.customer_id} {d.column}: {d.then} -> {d.now}" for d in restated[:_SHOWN])
    return Finding(
        f"{done}, {rows:,} feature rows equal; restated with what is known since, "
        f"{listed or 'nothing differs, and something should'}; {NO_CHAMPION}",
        [],
        is_proof=bool(restated),
    )


def _prove_marts(bench: Bench, champion: Champion) -> Finding:
    """Compare the whole night, as it was published, by the same calls as the real repetitions."""
    landed, _ = _land_late_rows(bench)
    done = f"{bench.night_name} scored by {champion} and published; after {landed} late rows:"
    reproduced, differences = _reproduce(bench)
    rows, moved = bench.compare_features()
    if differences or moved:
        return Finding(f"{done} reproduced", differences + moved)
    restated = _restate(bench)
    equal = sum(mart.row_count_then for mart in reproduced.marts)
    return Finding(
        f"{done} reproduced, {equal:,} rows of {len(reproduced.marts)} marts and {rows:,} feature rows equal;"
        f" restated with what is known since, {_describe(restated)}",
        [],
        is_proof=equal > 0 and not restated.is_equal,
    )


def _reproduce(bench: Bench) -> tuple[Comparison, list[Difference]]:
    run = reproduce_night(bench.target, bench.night.as_of_date)
    try:
        return compare_run(bench.target.settings, run.run_id), []
    except ReproductionError:
        comparison = read_comparison(bench.target.settings, run.run_id, LISTED)
    differences = [
        Difference(f"marts.{row.mart}", row.key, row.column, row.then, row.now)
        for row in _fact_first(comparison)
    ]
    # Rows that were altered where they lie differ from what was published, and not from each other.
    altered = [
        Difference(f"marts.{mart.mart}", "(all)", "(hash)", mart.rows_md5_then, mart.rows_md5_now)
        for mart in comparison.marts
        if not mart.is_equal
    ]
    return comparison, differences or altered


def _fact_first(comparison: Comparison) -> list[RowDifference]:
    """Return the differing rows, those of the mart first that the others are made of."""
    return sorted(comparison.rows, key=lambda row: row.mart != _FACT)


def _restate(bench: Bench) -> Comparison:
    run = restate_night(bench.target, bench.night.as_of_date)
    compare_run(bench.target.settings, run.run_id)
    return read_comparison(bench.target.settings, run.run_id, _EVERY_ROW)


def _describe(restated: Comparison) -> str:
    """Say how many rows of each mart differ, in which columns of customers, and show the first."""
    if restated.is_equal or restated.customers is None:
        return "nothing differs, and something should"
    marts = ", ".join(
        f"{len({row.key for row in restated.rows if row.mart == mart})} of {mart}"
        for mart in restated.differing_marts
    )
    counts = restated.customers
    listed = "; ".join(
        f"{row.key} {row.column}: {row.then} -> {row.now}" for row in _fact_first(restated)[:_SHOWN]
    )
    return (
        f"other rows: {marts}; of customers, {counts.appeared} appeared, {counts.vanished} vanished,"
        f" {counts.probability} have another probability, {counts.risk_tier} another tier,"
        f" {counts.expected_loss} another expected loss: {listed}"
    )


def _land_late_rows(bench: Bench) -> tuple[int, Night]:
    """Land a late record per entity for a few customers; return how many, and the night restated."""
    target, night = bench.target, bench.night
    with target.connect(Role.OWNER) as owner:
        known_at = bench.sample.newest.known_as_of + timedelta(microseconds=1)
        customers = [
            str(customer_id)
            for (customer_id,) in owner.execute(
                "select customer_id from features.customer_population where is_eligible"
                " and as_of_date = %s and known_as_of = %s order by 1 limit %s",
                [night.as_of_date, night.known_as_of, _LATE_CUSTOMERS],
            ).fetchall()
        ]
        tables = [table for table in tables_of(bench.dataset) if "customer_id" in table.columns]
        late = {table: make_late_rows(owner, table, night, customers, bench.seed) for table in tables}
    landed = sum(
        land_rows(
            target,
            bench.dataset,
            table.entity,
            [dict(zip(table.columns, row, strict=True)) for row in rows],
            bench.sample.newest.as_of_date,
            known_at,
        )
        for table, rows in late.items()
        if rows
    )
    return landed, Night(night.as_of_date, known_at)
