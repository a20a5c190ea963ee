"""The words of a run's report: what its facts come to, ready to be laid out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from markupsafe import Markup

from churn_ml.dashboard.formats import (
    NOT_KNOWN,
    is_shown_as_zero,
    show,
    show_change,
    show_day,
    show_time,
    signed,
)
from churn_ml.dashboard.report_charts import Step, bridge, shares
from churn_ml.dashboard.report_facts import ReportFacts, Row, comparable_kpis

# The movements of MRR as their columns name them, and what there is room for under a bar.
_MOVEMENTS = {
    "restatement": "Restated",
    "currency": "Exchange rates",
    "new": "New",
    "reactivation": "Back",
    "expansion": "Expansion",
    "contraction": "Contraction",
    "churn": "Churn",
}
_TABLES_NAMED = 3


@dataclass(frozen=True)
class Tile:
    """One figure of the summary, what it means, and what became of it since the night before."""

    title: str
    value: str
    below: str
    change: str | None
    mood: str
    formula: str


@dataclass(frozen=True)
class Room:
    """The newest attempt of one gate, or of dbt's tests of one layer."""

    name: str
    checks: list[Row]

    def count(self, verdict: str) -> int:
        """Return how many checks ended as `verdict`: passed, warned or blocked."""
        return sum(outcome_of(check) == verdict for check in self.checks)


@dataclass(frozen=True)
class Bar:
    """When a task ran, as shares (percent) of the time from the first task's start to the last one's end."""

    left: float
    width: float


def outcome_of(check: Row) -> str:
    """Return ``passed``, ``warned`` or ``blocked``; what could not be evaluated counts as failed."""
    if check["verdict"] == "pass":
        return "passed"
    return "blocked" if check["severity"] == "block" else "warned"


def tiles_of(facts: ReportFacts) -> list[Tile]:
    """Return the summary's figures; those that the marts do not hold say so."""
    kpis = facts.kpis or {}
    before = comparable_kpis(kpis, (facts.previous or {}).get("kpis") or {})
    currency = kpis.get("currency", "")

    def tile(metric: str, column: str, below: str = "") -> Tile | None:
        return _tile(facts, metric, kpis.get(column), before.get(column), currency, below)

    tiles = [
        tile("active_customers", "customer_closing_count", _movement(kpis)),
        tile("kpi_customers_scored", "scored_customer_count", _expected(facts)),
        _tile(facts, "high_risk_customers", *_of_tier(facts, "high", "customer_count"), "", _limit(facts)),
        tile("revenue_at_risk", "revenue_at_risk_amount", "not multiplied by a probability"),
        tile("night_expected_loss", "expected_revenue_loss_amount", _interval(kpis)),
        tile("logo_churn_28d", "logo_churn_28d_share", _target(kpis)),
        tile("mrr", "mrr_closing_amount"),
        tile("gross_revenue_retention_28d", "gross_revenue_retention_28d_share", _since(kpis)),
    ]
    return [tile for tile in tiles if tile is not None]


def _tile(
    facts: ReportFacts, metric: str, now: Any, before: Any, currency: str, below: str = ""
) -> Tile | None:
    """Return the figure; None where the newest build of the marts did not define it yet."""
    defined = facts.metrics.get(metric)
    if defined is None:
        return None
    change = None if before is None else show_change(now, before, defined["format"])
    mood = ""
    if change and not is_shown_as_zero(change) and defined["better_is"] != "none":
        mood = "better" if (now > before) == (defined["better_is"] == "higher") else "worse"
    value = show(now, defined["format"], currency)
    return Tile(defined["title"], value, below if now is not None else "", change, mood, defined["formula"])


def _of_tier(facts: ReportFacts, tier: str, column: str) -> tuple[Any, Any]:
    now = next((row[column] for row in facts.tiers if row["risk_tier"] == tier), None)
    before = (facts.previous or {}).get("tiers", {}).get(tier)
    return now, before[column] if before else None


def _movement(kpis: Row) -> str:
    if kpis.get("customer_lost_count") is None:
        return ""
    gained = kpis["customer_new_count"] + kpis["customer_reactivated_count"]
    words = f"{gained:,} gained, {kpis['customer_lost_count']:,} lost"
    restated = kpis["customer_restatement_count"]
    return f"{words}, {signed(restated, 'integer')} restated" if restated else words


def _expected(facts: ReportFacts) -> str:
    expected = sum(row["expected_churned_count"] for row in facts.tiers)
    return f"about {expected:,.0f} of them expected to leave"


def _limit(facts: ReportFacts) -> str:
    return f"from {show(facts.night['tier_high_from'], 'percent')} on" if facts.night else ""


def _interval(kpis: Row) -> str:
    low, high = kpis.get("expected_revenue_loss_low_amount"), kpis.get("expected_revenue_loss_high_amount")
    if low is None or high is None:
        return "no interval: the model gives none"
    wide = ", wider than it says" if kpis.get("is_interval_approximate") else ""
    return f"90\N{NO-BREAK SPACE}% interval {show(low, 'currency')} to {show(high, 'currency')}{wide}"


def _target(kpis: Row) -> str:
    target, share = kpis.get("logo_churn_28d_target_share"), kpis.get("logo_churn_28d_share")
    if target is None or share is None:
        return "no target is set"
    distance = show(100 * (share - target), "points")
    by = "less than 0.1 points" if is_shown_as_zero(distance) else distance
    missed = f"missed by {by}" if share > target else "met"
    return f"target {show(target, 'percent')} at most: {missed}"


def _since(kpis: Row) -> str:
    since = kpis.get("retention_28d_from_date")
    return f"since {show_day(since)}" if since else ""


def bridge_rows(facts: ReportFacts) -> list[tuple[str, Any]]:
    """Return (title, amount) from opening to closing MRR; empty where no movement is known."""
    kpis = facts.kpis or {}
    if kpis.get("mrr_opening_amount") is None or kpis.get("mrr_closing_amount") is None:
        return []
    names = ["mrr_opening", *(f"mrr_{name}" for name in _MOVEMENTS), "mrr"]
    columns = ["mrr_opening_amount", *(f"mrr_{name}_amount" for name in _MOVEMENTS), "mrr_closing_amount"]
    titles = [facts.metrics.get(name, {"title": name})["title"] for name in names]
    return list(zip(titles, (kpis[column] for column in columns), strict=True))


def bridge_chart(facts: ReportFacts) -> Markup:
    """Draw the bridge without movements of 0."""
    rows = bridge_rows(facts)
    words = ["Opening", *_MOVEMENTS.values(), "Closing"]
    steps = [
        Step(word, float(amount), word in {"Opening", "Closing"})
        for word, (_, amount) in zip(words, rows, strict=True)
        if amount or word in {"Opening", "Closing"}
    ]
    return bridge(steps, (facts.kpis or {}).get("currency", ""))


def share_chart(facts: ReportFacts) -> Markup | None:
    """Draw how customers, revenue at risk and expected loss are spread over the tiers, low first."""
    named = (
        ("Customers", "customer_count"),
        ("Expected to leave", "expected_churned_count"),
        ("Revenue at risk", "revenue_at_risk_amount"),
        ("Expected loss", "expected_revenue_loss_amount"),
    )
    tiers = facts.tiers[::-1]
    rows = []
    for label, column in named:
        values = [float(row[column] or 0) for row in tiers]
        if sum(values) > 0:
            rows.append((label, [value / sum(values) for value in values]))
    return shares(rows, [row["risk_tier"] for row in tiers]) if rows else None


def tier_rows(facts: ReportFacts) -> list[Row]:
    """Return the tiers, high first, with the change of customers since the night before, and their total."""
    rows = [row | {"change": _change_of(facts, row)} for row in facts.tiers]
    total: Row = {"risk_tier": "total", "risk_tier_label": "All scored", "change": None}
    for column in ("customer_count", "expected_churned_count", "revenue_at_risk_amount",
                   "expected_revenue_loss_amount"):  # fmt: skip
        known = [row[column] for row in facts.tiers if row[column] is not None]
        total[column] = sum(known) if known else None
    return [*rows, total]


def _change_of(facts: ReportFacts, row: Row) -> str | None:
    before = (facts.previous or {}).get("tiers", {}).get(row["risk_tier"])
    return signed(row["customer_count"] - before["customer_count"], "integer") if before else None


def rooms_of(facts: ReportFacts) -> list[Room]:
    """Return the checks by gate or layer, in the order in which a night meets them."""
    order = {room: place for place, room in enumerate(
        ("gate raw", "dbt tests of staging", "dbt tests of intermediate", "dbt tests of features",
         "gate features", "dbt tests of marts", "gate marts")
    )}  # fmt: skip
    names = sorted({check["room"] for check in facts.checks}, key=lambda room: (order.get(room, 99), room))
    return [Room(name, [check for check in facts.checks if check["room"] == name]) for name in names]


def failed_checks(facts: ReportFacts) -> list[Row]:
    """Return the checks that did not pass, blocking ones first."""
    failed = [check for check in facts.checks if check["verdict"] != "pass"]
    return sorted(
        failed, key=lambda check: (check["severity"] != "block", check["room"], check["check_name"])
    )


def task_bars(tasks: Sequence[Row]) -> list[tuple[Row, Bar]]:
    """Return each task with its place between the first start and the last end."""
    if not tasks:
        return []
    start, end = _ends(tasks)
    whole = max((end - start).total_seconds(), 1e-9)
    bars = []
    for task in tasks:
        left = 100 * (task["started_at"] - start).total_seconds() / whole
        bars.append((task, Bar(left, max(100 * task["seconds"] / whole, 0.4))))
    return bars


def wall_seconds(tasks: Sequence[Row]) -> float:
    """Return the seconds from the first start to the last end; 0 without a task."""
    if not tasks:
        return 0.0
    start, end = _ends(tasks)
    return (end - start).total_seconds()


def _ends(tasks: Sequence[Row]) -> tuple[datetime, datetime]:
    return min(task["started_at"] for task in tasks), max(task["finished_at"] for task in tasks)


def standing(facts: ReportFacts) -> tuple[str, str]:
    """Return (kind, sentence) of what BI was shown: published, taken back, not published or failed."""
    told, run = facts.publication, facts.run
    if told and told["action"] == "publish":
        return "passed", f"Published on {show_time(told['recorded_at'])}: {told['reason']}"
    if told:
        return "blocked", f"Not published: taken back on {show_time(told['recorded_at'])}: {told['reason']}"
    if run["status"] in {"failed", "discarded"}:
        return "blocked", f"Not published: the run {run['status'].replace('failed', 'has failed')}"
    return "warned", "Not published: BI was not shown this run when this page was written"


def questions(facts: ReportFacts) -> Iterator[tuple[str, str]]:
    """Answer in one sentence each: who will churn, how much is at risk, whom to call first."""
    kpis, night = facts.kpis, facts.night
    if kpis is None or night is None:
        return
    expected = sum(row["expected_churned_count"] for row in facts.tiers)
    window = f" {_span(facts.window)}" if facts.window else ""
    yield (
        "Who will churn next?",
        f"Of {night['scored_count']:,} scored customers about {expected:,.0f} are expected to leave{window}.",
    )
    currency = kpis["currency"]
    yield (
        "How much revenue is at risk?",
        "No customer's value is known, so no amount is stated."
        if kpis["revenue_at_risk_amount"] is None
        else f"{show(kpis['revenue_at_risk_amount'], 'currency', currency)} would go if all of them left; "
        f"{show(kpis['expected_revenue_loss_amount'], 'currency', currency)} is expected to go "
        f"({_interval(kpis)}).",
    )
    yield "Whom to call first?", _queue_words(facts, currency)


def _span(window: Row) -> str:
    first, last = window["gap_days"] + 1, window["gap_days"] + window["horizon_days"]
    return f"{first} to {last} days after the as-of date"


def _queue_words(facts: ReportFacts, currency: str) -> str:
    totals = facts.queue_totals
    if facts.has_lost_rows or totals is None:
        return "The queue of this run is no longer kept."
    if not totals["queued_count"]:
        return "Nobody: calling no customer is expected to pay."
    words = f"{totals['queued_count']:,} customers are in the queue"
    if totals["treated_count"]:
        profit = show(totals["expected_profit_amount"], "currency", currency)
        earns = f"expected to earn {profit}"
        if totals["expected_profit_amount"] is None:
            earns = "what it earns is not known"
        return f"{words}; tonight's campaign treats {totals['treated_count']:,}, {earns}."
    return f"{words}; tonight's campaign treats none of them."


def tables_of(names: str) -> str:
    """Shorten a list of relations."""
    found = names.split(", ")
    if len(found) <= _TABLES_NAMED:
        return names
    return f"{', '.join(found[:_TABLES_NAMED])} and {len(found) - _TABLES_NAMED} more"


def money(amount: Any) -> str:
    """Return an amount to the cent, as it stands in a table whose head names the currency."""
    return NOT_KNOWN if amount is None else f"{amount:,.2f}".replace("-", "\N{MINUS SIGN}")


def count(number: Any) -> str:
    """Return a count, or a blank where the task counts nothing."""
    return "" if number is None else f"{number:,}"


def duration(seconds: Any) -> str:
    """Return seconds to the tenth; blank where they were not measured."""
    return "" if seconds is None else f"{seconds:,.1f}"


def megabytes(size: Any) -> str:
    """Return megabytes without decimals; blank where they were not measured."""
    return "" if size is None else f"{size:,.0f}"


FORMATS = {
    "count": count,
    "day": show_day,
    "duration": duration,
    "megabytes": megabytes,
    "money": money,
    "outcome": outcome_of,
    "points": lambda value: NOT_KNOWN if value is None else signed(float(value), "points"),
    "share": lambda value: show(value, "percent"),
    "tables": tables_of,
    "time": show_time,
    "words": lambda text: str(text).replace("_", " "),
}
