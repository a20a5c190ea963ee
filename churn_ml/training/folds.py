"""Forward folds: validate on one as-of date, learn only from dates whose label windows had closed by then.

Rows of many as-of dates are never dealt out at random: the same customer on two dates, or two label
windows that overlap, would let a fold learn from the outcomes that it is validated on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from churn_ml.errors import TrainingError

DateArray = npt.NDArray[np.datetime64]
IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True)
class LabelSpans:
    """The days that a label of as-of date d looks ahead: ``[end(d) + gap, end(d) + gap + horizon)``.

    A return within `grace_days` after leaving undoes it; `late_allowance_days` more are waited for
    late data before a label counts as known.
    """

    gap_days: int
    horizon_days: int
    grace_days: int
    late_allowance_days: int

    @property
    def closing_days(self) -> int:
        """Days from the end of an as-of date until nothing that happens can change its label."""
        return self.gap_days + self.horizon_days + self.grace_days

    def closes_on(self, as_of_date: date) -> date:
        """Return the day at whose end the label window of `as_of_date`, grace included, has closed."""
        return as_of_date + timedelta(days=self.closing_days)

    def known_on(self, as_of_date: date) -> date:
        """Return the first as-of date of a run that may know the label of `as_of_date`."""
        return self.closes_on(as_of_date) + timedelta(days=self.late_allowance_days)


@dataclass(frozen=True)
class ForwardFold:
    """One validation date and the earlier dates that may be learned from; an overlap cannot be built.

    Raises
    ------
    TrainingError
        If there is no training date, or the label window of one (grace included) reaches past the
        end of the validation date.
    """

    fold: int
    validation_date: date
    training_dates: tuple[date, ...]
    spans: LabelSpans

    def __post_init__(self) -> None:
        open_dates = [day for day in self.training_dates if self.spans.closes_on(day) > self.validation_date]
        if open_dates or not self.training_dates:
            found = ", ".join(f"{day} (closes {self.spans.closes_on(day)})" for day in open_dates) or "none"
            raise TrainingError(
                f"Expected training dates whose label windows of {self.spans.closing_days} days have closed "
                f"by the end of {self.validation_date}, found {found}. Take the folds of "
                "ForwardFolds.folds, which leaves such dates out."
            )

    def training_rows(self, as_of_dates: DateArray) -> IntArray:
        """Return the positions of the rows to learn from."""
        return np.flatnonzero(np.isin(as_of_dates, np.array(self.training_dates, "datetime64[D]")))

    def validation_rows(self, as_of_dates: DateArray) -> IntArray:
        """Return the positions of the rows to validate on."""
        return np.flatnonzero(as_of_dates == np.datetime64(self.validation_date, "D"))


class ForwardFolds:
    """Splits rows by their as-of dates alone, forward in time, after scikit-learn's splitter protocol.

    Fold v validates on date v and learns from every date d with
    ``d + gap_days + horizon_days + grace_days <= v``: its label window, grace included, has closed
    by the end of v. The newest `most_folds` dates with at least one such date are validated on.

    Parameters
    ----------
    spans : LabelSpans
    most_folds : int

    Raises
    ------
    TrainingError
        If anything else is asked for (a number of random folds, a shuffle).
    """

    def __init__(self, spans: LabelSpans, *, most_folds: int = 4, **asked: object) -> None:
        if asked or most_folds < 1:
            raise TrainingError(
                "Expected only spans and most_folds (at least 1), found "
                f"{', '.join(sorted(asked)) or f'most_folds {most_folds}'}: rows of many as-of dates are "
                "split forward in time and never at random. Leave it out; most_folds says how many of "
                "the newest dates to validate on."
            )
        self.spans = spans
        self.most_folds = most_folds

    def folds(self, as_of_dates: DateArray) -> list[ForwardFold]:
        """Return the folds over the rows' as-of dates, the oldest validation date first.

        Raises
        ------
        TrainingError
            If `as_of_dates` are no dates, or none can be validated on.
        """
        days: list[date] = np.unique(_checked(as_of_dates)).tolist()
        closed = {day: tuple(d for d in days if self.spans.closes_on(d) <= day) for day in days}
        validated = [day for day in days if closed[day]][-self.most_folds :]
        if not validated:
            raise TrainingError(
                f"Expected an as-of date at least {self.spans.closing_days} days (gap, horizon and grace) "
                f"after the first one to validate on, found {len(days)} dates"
                f"{f' from {days[0]} to {days[-1]}' if days else ''}. Land more history."
            )
        return [ForwardFold(fold, day, closed[day], self.spans) for fold, day in enumerate(validated)]

    def split(
        self,
        as_of_dates: DateArray,
        y: object = None,  # noqa: ARG002
        groups: object = None,  # noqa: ARG002
    ) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield the positions of training and validation rows of each fold.

        Parameters
        ----------
        as_of_dates : datetime64[D] array of shape (n_rows,)
            The rows' dates, and nothing else of them.
        y, groups : ignored
        """
        for fold in self.folds(as_of_dates):
            yield fold.training_rows(as_of_dates), fold.validation_rows(as_of_dates)

    def get_n_splits(self, as_of_dates: DateArray, y: object = None, groups: object = None) -> int:  # noqa: ARG002
        """Return the number of folds over the rows' as-of dates."""
        return len(self.folds(as_of_dates))


def _checked(as_of_dates: object) -> DateArray:
    if (
        isinstance(as_of_dates, np.ndarray)
        and as_of_dates.dtype == np.dtype("datetime64[D]")
        and as_of_dates.ndim == 1
        and not np.isnat(as_of_dates).any()
    ):
        return as_of_dates
    kind = getattr(as_of_dates, "dtype", type(as_of_dates).__name__)
    raise TrainingError(
        f"Expected one as-of date per row as a datetime64[D] array, found {kind}: ForwardFolds splits by "
        "date alone. Give it DatedPanel.as_of_dates."
    )
