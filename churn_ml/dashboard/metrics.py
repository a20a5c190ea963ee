"""What the numbers are called and mean: from marts.metric_definitions, their one home."""

from dataclasses import dataclass

from churn_ml.dashboard.asking import ask
from churn_ml.dashboard.formats import show, show_change
from churn_ml.errors import WarehouseError


@dataclass(frozen=True)
class Metric:
    """One definition."""

    metric: str
    title: str
    mart: str
    column_name: str
    formula: str
    unit: str
    format: str
    better_is: str
    owner: str

    @property
    def help(self) -> str:
        """What stands in the tooltip of the number."""
        return f"{self.formula}. From `marts.{self.mart}.{self.column_name}`; defined by {self.owner}."

    def show(self, value: object, currency: str = "") -> str:
        """Return a value of the metric as people read it; null is not known."""
        return show(value, self.format, currency)

    def show_change(self, now: object, before: object) -> str | None:
        """Return what became of it since another night, signed; None where it cannot be told."""
        return show_change(now, before, self.format)

    def is_better(self, now: float, before: float) -> bool | None:
        """Say whether `now` is better than `before`; None where neither is, or nothing changed."""
        if self.better_is == "none" or now == before:
            return None
        return (now > before) == (self.better_is == "higher")


def metric(key: str) -> Metric:
    """Return the definition of `key`.

    Raises
    ------
    WarehouseError
        If the newest build of the marts did not define it.
    """
    definitions = ask("metric_definitions")
    found = definitions[definitions["metric"] == key]
    if found.empty:
        raise WarehouseError(
            f"Expected the metric {key} in marts.metric_definitions, found {len(definitions)} others. "
            "Run `churn-ml night`: it defines them anew."
        )
    return Metric(**{str(name): value for name, value in found.iloc[0].items()})
