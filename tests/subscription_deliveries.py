"""Deliveries of the subscription business in the tests' own words: rows, files, a little world.

    deliver(inbox, day, "invoices", [invoice("i1", "C00000001", at(day))])
    deliver_day(inbox, day, subscriptions=[change(...)])     # every other file has its header only
    deliver_world(inbox, [date(2026, 9, 30), date(2026, 10, 31)])

Every builder takes the key, the customer and the moment first; any column may be given by name,
`revision` and `is_deleted` included, as text or as a value that becomes its text.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

Row = dict[str, str]
Rows = Mapping[str, Sequence[Row]]

COLUMNS = {
    "customers": ("customer_id", "event_at", "revision", "is_deleted", "signup_date", "customer_type",
                  "region", "acquisition_channel", "age_group", "gender"),
    "plans": ("plan_id", "event_at", "revision", "is_deleted", "plan_name", "plan_tier",
              "list_price_amount", "currency"),
    "subscriptions": ("change_id", "event_at", "revision", "is_deleted", "subscription_id", "customer_id",
                      "change_type", "plan_id", "monthly_price_amount", "discount_share", "currency",
                      "contract", "term_end_date", "is_auto_renewal"),
    "invoices": ("invoice_id", "event_at", "revision", "is_deleted", "customer_id", "subscription_id",
                 "due_date", "amount", "currency"),
    "payments": ("payment_id", "event_at", "revision", "is_deleted", "invoice_id", "customer_id", "status",
                 "amount", "currency"),
    "usage": ("customer_id", "event_at", "revision", "is_deleted", "session_count", "active_minutes",
              "search_count", "export_count", "share_count"),
    "tickets": ("ticket_id", "event_type", "event_at", "revision", "is_deleted", "customer_id", "category",
                "priority", "csat"),
    "contacts": ("contact_id", "event_at", "revision", "is_deleted", "customer_id", "channel", "direction"),
    "treatments": ("treatment_id", "event_at", "revision", "is_deleted", "customer_id", "campaign_id",
                   "treatment", "is_held_out", "cost_amount", "currency"),
}  # fmt: skip
ENTITIES = tuple(COLUMNS)


def at(day: date, clock: str = "12:00:00") -> str:
    """A moment of `day`, UTC, as the source writes it."""
    return f"{day.isoformat()}T{clock}Z"


def customer(customer_id: str, event_at: str, **others: object) -> Row:
    return _row("customers", others, customer_id=customer_id, event_at=event_at, signup_date=event_at[:10],
                customer_type="consumer", region="north", acquisition_channel="web", age_group="30_44",
                gender="female")  # fmt: skip


def plan(plan_id: str, event_at: str, **others: object) -> Row:
    return _row("plans", others, plan_id=plan_id, event_at=event_at, plan_name=f"Plan {plan_id}",
                plan_tier="basic", list_price_amount="20.00", currency="USD")  # fmt: skip


def change(change_id: str, customer_id: str, event_at: str, **others: object) -> Row:
    """A change of the customer's subscription ``S<number>``; a start unless `change_type` says otherwise."""
    return _row("subscriptions", others, change_id=change_id, event_at=event_at,
                subscription_id=subscription_of(customer_id), customer_id=customer_id, change_type="start",
                plan_id="P1", monthly_price_amount="20.00", discount_share="0", currency="USD",
                contract="month_to_month", term_end_date="", is_auto_renewal="true")  # fmt: skip


def invoice(invoice_id: str, customer_id: str, event_at: str, **others: object) -> Row:
    due = date.fromisoformat(event_at[:10]) + timedelta(days=14)
    return _row("invoices", others, invoice_id=invoice_id, event_at=event_at, customer_id=customer_id,
                subscription_id=subscription_of(customer_id), due_date=due.isoformat(), amount="20.00",
                currency="USD")  # fmt: skip


def payment(payment_id: str, invoice_id: str, customer_id: str, event_at: str, **others: object) -> Row:
    return _row("payments", others, payment_id=payment_id, event_at=event_at, invoice_id=invoice_id,
                customer_id=customer_id, status="succeeded", amount="20.00", currency="USD")  # fmt: skip


def usage_week(customer_id: str, last_day: date, **others: object) -> Row:
    return _row("usage", others, customer_id=customer_id, event_at=at(last_day, "23:59:59"),
                session_count="7", active_minutes="120", search_count="10", export_count="2",
                share_count="1")  # fmt: skip


def ticket(
    ticket_id: str, customer_id: str, event_at: str, event_type: str = "opened", **others: object
) -> Row:
    csat = "4" if event_type == "rated" else ""
    return _row("tickets", others, ticket_id=ticket_id, event_type=event_type, event_at=event_at,
                customer_id=customer_id, category="technical", priority="normal", csat=csat)  # fmt: skip


def contact(contact_id: str, customer_id: str, event_at: str, **others: object) -> Row:
    return _row("contacts", others, contact_id=contact_id, event_at=event_at, customer_id=customer_id,
                channel="email", direction="inbound")  # fmt: skip


def treatment(treatment_id: str, customer_id: str, event_at: str, **others: object) -> Row:
    return _row("treatments", others, treatment_id=treatment_id, event_at=event_at, customer_id=customer_id,
                campaign_id="autumn", treatment="discount", is_held_out="false", cost_amount="5.00",
                currency="USD")  # fmt: skip


def restated(row: Row, revision: int = 2, **others: object) -> Row:
    """The same record under a higher revision, with the columns that changed."""
    return row | _texts({"revision": revision} | others)


def deleted(row: Row, revision: int = 2) -> Row:
    """The same record under a higher revision that deletes it."""
    return restated(row, revision, is_deleted=True)


def subscription_of(customer_id: str) -> str:
    return f"S{customer_id[1:]}"


def deliver(inbox: Path, day: date, entity: str, rows: Iterable[Row]) -> Path:
    """Write ``<inbox>/<day>/<entity>.csv``; without rows it has its header only."""
    path = inbox / day.isoformat() / f"{entity}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(COLUMNS[entity])]
    lines += [",".join(row[column] for column in COLUMNS[entity]) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def deliver_day(inbox: Path, day: date, **rows: Iterable[Row]) -> Path:
    """Write a file of every entity; entities not named have no events. Returns the day's folder."""
    assert set(rows) <= set(ENTITIES), f"unknown entities: {set(rows) - set(ENTITIES)}"
    for entity in ENTITIES:
        deliver(inbox, day, entity, rows.get(entity, ()))
    return inbox / day.isoformat()


def deliver_world(
    inbox: Path, days: Sequence[date], world: Iterable[tuple[str, Row]] | None = None
) -> list[Path]:
    """Write one delivery per day of `days`, each with what happened since the one before."""
    happened = list(little_world(max(days)) if world is None else world)
    folders, since = [], ""
    for day in sorted(days):
        rows: dict[str, list[Row]] = {entity: [] for entity in ENTITIES}
        for entity, row in happened:
            if since < row["event_at"][:10] <= day.isoformat():
                rows[entity].append(row)
        folders.append(deliver_day(inbox, day, **rows))
        since = day.isoformat()
    return folders


def world_of(day: date) -> dict[str, list[Row]]:
    """What happened in the little world on `day`, by entity."""
    rows: dict[str, list[Row]] = {entity: [] for entity in ENTITIES}
    for entity, row in little_world(day):
        if row["event_at"].startswith(day.isoformat()):
            rows[entity].append(row)
    return rows


WORLD_BEGINS = date(2026, 4, 6)
HISTORY_ENDS, NIGHT = date(2026, 10, 30), date(2026, 10, 31)
WORLD_CUSTOMERS = tuple(f"C{number:08d}" for number in range(1, 21))


def little_world(last_day: date) -> Iterator[tuple[str, Row]]:
    """Twenty customers from 6 April 2026 to the end of `last_day`, as (entity, row).

    1-12 stay as they are; 13 upgrades on 1 August; 14 gets a discount on 1 September; 15 renews a
    year's contract of 1 May; 16 asks to cancel on 20 October; 17 leaves on 10 September; 18 on
    15 August without wanting to; 19 leaves on 1 August and returns on 8 August; 20 leaves on
    20 October. Everyone is invoiced monthly and pays three days later (5 fails in September
    and October), uses the product weekly while active, and every third has a ticket.
    """
    begin = at(WORLD_BEGINS, "00:00:00")
    yield "plans", plan("P1", begin)
    yield "plans", plan("P2", begin, plan_tier="premium", list_price_amount="45.00")
    for number, customer_id in enumerate(WORLD_CUSTOMERS, start=1):
        for entity, row in _life(number, customer_id, last_day):
            if row["event_at"] < at(last_day + timedelta(days=1), "00:00:00"):
                yield entity, row


_LATER_CHANGES: dict[int, list[tuple[date, dict[str, object]]]] = {
    13: [(date(2026, 8, 1), {"change_type": "upgrade", "plan_id": "P2", "monthly_price_amount": "45.00"})],
    14: [(date(2026, 9, 1), {"change_type": "discount_change", "discount_share": "0.2"})],
    15: [(date(2026, 5, 1), {"change_type": "renewal", "contract": "one_year",
                             "term_end_date": "2027-05-01"})],
    16: [(date(2026, 10, 20), {"change_type": "cancel_request", "is_auto_renewal": "false"})],
    17: [(date(2026, 9, 10), {"change_type": "end_voluntary"})],
    18: [(date(2026, 8, 15), {"change_type": "end_involuntary"})],
    19: [(date(2026, 8, 1), {"change_type": "end_voluntary"}), (date(2026, 8, 8), {"change_type": "return"})],
    20: [(date(2026, 10, 20), {"change_type": "end_voluntary"})],
}  # fmt: skip
_ENDS = {17: date(2026, 9, 10), 18: date(2026, 8, 15), 20: date(2026, 10, 20)}


def _life(number: int, customer_id: str, last_day: date) -> Iterator[tuple[str, Row]]:
    joined = WORLD_BEGINS + timedelta(days=number)
    end = min(last_day, _ENDS.get(number, last_day))
    yield "customers", customer(customer_id, at(joined, "09:00:00"),
                                region=("north", "south", "east", "west")[number % 4])  # fmt: skip
    yield "subscriptions", change(f"{customer_id}-0", customer_id, at(joined, "09:00:00"))
    for place, (day, columns) in enumerate(_LATER_CHANGES.get(number, ()), start=1):
        yield "subscriptions", change(f"{customer_id}-{place}", customer_id, at(day), **columns)
    yield from _bills(number, customer_id, joined, end)
    for week in range(1, (end - joined).days // 7 + 1):
        yield "usage", usage_week(customer_id, joined + timedelta(days=7 * week),
                                  session_count=3 + number % 5 + week % 3)  # fmt: skip
    if number % 3 == 0:
        opened = joined + timedelta(days=100 + number)
        for days, event_type in enumerate(("opened", "resolved", "rated")):
            yield "tickets", ticket(f"T{number}", customer_id, at(opened + timedelta(days=days)), event_type)
        yield "contacts", contact(f"K{number}", customer_id, at(opened, "12:30:00"))
    if number in (1, 2):
        held_out = number == 2
        yield "treatments", treatment(f"R{number}", customer_id, at(date(2026, 9, 5)), is_held_out=held_out,
                                      cost_amount="0.00" if held_out else "5.00")  # fmt: skip


def _bills(number: int, customer_id: str, joined: date, end: date) -> Iterator[tuple[str, Row]]:
    for month in range((end - joined).days // 30 + 1):
        issued = joined + timedelta(days=30 * month)
        invoice_id = f"I{number}-{month}"
        fails = number == 5 and issued.month in (9, 10)
        yield "invoices", invoice(invoice_id, customer_id, at(issued, "06:00:00"))
        yield "payments", payment(f"B{number}-{month}", invoice_id, customer_id,
                                  at(issued + timedelta(days=3), "06:00:00"),
                                  status="failed" if fails else "succeeded")  # fmt: skip


def cut_off_after(day: date) -> datetime:
    """The nightly cut-off of the as-of date `day`."""
    return datetime(day.year, day.month, day.day, 2, tzinfo=UTC) + timedelta(days=1)


def _row(entity: str, given: Mapping[str, object], **defaults: object) -> Row:
    row = {"revision": "1", "is_deleted": "false"} | _texts(defaults | dict(given))
    assert set(row) == set(COLUMNS[entity]), f"{entity}: {set(row) ^ set(COLUMNS[entity])}"
    return {column: row[column] for column in COLUMNS[entity]}


def _texts(values: Mapping[str, object]) -> Row:
    return {name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in values.items()}  # fmt: skip
