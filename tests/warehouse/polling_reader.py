"""A reader that polls every mart as BI does and notes what no whole, audited night explains."""

import threading
from dataclasses import dataclass, field
from datetime import date

from psycopg import sql

from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Connection, Role, connect

State = frozenset[str]
Content = dict[tuple[str, str], str]


def contents(connection: Connection, marts: list[str]) -> Content:
    """What the role of `connection` sees of each run in each mart, by number of rows and hash."""
    found: Content = {}
    for mart in marts:
        statement = sql.SQL(
            "select run_id, concat_ws(' ', count(*),"
            " sum(('x' || left(md5(mart::text), 15))::bit(60)::bigint)) from {} as mart group by run_id"
        ).format(sql.Identifier("marts", mart))
        found |= {(mart, str(run_id)): str(told) for run_id, told in connection.execute(statement).fetchall()}
    return found


@dataclass
class Poller:
    """Reads every mart as BI does, over and over, and notes what no whole, audited night explains."""

    settings: Settings
    audited: dict[str, date]
    marts: list[str]
    current: frozenset[str]
    whole: Content
    seen: dict[State, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stopping = threading.Event()

    def poll(self, reader: Connection) -> None:
        """Look at all marts in one snapshot, then at each in a snapshot of its own."""
        with reader.transaction():
            reader.execute("set transaction isolation level repeatable read")
            found = contents(reader, self.marts)
        shown = frozenset(run_id for mart, run_id in found if mart == "dim_scoring_run")
        self.seen[shown] = self.seen.get(shown, 0) + 1
        self.judge(found, shown)
        for mart in self.marts:
            alone = contents(reader, [mart])
            self.judge(alone, frozenset(run_id for _, run_id in alone), [mart], is_alone=True)

    def judge(
        self, found: Content, shown: State, marts: list[str] | None = None, *, is_alone: bool = False
    ) -> None:
        dates = [self.audited[run_id] for run_id in shown if run_id in self.audited]
        if len(dates) != len(shown) or len(set(dates)) != len(dates):
            self.wrong.append(f"shown: {sorted(shown)}")
            return
        newest = max(shown, key=lambda run_id: self.audited[run_id], default=None)
        for mart in marts or self.marts:
            runs = shown if mart not in self.current or is_alone else {newest}
            due = {
                (mart, run_id): self.whole[mart, run_id] for run_id in runs if (mart, run_id) in self.whole
            }
            given = {key: told for key, told in found.items() if key[0] == mart}
            if due != given or (is_alone and mart in self.current and len(shown) > 1):
                self.wrong.append(f"{mart}: expected {due}, found {given}")

    def run(self) -> None:
        with connect(self.settings, Role.READER, autocommit=True) as reader:
            while not self.stopping.is_set():
                self.poll(reader)
