"""Settings: one variable each, absolute paths, and errors that name the variable but not its value."""

from pathlib import Path

import pytest

from churn_ml.errors import SettingsError
from churn_ml.settings import Settings, load_settings


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CHURN_DATASET", "../elsewhere"),
        ("CHURN_DATABASE_PREFIX", "Upper-Case"),
        ("CHURN_AIRFLOW_PORT", "eighty-eighty"),
        ("CHURN_SCHEDULES", "sometimes"),
        ("CHURN_TRAINING_SCHEDULE", "hourly"),
    ],
)
def test_error_names_the_variable_without_its_value(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings(_env_file=None)
    message = str(caught.value)
    assert message.startswith(f"{variable}: ")
    assert value not in message
    assert ".env.example" in message
    assert caught.value.__cause__ is None


def test_error_names_every_malformed_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_AIRFLOW_PORT", "80")
    monkeypatch.setenv("CHURN_DATASET", "NO")
    with pytest.raises(SettingsError, match=r"CHURN_DATASET: .*CHURN_AIRFLOW_PORT: "):
        load_settings(_env_file=None)


def test_secrets_do_not_show_in_the_settings_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_WAREHOUSE_URL", "postgresql://someone:hush@db/postgres")
    monkeypatch.setenv("CHURN_ROLE_SECRET", "hush")
    monkeypatch.setenv("CHURN_WEBHOOK_URL", "https://alerts.example/hush")
    settings = load_settings(_env_file=None)
    assert "hush" not in repr(settings)
    assert settings.role_secret is not None
    assert settings.role_secret.get_secret_value() == "hush"


def test_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"CHURN_{name.upper()}", "")
    assert load_settings(_env_file=None) == Settings(_env_file=None)


def test_relative_and_home_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "someone"))
    settings = Settings(_env_file=None, home=Path("state"), inbox_dir=Path("~/in box"))
    assert settings.home == tmp_path / "state"
    assert settings.inbox == tmp_path / "someone" / "in box" / "subscriptions"


def test_environment_wins_over_the_file_and_arguments_over_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(
        "CHURN_DATASET=bank\nCHURN_DATABASE_PREFIX=one\nPOSTGRES_PASSWORD=x\n", encoding="utf-8"
    )
    monkeypatch.setenv("CHURN_DATASET", "subscriptions")
    settings = load_settings(_env_file=env_file, airflow_port=9000)
    assert (settings.dataset, settings.database_prefix, settings.airflow_port) == (
        "subscriptions",
        "one",
        9000,
    )
    assert load_settings(_env_file=env_file, dataset="telco").dataset == "telco"


def test_database_names_follow_prefix_and_dataset() -> None:
    settings = Settings(_env_file=None, database_prefix="shop", dataset="bank")
    assert settings.warehouse_database == "shop_bank"
    assert settings.airflow_database == "shop_airflow"


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
