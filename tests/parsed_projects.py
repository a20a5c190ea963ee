"""One parsing of the dbt project for all warehouses of a test run: it costs seconds, a clone 0.1 of one."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

from dbt import compilation
from dbt.contracts.graph.nodes import InjectedCTE
from locks import only_one

from churn_ml.services import dbt
from churn_ml.settings import Settings


@contextmanager
def parsed_once(folder: Path) -> Iterator[None]:
    """Keep what dbt parsed in `folder`, for this process and the other workers.

    What is parsed holds the name of the database and nothing else of a warehouse. The names of all
    clones of a dataset have one length, so one can stand in another's place.
    """
    with (
        patch.object(dbt, "_parse", _from_folder(folder, dbt._parse)),
        patch.object(compilation, "inject_ctes_into_sql", _from_memory(compilation.inject_ctes_into_sql)),
    ):
        yield


def _from_memory(inject: Callable[[str, list[InjectedCTE]], str]) -> Callable[[str, list[InjectedCTE]], str]:
    """Take a query apart once, whatever the name of the database is: dbt does so in each build."""
    kept: dict[tuple[str, ...], str] = {}

    def inject_ctes_into_sql(sql: str, ctes: list[InjectedCTE]) -> str:
        name = os.environ["CHURN_DBT_DATABASE"]
        key = tuple(text.replace(name, "\0") for text in (sql, *(cte.sql for cte in ctes)))
        if key not in kept:
            kept[key] = inject(sql, ctes).replace(name, "\0")
        return kept[key].replace("\0", name)

    return inject_ctes_into_sql


def _from_folder(
    folder: Path, parse: Callable[[Settings, str, str], bytes]
) -> Callable[[Settings, str, str], bytes]:
    kept: dict[Path, bytes] = {}

    def parse_for(settings: Settings, address: str, signature: str) -> bytes:
        name = settings.warehouse_database.encode()
        nameless = b"\0" * len(name)
        # What is declared beside the project is no part of it: a link to it is the same project.
        project = (settings.project_dir / "dbt_project").resolve().parent
        if project != settings.project_dir:
            settings = settings.model_copy(update={"project_dir": project})
            signature = dbt._project_signature(settings)
        key = f"{project} {settings.dataset} {len(name)} {signature}"
        path = folder / sha256(key.encode()).hexdigest()
        if path not in kept:
            with only_one(path):
                if not path.exists():
                    path.write_bytes(parse(settings, address, signature).replace(name, nameless))
            kept[path] = path.read_bytes()
        return kept[path].replace(nameless, name)

    return parse_for
