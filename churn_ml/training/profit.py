"""What treating customers earns: the profit of a model's decisions, and EMPC."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression  # type: ignore[import-untyped]
from scipy.special import betainc  # type: ignore[import-untyped]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# Verbraken et al. 2013, section 6: acceptance is Beta(6, 14), 0.3 on average.
EMPC_ALPHA, EMPC_BETA = 6.0, 14.0
EMPC_CLV_AMOUNT, EMPC_OFFER_COST_AMOUNT, EMPC_CONTACT_COST_AMOUNT = 200.0, 10.0, 1.0


@dataclass(frozen=True)
class DecisionParameters:
    """One row of ``features.decision_parameters``: what the business decided about acting on a score.

    The money fields are None where the dataset declares none. Shares are 0-1, amounts in `currency`.
    """

    tier_medium_from: float
    tier_high_from: float
    value_horizon_months: float | None = None
    margin_share: float | None = None
    contact_cost_amount: float | None = None
    offer_cost_amount: float | None = None
    acceptance_share: float | None = None
    currency: str | None = None

    @property
    def money(self) -> tuple[float, float, float, float, float] | None:
        """Horizon, margin, contact cost, offer cost and acceptance; None where one is not declared."""
        amounts = (
            self.value_horizon_months,
            self.margin_share,
            self.contact_cost_amount,
            self.offer_cost_amount,
            self.acceptance_share,
        )
        given = [float(amount) for amount in amounts if amount is not None]
        return (given[0], given[1], given[2], given[3], given[4]) if len(given) == len(amounts) else None


@dataclass(frozen=True)
class TreatmentProfits:
    """What treating each customer earns, in the currency of the parameters; each of shape (n,).

    `if_churning` and `if_staying` are NaN where the customer's value is not known.
    """

    if_churning: FloatArray
    if_staying: FloatArray

    def expected(self, probabilities: FloatArray) -> FloatArray:
        """Return ``p x if_churning + (1 - p) x if_staying``, of the shape of `probabilities`."""
        return probabilities * self.if_churning + (1 - probabilities) * self.if_staying

    def realised(self, churned: BoolArray, acted_on: BoolArray) -> FloatArray:
        """Return what the decisions earned: 0 where not acted on, NaN where the value is not known."""
        treated = np.where(churned, self.if_churning, self.if_staying)
        return np.where(np.isnan(treated), np.nan, np.where(acted_on, treated, 0.0))

    def chance(self, probabilities: FloatArray, differing: BoolArray) -> float:
        """Return the standard error of the mean profit of decisions if `probabilities` are true.

        That of what happened says nothing where none of the few acted on left.

        Parameters
        ----------
        differing : boolean array of shape (n,)
            Where the decisions differ from those they are compared with.
        """
        spread = np.nan_to_num(self.if_churning - self.if_staying)[differing]
        p = probabilities[differing]
        known = int(np.isfinite(self.if_staying).sum())
        return float(np.sqrt((p * (1 - p) * spread**2).sum())) / known


def treatment_profits(
    monthly_values: FloatArray, decision: DecisionParameters | None
) -> TreatmentProfits | None:
    """Return what treating each customer earns, or None where no profit can be told.

    With ``v = monthly value x value_horizon_months x margin_share``, acceptance share g, offer cost d
    and contact cost f, one contact earns (Neslin et al. 2006, equation 1, without the fixed cost of a
    campaign; Verbraken et al. 2013, equation 4, where v is one constant):

    - ``g (v - d) - f`` with a customer who would leave: g of them accept the offer and stay;
    - ``-d - f`` with one who would stay: they take the offer and would have stayed without.

    Outcomes are taken as those without treatment: where treated customers stay in the panel, what their
    offers saved is not seen.

    Parameters
    ----------
    monthly_values : float array of shape (n,)
        NaN where not known.
    decision : DecisionParameters or None
        None, or without money: there is no profit to tell.
    """
    money = None if decision is None else decision.money
    if money is None or np.isnan(monthly_values).all():
        return None
    horizon, margin, contact, offer, acceptance = money
    values = monthly_values * (horizon * margin)
    staying = np.where(np.isnan(values), np.nan, -offer - contact)
    return TreatmentProfits(acceptance * (values - offer) - contact, staying)


def acted_on(
    probabilities: FloatArray, monthly_values: FloatArray, decision: DecisionParameters | None
) -> BoolArray | None:
    """Return who is acted on by these probabilities, or None where nothing was decided.

    With money: where the expected profit of treating is above 0; a customer whose value is not known
    is not acted on. Without: where p is at or above ``tier_high_from``.

    Parameters
    ----------
    probabilities : float array of shape (n,) or (repeats, n)
    monthly_values : float array of shape (n,)
    """
    if decision is None:
        return None
    profits = treatment_profits(monthly_values, decision)
    if profits is None:
        high: BoolArray = probabilities >= decision.tier_high_from
        return high
    positive: BoolArray = np.nan_to_num(profits.expected(probabilities), nan=0.0) > 0
    return positive


def expected_maximum_profit(
    churned_counts: FloatArray,
    stayed_counts: FloatArray,
    *,
    alpha: float = EMPC_ALPHA,
    beta: float = EMPC_BETA,
    clv_amount: float = EMPC_CLV_AMOUNT,
    offer_cost_amount: float = EMPC_OFFER_COST_AMOUNT,
    contact_cost_amount: float = EMPC_CONTACT_COST_AMOUNT,
) -> float:
    """Return EMPC, the expected maximum profit per customer of a ranking (Verbraken et al. 2013).

    Where a share g of those who would leave accepts the offer, the best share of the ranking to treat
    earns ``max over t of CLV (g (1 - D) - F) pi0 F0(t) - CLV (D + F) pi1 F1(t)``, D and F being the
    costs over CLV, pi0 and pi1 the shares who leave and stay, F0(t) and F1(t) those of them treated.
    EMPC is its mean over ``g ~ Beta(alpha, beta)``, in closed form over the segments of the ROC
    convex hull (their equations 23-26). The hull is that of the pooled adjacent violators (Fawcett
    and Niculescu-Mizil 2007).

    Parameters
    ----------
    churned_counts, stayed_counts : float arrays of shape (n_scores,)
        Customers at each distinct score, highest first; they may be weights.

    Returns
    -------
    float
        Per customer, in the currency of the parameters.
    """
    totals = churned_counts + stayed_counts
    seen = totals > 0
    churned_counts, stayed_counts, totals = churned_counts[seen], stayed_counts[seen], totals[seen]
    pools = isotonic_regression(churned_counts / totals, weights=totals, increasing=False).blocks[1:]
    churners = np.concatenate([[0.0], np.cumsum(churned_counts)[pools - 1]]) / totals.sum()
    stayers = np.concatenate([[0.0], np.cumsum(stayed_counts)[pools - 1]]) / totals.sum()
    offer, contact = offer_cost_amount / clv_amount, contact_cost_amount / clv_amount
    with np.errstate(divide="ignore"):
        ratios = np.diff(stayers) / np.diff(churners)
    # The acceptance from which one more segment of the hull is worth treating.
    from_share = ((offer + contact) * ratios + contact) / (1 - offer)
    limits = np.clip(np.concatenate([[0.0], from_share, [1.0]]), 0, 1)
    mass = np.diff(betainc(alpha, beta, limits))
    mean = np.diff(betainc(alpha + 1, beta, limits)) * alpha / (alpha + beta)
    gain = ((1 - offer) * mean - contact * mass) * churners - (offer + contact) * mass * stayers
    return float(clv_amount * gain.sum())
