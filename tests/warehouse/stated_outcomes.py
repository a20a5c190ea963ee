"""A night whose window has closed and the night that states what became of everyone; both published.

The night of 30 October is scored by hand. By 16 December its window has closed, and that night states
what became of everyone. An end of November lands later still.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from subscription_deliveries import at, change, customer, cut_off_after, treatment
from subscription_nights import build_features, convert, land, score, show_before
from telco_nights import BEFORE_FEATURES, publish
from untested import build_layer

from churn_ml.settings import Settings
from churn_ml.warehouse.runs import Run, open_run, read_run

SCORED, BETWEEN, STATING = date(2026, 10, 30), date(2026, 11, 19), date(2026, 12, 16)
LATE = cut_off_after(date(2026, 12, 20))


def key(number: int) -> str:
    return f"C{number:08d}"


def end(number: int, day: date, change_type: str = "end_voluntary") -> dict[str, str]:
    return change(f"{key(number)}-end", key(number), at(day), change_type=change_type)


PROBABILITIES = {1: 0.01, 2: 0.02, 3: 0.3, 4: 0.2, 5: 0.04, 6: 0.08, 7: 0.06, 8: 0.25, 9: 0.25, 10: 0.03,
                 11: 0.15, 12: 0.2, 13: 0.03, 14: 0.01, 15: 0.01, 19: 0.02, 21: 0.03}  # fmt: skip
LIVES = [
    end(3, date(2026, 11, 3)),
    end(4, date(2026, 11, 20)),
    end(5, date(2026, 11, 25), "end_involuntary"),
    end(6, date(2026, 12, 10)),
    end(7, date(2026, 11, 20)),
    change(f"{key(7)}-back", key(7), at(date(2026, 11, 24)), change_type="return"),
    end(9, date(2026, 11, 30)),
    end(10, date(2026, 12, 1)),
    end(11, date(2026, 10, 29)),
    end(21, date(2026, 11, 20)),
]
TREATMENTS = [
    treatment(f"R-{number}", key(number), at(date(2026, 11, 9)), is_held_out=number == 10)
    for number in (8, 9, 10)
]


@dataclass(frozen=True)
class History:
    """A warehouse whose night of 16 December has stated the outcomes of 30 October."""

    settings: Settings
    scored: Run
    stating: Run


def state_outcomes(settings: Settings, inbox: Path) -> History:
    """Land the lives, publish the night of 30 October and that of 16 December in `settings`."""
    joined = at(date(2026, 7, 1))
    land(
        settings,
        inbox,
        SCORED,
        cut_off_after(SCORED),
        customers=[customer(key(21), joined)],
        subscriptions=[change("start", key(21), joined, monthly_price_amount="30.00")],
    )
    land(settings, inbox, STATING, cut_off_after(STATING), subscriptions=LIVES, treatments=TREATMENTS)
    land(settings, inbox, LATE.date(), LATE, subscriptions=[end(12, date(2026, 11, 22))])
    scored = open_run(settings, "night", cut_off_after(SCORED))
    for layer in BEFORE_FEATURES:
        build_layer(settings, scored.run_id, layer)  # type: ignore[arg-type]
    score(settings, scored, {key(number): p for number, p in PROBABILITIES.items()})
    build_layer(settings, scored.run_id, "marts")
    convert(settings, key(21), "1.1")
    publish(settings, scored)
    stating = open_run(settings, "night", cut_off_after(STATING))
    build_features(settings, stating, tested=True)
    score(settings, stating)
    show_before(settings, stating, scored, BETWEEN, high=[key(10), key(21)])
    build_layer(settings, stating.run_id, "marts", tested=True)
    publish(settings, stating)
    return History(settings, read_run(settings, scored.run_id), read_run(settings, stating.run_id))
