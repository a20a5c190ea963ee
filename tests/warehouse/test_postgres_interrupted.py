"""The embedded server after a set-up that somebody interrupted."""

from pathlib import Path

from churn_ml.services.postgres import data_folder, remove_postgres, start_postgres
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import connect_admin
from churn_ml.warehouse.state import update_state


def test_interrupted_set_up_is_begun_anew(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, home=tmp_path / "home")
    update_state(settings)
    unfinished = data_folder(settings).with_name("data.unfinished")
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n", encoding="utf-8")
    try:
        start_postgres(settings)
        with connect_admin(settings) as admin:
            assert admin.execute("select 1").fetchone() == (1,)
        assert not unfinished.exists()
    finally:
        remove_postgres(settings)
