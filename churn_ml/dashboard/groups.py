"""Groups of customers as people read them, and the interval of a share that was counted."""

import re
from math import sqrt

# How customers are divided: the column of the marts and its title, the most telling first.
DIVISIONS = {"contract": "Contract", "tenure_group": "Tenure", "segment": "Segment", "region": "Region"}

# Below it one leaver more or less moves a share by more than three points: such a share is no finding.
FEW_CUSTOMERS = 30

# Quantile of the normal distribution at 0.95: intervals are of 90 %, as in the marts.
_Z = 1.6448536269514722
_WINDOW = re.compile(r"(?P<name>.+)_(?P<days>\d+)d")


def group_label(code: str) -> str:
    """Return a code of the marts as people read it: month_to_month is Month to month."""
    text = code.replace("_", " ").strip()
    return text[:1].upper() + text[1:]


def in_sentence(code: str) -> str:
    """Return the code of a contract as it stands before its noun: month-to-month contracts."""
    return code.strip("_").replace("_", "-")


def feature_label(feature_name: str) -> str:
    """Return a feature's name as people read it: late_payments_90d is Late payments, 90 days."""
    windowed = _WINDOW.fullmatch(feature_name)
    if windowed is None:
        return group_label(feature_name)
    return f"{group_label(windowed['name'])}, {windowed['days']} days"


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """Return Wilson's 90 % score interval of `count` in `total`, as shares (0-1).

    Wilson, E. B. (1927), Probable inference, the law of succession, and statistical inference,
    Journal of the American Statistical Association 22, 209-212.
    """
    share, weight = count / total, _Z * _Z / total
    middle = (share + weight / 2) / (1 + weight)
    reach = _Z * sqrt(share * (1 - share) / total + weight / (4 * total)) / (1 + weight)
    low = 0.0 if count == 0 else middle - reach
    return low, 1.0 if count == total else middle + reach
