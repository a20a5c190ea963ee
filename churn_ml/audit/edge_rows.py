"""Made-up customers whose only event of note lies on a boundary: rows of the dataset `subscriptions`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from churn_ml.audit.sample import end_of
from churn_ml.services.dated_nights import Night

Row = dict[str, str]
Known = Literal["before", "at", "after", "later"]

INSTANT = timedelta(microseconds=1)
PLAN = "edge-plan"
_DEFAULTS: dict[str, Row] = {
    "plans": {"plan_id": PLAN, "plan_name": "Edge", "plan_tier": "basic", "list_price_amount": "20.00",
              "currency": "USD"},
    "customers": {"customer_type": "consumer", "region": "north", "acquisition_channel": "web",
                  "age_group": "30_44", "gender": "not_stated"},
    "subscriptions": {"change_type": "start", "plan_id": PLAN, "monthly_price_amount": "20.00",
                      "discount_share": "0", "currency": "USD", "contract": "month_to_month",
                      "term_end_date": "", "is_auto_renewal": "true"},
    "invoices": {"amount": "20.00", "currency": "USD"},
    "payments": {"status": "failed", "amount": "20.00", "currency": "USD"},
    "usage": {"session_count": "7", "active_minutes": "120", "search_count": "10", "export_count": "2",
              "share_count": "1"},
    "tickets": {"event_type": "opened", "category": "technical", "priority": "high", "csat": ""},
    "contacts": {"channel": "email", "direction": "inbound"},
}  # fmt: skip
_KEYS = {"subscriptions": "change_id", "invoices": "invoice_id", "payments": "payment_id",
         "tickets": "ticket_id", "contacts": "contact_id"}  # fmt: skip


@dataclass(frozen=True)
class Probe:
    """One customer with one event.

    `is_member` says whether they have a subscription from long before. The customer is compared
    with one like them who has no such event: `counts` says whether it must make a difference.
    """

    name: str
    entity: str
    moment: datetime
    counts: bool
    known: Known = "before"
    is_member: bool = True
    others: Row = field(default_factory=dict)


@dataclass(frozen=True)
class WindowProbes:
    """Two customers: the event of `inside` is the first of a lookback, that of `outside` came before it."""

    days: int
    inside: Probe
    outside: Probe


@dataclass(frozen=True)
class LabelProbe:
    """One customer, the changes after the as-of date, and the label that they must get."""

    name: str
    changes: tuple[tuple[str, datetime], ...]
    label_status: str


@dataclass(frozen=True)
class LabelSpan:
    """The days of a label definition."""

    gap: timedelta
    horizon: timedelta
    grace: timedelta
    late_allowance: timedelta

    @property
    def closes_after(self) -> timedelta:
        """How long after the end of the as-of date its labels are known."""
        return self.gap + self.horizon + self.grace + self.late_allowance


def control_of(night: Night, *, is_member: bool) -> str:
    """Return the customer without any event to compare with."""
    return customer_of(night, "member" if is_member else "stranger")


def customer_of(night: Night, name: str) -> str:
    """Return the customer of a probe."""
    return f"edge-{night.as_of_date:%Y%m%d}-{name}"


def end_probes(night: Night) -> list[Probe]:
    """Return the last instant of the day and the first after it, and known times at the cut-off."""
    last, after = end_of(night) - INSTANT, end_of(night)
    others = {"subscriptions": {"change_type": "end_voluntary"}, "customers": {"region": "south"}}
    probes = [
        Probe(f"{entity}-{name}", entity, moment, counts, others=others.get(entity, {}))
        for entity in ("usage", "contacts", "tickets", "payments", "subscriptions", "customers")
        for name, moment, counts in (("last", last, True), ("next", after, False))
    ]
    noon = end_of(night) - timedelta(hours=12)
    return [
        *probes,
        Probe("start-last", "subscriptions", last, True, is_member=False),
        Probe("start-next", "subscriptions", after, False, is_member=False),
        Probe("known-at-cut-off", "contacts", noon, True, known="at"),
        Probe("known-after-cut-off", "contacts", noon, False, known="after"),
    ]


def window_probes(night: Night) -> list[WindowProbes]:
    """Return events at the first instant of a lookback and at the last before it."""
    return [
        WindowProbes(
            days,
            Probe(f"{entity}-in-{days}d", entity, end_of(night) - timedelta(days=days), True),
            Probe(f"{entity}-before-{days}d", entity, end_of(night) - timedelta(days=days) - INSTANT, False),
        )
        for entity, days in (("usage", 7), ("contacts", 28), ("contacts", 90), ("tickets", 90))
    ]


def label_probes(night: Night, span: LabelSpan) -> list[LabelProbe]:
    """Return ends at both ends of the label window, and returns at the end of the grace."""
    begin, end = end_of(night) + span.gap, end_of(night) + span.gap + span.horizon
    left = begin + timedelta(days=1)
    return [
        LabelProbe("in-gap", (("end_voluntary", begin - INSTANT),), "churned_in_gap"),
        LabelProbe("window-first", (("end_voluntary", begin),), "churned"),
        LabelProbe("window-last", (("end_voluntary", end - INSTANT),), "churned"),
        LabelProbe("window-after", (("end_voluntary", end),), "retained"),
        LabelProbe(
            "returned", (("end_voluntary", left), ("return", left + span.grace - INSTANT)), "retained"
        ),
        LabelProbe(
            "returned-after-grace", (("end_voluntary", left), ("return", left + span.grace)), "churned"
        ),
    ]


def rows_of(night: Night, probes: list[Probe], labels: list[LabelProbe]) -> Iterator[tuple[Known, str, Row]]:
    """Yield every row as (when it becomes known, entity, columns)."""
    for control in (True, False):
        yield from _life(night, control_of(night, is_member=control), is_member=control)
    for probe in probes:
        customer_id = customer_of(night, probe.name)
        yield from _life(night, customer_id, is_member=probe.is_member)
        yield probe.known, probe.entity, _row(probe.entity, customer_id, probe.moment, "edge", **probe.others)
    for label in labels:
        customer_id = customer_of(night, label.name)
        yield from _life(night, customer_id, is_member=True)
        for place, (change_type, moment) in enumerate(label.changes):
            row = _row("subscriptions", customer_id, moment, f"label-{place}", change_type=change_type)
            yield "later", "subscriptions", row


def plan_row(moment: datetime) -> Row:
    """Return the plan that everyone is on."""
    return _DEFAULTS["plans"] | _version(moment)


def _life(night: Night, customer_id: str, *, is_member: bool) -> Iterator[tuple[Known, str, Row]]:
    signup = end_of(night) - timedelta(days=300)
    yield "before", "customers", _row("customers", customer_id, signup, "")
    if is_member:
        yield "before", "subscriptions", _row("subscriptions", customer_id, signup, "start")
        yield "before", "invoices", _row("invoices", customer_id, end_of(night) - timedelta(days=40), "open")


def _row(entity: str, customer_id: str, moment: datetime, label: str, **others: str) -> Row:
    row = _DEFAULTS[entity] | _version(moment) | {"customer_id": customer_id}
    if entity in _KEYS:
        row[_KEYS[entity]] = f"{customer_id}-{entity}-{label}"
    if entity in {"subscriptions", "invoices"}:
        row["subscription_id"] = f"{customer_id}-subscription"
    if entity == "customers":
        row["signup_date"] = "2020-01-01"
    if entity == "invoices":
        row["due_date"] = f"{moment + timedelta(days=14):%Y-%m-%d}"
    if entity == "payments":
        row["invoice_id"] = f"{customer_id}-invoices-open"
    return row | others


def _version(moment: datetime) -> Row:
    return {"event_at": f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}", "revision": "1", "is_deleted": "false"}
