"""A server that is not ours: its user may create databases and roles, and is no superuser."""

import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
from nightly import cut_off_of, first_load, night, read, train_and_promote
from pydantic import SecretStr

from churn_ml.errors import WarehouseError
from churn_ml.services.postgres import remove_postgres, start_postgres
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, admin_url, connect, connect_admin
from churn_ml.warehouse.provision import provision


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with two users who may create databases and roles, and one who may not."""
    home = Settings(_env_file=None, home=tmp_path_factory.mktemp("outside") / "home", dataset="telco")
    start_postgres(home)
    with connect_admin(home) as admin:
        for user in ("first", "second"):
            admin.execute(f"create role {user} login createdb createrole password 'known'")
        admin.execute("create role visitor login password 'known'")
    yield f"{admin_url(home).host}:{admin_url(home).port}/postgres"
    remove_postgres(home)


def deployment(home: Path, outside: str, user: str | None) -> Settings:
    credentials = f"{user}:known@" if user else ""
    return Settings(
        _env_file=None,
        home=home,
        dataset="telco",
        warehouse_url=SecretStr(f"postgresql://{credentials}{outside}"),
        role_secret=SecretStr("shared"),
    )


@pytest.fixture(scope="module")
def provisioned(outside: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = deployment(tmp_path_factory.mktemp("first"), outside, "first")
    provision(settings)
    return settings


def test_user_without_superuser_provisions_twice_and_every_role_connects(provisioned: Settings) -> None:
    provision(provisioned)
    for role in Role:
        with connect(provisioned, role) as connection:
            assert connection.execute("select current_user").fetchone() == (role.value,)


def test_roles_connect_where_only_the_address_is_known(
    provisioned: Settings, outside: str, tmp_path: Path
) -> None:
    """The services of docker-compose.yml know the address, and only the migration the administrator."""
    with connect(deployment(tmp_path, outside, None), Role.READER) as reader:
        assert reader.execute("select current_user").fetchone() == ("bi_reader",)


def test_user_who_did_not_make_the_roles_is_refused_with_the_next_step(
    provisioned: Settings, outside: str, tmp_path: Path
) -> None:
    with pytest.raises(WarehouseError, match="Use the user who made them in CHURN_WAREHOUSE_URL"):
        provision(deployment(tmp_path, outside, "second"))


def test_user_who_may_create_nothing_is_refused_with_the_next_step(outside: str, tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=r"alter role \.\.\. createrole createdb"):
        provision(deployment(tmp_path, outside, "visitor"))


def test_server_older_than_postgres_15_is_refused(
    provisioned: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = SimpleNamespace(info=SimpleNamespace(server_version=140011, host="old.example", port=5432))
    monkeypatch.setattr("churn_ml.warehouse.provision.connect_admin", lambda _: nullcontext(old))
    with pytest.raises(
        WarehouseError, match=r"Expected Postgres 15 or newer, found version 14 at old\.example:5432"
    ):
        provision(provisioned)


@pytest.mark.slow
@pytest.mark.long
def test_whole_night_needs_no_superuser(
    provisioned: Settings, snapshots: dict[date, Path], tmp_path: Path
) -> None:
    settings = provisioned.model_copy(update={"inbox_dir": tmp_path})
    first_day, second_day = sorted(snapshots)
    (tmp_path / second_day.isoformat()).mkdir()
    shutil.copy(snapshots[second_day], tmp_path / second_day.isoformat() / "customers.csv")
    first_load(settings, snapshots[first_day], first_day)
    train_and_promote(settings, cut_off_of(first_day))
    run_id = night(settings, cut_off_of(second_day)).run_id
    assert read(settings, "select distinct run_id from marts.customer_churn_current") == [(run_id,)]
    with connect_admin(settings) as admin:
        assert admin.execute("select current_user").fetchone() == ("first",)
        superusers = admin.execute(
            "select count(*) from pg_roles where rolsuper and rolname in ('first', 'churn_owner')"
        )
        assert superusers.fetchone() == (0,)
