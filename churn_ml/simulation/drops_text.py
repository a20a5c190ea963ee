"""Rows of codes as the text columns of their files: ids, moments, dates, money, labels."""

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from churn_ml.simulation.business_plans import PLANS
from churn_ml.simulation.business_rows import Rows
from churn_ml.simulation.treatments import TREATMENTS

CURRENCY = "USD"
CHANGES = [
    "start", "upgrade", "downgrade", "price_change", "discount_change", "renewal", "cancel_request",
    "cancel_withdrawal", "end_voluntary", "end_involuntary", "return",
]  # fmt: skip
_TYPES = ["consumer", "small_business"]
_REGIONS = ["north", "south", "east", "west"]
_ACQUISITION = ["web", "store", "partner", "referral"]
_AGES = ["18_29", "30_44", "45_59", "60_plus", "not_stated"]
_GENDERS = ["female", "male", "not_stated"]
_CONTRACTS = ["month_to_month", "one_year", "two_year"]
_STATUSES = ["succeeded", "failed", "refunded"]
_TICKET_EVENTS = ["opened", "resolved", "rated"]
_CATEGORIES = ["billing", "technical", "account"]
_PRIORITIES = ["low", "normal", "high"]
_CHANNELS = ["email", "phone", "chat", "in_app"]
_FIRST_DAY = 10_957  # 2000-01-01
_LAST_DAY = 29_219  # 2049-12-31


def to_table(entity: str, rows: Rows, campaigns: list[str]) -> pa.Table:
    """Return the table of an entity as its file has it: key columns, versions, the rest."""
    return pa.table(_COLUMNS[entity](rows, campaigns))


def _versions(rows: Rows) -> dict[str, pa.Array]:
    return {
        "event_at": _moments(rows["moment"]),
        "revision": pa.array(rows["revision"]),
        "is_deleted": _flags(rows["is_deleted"]),
    }


def _customers(rows: Rows, _: list[str]) -> dict[str, pa.Array]:
    return {
        "customer_id": _ids("C", rows["who"]),
        **_versions(rows),
        "signup_date": _dates(rows["signup_day"]),
        "customer_type": _labels(rows["customer_type"], _TYPES),
        "region": _labels(rows["region"], _REGIONS),
        "acquisition_channel": _labels(rows["channel"], _ACQUISITION),
        "age_group": _labels(rows["age"], _AGES),
        "gender": _labels(rows["gender"], _GENDERS),
    }


def _plans(rows: Rows, _: list[str]) -> dict[str, pa.Array]:
    plan = rows["plan"]
    return {
        "plan_id": _plan_ids(plan),
        **_versions(rows),
        "plan_name": _labels(plan, [name for _, name, _, _ in PLANS]),
        "plan_tier": _labels(plan, [tier for _, _, tier, _ in PLANS]),
        "list_price_amount": _amounts(rows["price"]),
        "currency": _currency(rows),
    }


def _subscriptions(rows: Rows, _: list[str]) -> dict[str, pa.Array]:
    return {
        "change_id": _dated_ids("H", rows["who"], rows["moment"] // 86_400),
        **_versions(rows),
        "subscription_id": _ids("S", rows["who"]),
        "customer_id": _ids("C", rows["who"]),
        "change_type": _labels(rows["change_type"], CHANGES),
        "plan_id": _plan_ids(rows["plan"]),
        "monthly_price_amount": _amounts(rows["price"]),
        "discount_share": _amounts(rows["discount"].astype(np.int32)),
        "currency": _currency(rows),
        "contract": _labels(rows["contract"], _CONTRACTS),
        "term_end_date": _dates(rows["term_end"]),
        "is_auto_renewal": _flags(rows["is_auto"]),
    }


def _invoices(rows: Rows, _: list[str]) -> dict[str, pa.Array]:
    return {
        "invoice_id": _dated_ids("I", rows["who"], rows["moment"] // 86_400),
        **_versions(rows),
        "customer_id": _ids("C", rows["who"]),
        "subscription_id": _ids("S", rows["who"]),
        "due_date": _dates(rows["due_day"]),
        "amount": _amounts(rows["amount"]),
        "currency": _currency(rows),
    }


def _payments(rows: Rows, _: list[str]) -> dict[str, pa.Array]:
    is_refund = (rows["status"] == _STATUSES.index("refunded")).astype(np.int8)
    return {
        "payment_id": _dated_ids("PR", rows["who"], rows["moment"] // 86_400, is_refund),
        **_versions(rows),
        "invoice_id": _dated_ids("I", rows["who"], rows["invoice_day"]),
        "customer_id": _ids("C", rows["who"]),
        "status": _labels(rows["status"], _STATUSES),
        "amount": _amounts(rows["amount"]),
        "currency": _currency(rows),
    }


def _usage(rows: Rows, _: list[str]) -> dict[str, pa.Array]:
    return {
        "customer_id": _ids("C", rows["who"]),
        **_versions(rows),
        "session_count": pa.array(rows["sessions"]),
        "active_minutes": pa.array(rows["minutes"]),
        "search_count": pa.array(rows["searches"]),
        "export_count": pa.array(rows["exports"]),
        "share_count": pa.array(rows["shares"]),
    }


def _tickets(rows: Rows, _: list[str]) -> dict[str, pa.Array]:
    csat = rows["csat"]
    return {
        "ticket_id": _dated_ids("T", rows["who"], rows["ticket_day"]),
        "event_type": _labels(rows["event_type"], _TICKET_EVENTS),
        **_versions(rows),
        "customer_id": _ids("C", rows["who"]),
        "category": _labels(rows["kind"], _CATEGORIES),
        "priority": _labels(rows["priority"], _PRIORITIES),
        "csat": pa.array(csat, mask=csat == 0),
    }


def _contacts(rows: Rows, _: list[str]) -> dict[str, pa.Array]:
    return {
        "contact_id": _dated_ids("NBW", rows["who"], rows["moment"] // 86_400, rows["kind"]),
        **_versions(rows),
        "customer_id": _ids("C", rows["who"]),
        "channel": _labels(rows["channel"], _CHANNELS),
        "direction": _labels(rows["is_outbound"], ["inbound", "outbound"]),
    }


def _treatments(rows: Rows, campaigns: list[str]) -> dict[str, pa.Array]:
    return {
        "treatment_id": _dated_ids("BW", rows["who"], rows["moment"] // 86_400, rows["kind"]),
        **_versions(rows),
        "customer_id": _ids("C", rows["who"]),
        "campaign_id": _labels(rows["campaign"], campaigns),
        "treatment": _labels(rows["treatment"], list(TREATMENTS)),
        "is_held_out": _flags(rows["is_held_out"]),
        "cost_amount": _amounts(rows["cost"]),
        "currency": _currency(rows),
    }


_COLUMNS = {
    "customers": _customers,
    "plans": _plans,
    "subscriptions": _subscriptions,
    "invoices": _invoices,
    "payments": _payments,
    "usage": _usage,
    "tickets": _tickets,
    "contacts": _contacts,
    "treatments": _treatments,
}


def _labels(codes: NDArray[Any], labels: list[str]) -> pa.Array:
    return pa.array(labels, pa.string()).take(pa.array(codes))


def _flags(flags: NDArray[Any]) -> pa.Array:
    return _labels(flags.astype(np.int8), ["false", "true"])


def _plan_ids(plan: NDArray[Any]) -> pa.Array:
    return _labels(plan, [plan_id for plan_id, *_ in PLANS])


def _currency(rows: Rows) -> pa.Array:
    return pa.repeat(pa.scalar(CURRENCY), len(rows["who"]))


def _amounts(cents: NDArray[Any]) -> pa.Array:
    """Write cents (or per cents) as units with two decimals."""
    units, rest = np.divmod(cents, 100)
    decimals = _labels(rest.astype(np.int8), [f".{step:02d}" for step in range(100)])
    return pc.binary_join_element_wise(pa.array(units).cast(pa.string()), decimals, "")


def _fixed(characters: NDArray[np.uint8], mask: NDArray[np.bool_] | None = None) -> pa.Array:
    """Make strings out of a row of characters each; masked ones are blank."""
    count, width = characters.shape
    offsets = pa.py_buffer(np.arange(0, width * (count + 1), width, dtype=np.int32))
    strings = pa.StringArray.from_buffers(count, offsets, pa.py_buffer(characters))
    return strings if mask is None else pc.if_else(pa.array(mask), pa.scalar(None, pa.string()), strings)


def _text_table(texts: Any, width: int) -> NDArray[np.uint8]:
    return np.array(texts).astype(f"S{width}").view(np.uint8).reshape(len(texts), width)


@cache
def _day_texts() -> NDArray[np.uint8]:
    days = np.arange(_FIRST_DAY, _LAST_DAY + 1).astype("datetime64[D]")
    return _text_table(np.datetime_as_string(days), 10)


@cache
def _second_texts() -> NDArray[np.uint8]:
    seconds = np.datetime_as_string(np.arange(86_400).astype("datetime64[s]"))
    return np.ascontiguousarray(_text_table(seconds, 19)[:, 10:])


@cache
def _four_digits() -> NDArray[np.uint8]:
    return _text_table([f"{number:04d}" for number in range(10_000)], 4)


def _moments(moment: NDArray[np.int64]) -> pa.Array:
    day, second = np.divmod(moment, 86_400)
    characters = np.empty((len(moment), 20), np.uint8)
    characters[:, :10] = _day_texts()[day - _FIRST_DAY]
    characters[:, 10:19] = _second_texts()[second]
    characters[:, 19] = ord("Z")
    return _fixed(characters)


def _dates(days: NDArray[np.int32]) -> pa.Array:
    blank = days == 0
    texts = _day_texts()[np.where(blank, 0, days - _FIRST_DAY)]
    return _fixed(texts, blank if blank.any() else None)


def _write_id(characters: NDArray[np.uint8], who: NDArray[Any]) -> None:
    high, low = np.divmod(who, 10_000)
    characters[:, 1:5] = _four_digits()[high]
    characters[:, 5:9] = _four_digits()[low]


def _ids(letter: str, who: NDArray[Any]) -> pa.Array:
    """Name each customer like ``C00000017``."""
    characters = np.empty((len(who), 9), np.uint8)
    characters[:, 0] = ord(letter)
    _write_id(characters, who)
    return _fixed(characters)


def _dated_ids(
    letters: str, who: NDArray[Any], day: NDArray[Any], kind: NDArray[Any] | None = None
) -> pa.Array:
    """Name what happens at most once a day like ``I00000017-260301``; `kind` chooses the letter."""
    characters = np.empty((len(who), 16), np.uint8)
    codes = np.frombuffer(letters.encode(), np.uint8)
    characters[:, 0] = codes[0] if kind is None else codes[kind]
    _write_id(characters, who)
    characters[:, 9] = ord("-")
    characters[:, 10:] = _day_texts()[day - _FIRST_DAY][:, [2, 3, 5, 6, 8, 9]]
    return _fixed(characters)
