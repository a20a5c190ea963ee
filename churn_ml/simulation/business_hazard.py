"""The hidden hazard: how likely a customer is to ask for a cancellation, from what the tables show.

The monthly hazard ``h`` of a customer on a day is ``1 / (1 + exp(-logit))`` with

    logit = INTERCEPT
          + CONTRACT[contract]
          + NEAR_TERM_END                   at most 45 days before the end of a term
          + NOT_AUTO_NEAR_TERM_END          the same, and the contract does not renew itself
          + TENURE * ln(1 + months since the last start or return)
          + PRICE_GAP * (net price / list price of the plan - 1)
          + PRICE_SHOCK * price shock       rises of the net price in steps of 10 %; fades by 10 % a week
          + PAYMENT_TROUBLE * trouble       1 per failed, 0.4 per late payment; fades by 13 % a week; 0-3
          + ENGAGEMENT * engagement         latent; weekly usage shows it with noise
          + TREND * (engagement - its own slow average)
          + TICKET_TROUBLE * trouble        0.5 per ticket (1 if high), 0.5 if open for more than 5 days,
                                            +1 at csat 1-2, -0.5 at csat 4-5; fades by 16 % a week; 0 to 3
          + PLAN_MOOD * mood                +1 at a downgrade, -1 at an upgrade; fades by 8 % a week
          + TYPE[customer_type] + CHANNEL[acquisition_channel]
          + the effect of a treatment while it lasts

and the daily one is ``1 - (1 - h) ** (1 / 30)``. It is evaluated anew on the customer's own weekday, at a
start, a return and a treatment, and holds in between. It acts on every day on which the customer is
active, has no open cancel request and no other change of the subscription.
"""

import numpy as np

from churn_ml.simulation.business_draws import Floats, Who
from churn_ml.simulation.business_state import MONTH_TO_MONTH, World

INTERCEPT = -3.05
CONTRACT = np.array([0.0, -1.7, -2.3], np.float32)
NEAR_TERM_END = 1.9
NOT_AUTO_NEAR_TERM_END = 0.6
NEAR_TERM_DAYS = 45
TENURE = -0.40
PRICE_GAP = 2.5
PRICE_SHOCK = 0.9
PAYMENT_TROUBLE = 0.8
ENGAGEMENT = -0.85
TREND = -1.1
TICKET_TROUBLE = 0.75
PLAN_MOOD = 0.8
TYPE = np.array([0.0, -0.4], np.float32)
CHANNEL = np.array([0.1, 0.0, 0.2, -0.3], np.float32)
FADES = {"price_shock": 0.90, "payment_trouble": 0.87, "ticket_trouble": 0.84, "plan_mood": 0.92}
_MONTH_DAYS = 30


def monthly_logit(world: World, who: Who, day: int) -> Floats:
    """Evaluate the formula of the module for some customers."""
    c = world.customers
    contract, term_end, plan = c.contract[who], c.term_end[who], c.plan[who]
    logit = INTERCEPT + CONTRACT[contract] + TYPE[c.customer_type[who]] + CHANNEL[c.channel[who]]
    is_near = (contract != MONTH_TO_MONTH) & (term_end - day <= NEAR_TERM_DAYS)
    logit += is_near * (np.float32(NEAR_TERM_END) + np.float32(NOT_AUTO_NEAR_TERM_END) * ~c.is_auto[who])
    months = (day - c.start_day[who]).astype(np.float32) / _MONTH_DAYS
    logit += np.float32(TENURE) * np.log1p(months)
    net = c.price[who].astype(np.float32) * (100 - c.discount[who]).astype(np.float32) / 100
    logit += np.float32(PRICE_GAP) * (net / world.list_price[plan].astype(np.float32) - 1)
    logit += np.float32(PRICE_SHOCK) * c.price_shock[who]
    logit += np.float32(PAYMENT_TROUBLE) * c.payment_trouble[who]
    engagement = c.engagement[who]
    logit += np.float32(ENGAGEMENT) * engagement + np.float32(TREND) * (engagement - c.slow[who])
    logit += np.float32(TICKET_TROUBLE) * c.ticket_trouble[who]
    logit += np.float32(PLAN_MOOD) * c.plan_mood[who]
    logit += c.treatment_effect[who] * (c.treated_until[who] >= day)
    return np.asarray(logit, np.float32)


def evaluate(world: World, who: Who, day: int) -> None:
    """Store the daily hazard of some customers until it is evaluated again."""
    monthly = 1 / (1 + np.exp(-monthly_logit(world, who, day).astype(np.float64)))
    world.customers.hazard[who] = -np.expm1(np.log1p(-monthly) / _MONTH_DAYS)


def fade(world: World, who: Who) -> None:
    """Let a week pass over what the hazard remembers."""
    for name, share in FADES.items():
        values = getattr(world.customers, name)
        values[who] *= np.float32(share)


def add_price_shock(world: World, who: Who, before: Floats, after: Floats) -> None:
    """Remember a rise of the net price, in steps of 10 %; a cut is no shock."""
    shock = world.customers.price_shock
    shock[who] += np.clip(10 * (after / before - 1), 0, 3).astype(np.float32)
