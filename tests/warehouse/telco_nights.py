"""Builders of raw Telco deliveries, scores and audits by hand: nights of dbt without the other rooms."""

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime

from psycopg import sql
from untested import build_layer

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import Run, open_run

DAY = date(2026, 10, 31)
CUT_OFF = datetime(2026, 11, 1, 2, tzinfo=UTC)
BEFORE_FEATURES = ("staging", "intermediate", "features")
_batch_numbers = itertools.count(1)
_PLAIN = {
    "gender": "Female", "senior_citizen": "0", "partner": "Yes", "dependents": "No", "tenure": "10",
    "phone_service": "Yes", "multiple_lines": "No", "internet_service": "DSL", "online_security": "No",
    "online_backup": "No", "device_protection": "No", "tech_support": "No", "streaming_tv": "No",
    "streaming_movies": "No", "contract": "Month-to-month", "paperless_billing": "Yes",
    "payment_method": "Electronic check", "monthly_charges": "50.00", "total_charges": "500.00",
    "churn": "No",
}  # fmt: skip


def customer(customer_id: str, **changes: str | None) -> dict[str, str | None]:
    """One delivered row: an unremarkable customer, save for `changes`."""
    return {"customer_id": customer_id, **_PLAIN, **changes}


def _new_sha256() -> str:
    return hashlib.sha256(b"%d" % next(_batch_numbers)).hexdigest()


def deliver(
    settings: Settings,
    *rows: Mapping[str, str | None],
    known_at: datetime = CUT_OFF,
    as_of_date: date = DAY,
) -> int:
    """Land `rows` as one batch, and return its id."""
    with connect(settings, Role.LOADER) as loader:
        [batch_id] = loader.execute(
            "insert into ops.landing_batches (entity, file_name, file_format, file_sha256, file_byte_count,"
            " as_of_date, known_at, is_first_load,"
            " row_count_in_file, row_count_landed, row_count_quarantined)"
            " values ('customers', 'by hand', 'csv', %s, 1, %s, %s, false, %s, %s, 0) returning batch_id",
            [_new_sha256(), as_of_date, known_at, len(rows), len(rows)],
        ).fetchone() or [0]
        columns = [
            "customer_id",
            *_PLAIN,
            "_batch_id",
            "_row_number",
            "_as_of_date",
            "_known_at",
            "_landed_at",
        ]
        statement = sql.SQL("copy raw.customers ({}) from stdin").format(
            sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with loader.cursor().copy(statement) as stream:
            for number, row in enumerate(rows, start=1):
                stream.write_row([*row.values(), batch_id, number, as_of_date, known_at, datetime.now(UTC)])
    return int(str(batch_id))


def build(settings: Settings, run: Run, *layers: str, tested: bool = False) -> None:
    for layer in layers:
        build_layer(settings, run.run_id, layer, tested=tested)  # type: ignore[arg-type]


def score(settings: Settings, run: Run, probabilities: Mapping[str, float]) -> None:
    """Insert scores as the scorer would."""
    with connect(settings, Role.SCORER) as scorer:
        scorer.execute("select ops.ensure_score_partition(%s)", [run.as_of_date])
        for customer_id, probability in probabilities.items():
            scorer.execute(
                "insert into scores.customer_scores values"
                " (%s, %s, %s, %s, %s, 'model-1', false, md5(%s), clock_timestamp())",
                [run.as_of_date, run.run_id, customer_id, probability, probability, customer_id],
            )


def audit(settings: Settings, run: Run) -> None:
    """Record a marts gate that passed."""
    with connect(settings, Role.AUDITOR) as auditor:
        auditor.execute(
            "insert into ops.validation_results (run_id, gate, suite, check_name, table_name, severity,"
            " verdict, expected, owner, reason)"
            " values (%s, 'marts', 'by hand', 'none', 'none', 'block', 'pass', '', '', '')",
            [run.run_id],
        )


def publish(settings: Settings, run: Run) -> None:
    audit(settings, run)
    with connect(settings, Role.PUBLISHER) as publisher:
        publisher.execute("select ops.publish_run(%s, 'test')", [run.run_id])


def scored_night(
    settings: Settings,
    probabilities: Mapping[str, float],
    known_as_of: datetime = CUT_OFF,
    *,
    tested: bool = False,
) -> Run:
    """A night from staging to marts with given scores; not published."""
    run = open_run(settings, "night", known_as_of)
    build(settings, run, *BEFORE_FEATURES, tested=tested)
    score(settings, run, probabilities)
    build(settings, run, "marts", tested=tested)
    return run


def rows(
    settings: Settings, statement: str, parameters: Iterable[object] = (), role: Role = Role.AUDITOR
) -> list[tuple[object, ...]]:
    with connect(settings, role) as connection:
        return connection.execute(statement, list(parameters)).fetchall()
