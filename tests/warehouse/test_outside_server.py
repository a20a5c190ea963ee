"""A server that is not ours: its user may create databases and roles, and is no superuser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from churn_ml.errors import WarehouseError
from churn_ml.services.postgres import remove_postgres, start_postgres
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, admin_url, connect, connect_admin
from churn_ml.warehouse.provision import provision


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with two users who may create databases and roles, and one who may not."""
    home = Settings(_env_file=None, home=tmp_path_factory.mktemp("outside") / "home")
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
