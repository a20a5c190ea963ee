"""What a deployment may set, read once from the environment and ``.env``.

Every setting is an environment variable with the prefix ``CHURN_``; ``.env.example``
lists each with a sentence. Nothing here opens a connection or creates a file.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from churn_ml.errors import SettingsError

_PROJECT_DIR = Path(__file__).resolve().parents[1]


class Settings(BaseSettings):
    """One deployment: which dataset it serves, where its state and its warehouse are."""

    model_config = SettingsConfigDict(
        env_prefix="CHURN_",
        env_file=_PROJECT_DIR / ".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    project_dir: Path = Field(
        default=_PROJECT_DIR,
        description="Folder that holds airflow/, datasets/, dbt_project/ and great_expectations/.",
    )
    home: Path = Field(
        default=_PROJECT_DIR / ".churn",
        description="Folder for everything a run writes outside Postgres: state, secrets, logs, Data Docs.",
    )
    dataset: str = Field(
        default="subscriptions",
        pattern=r"^[a-z][a-z0-9_]{0,30}$",
        description="The dataset this deployment serves: a file name in datasets/ without its ending.",
    )
    warehouse_url: SecretStr | None = Field(
        default=None,
        description="Connection URL of an existing Postgres 15 or newer whose user may create databases "
        "and roles. Empty: the embedded server is used.",
    )
    database_prefix: str = Field(
        default="churn",
        pattern=r"^[a-z][a-z0-9_]{0,20}$",
        description="Databases are named <prefix>_<dataset> and <prefix>_airflow.",
    )
    role_secret: SecretStr | None = Field(
        default=None,
        description="Secret from which the password of each warehouse role is derived. "
        "Empty: one is generated and kept in the home folder.",
    )
    inbox_dir: Path | None = Field(
        default=None,
        description="Folder the night lands files from, as <inbox>/<dataset>/<YYYY-MM-DD>/. "
        "Empty: inbox/ in the home folder.",
    )
    source_url: SecretStr | None = Field(
        default=None,
        description="SQLAlchemy URL of the database that the tables declared in the dataset are read from. "
        "Empty: no table may be declared.",
    )
    airflow_port: int | None = Field(
        default=None,
        ge=1024,
        le=65535,
        description="Port of the embedded Airflow UI. Empty: a free one is found and remembered.",
    )
    dashboard_port: int | None = Field(
        default=None,
        ge=1024,
        le=65535,
        description="Port of the dashboard. Empty: a free one is found and remembered.",
    )
    dashboard_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#\s@]+/?$",
        description="Address under which people reach the dashboard where a proxy stands before it. "
        "Empty: the one it listens on.",
    )
    reader_url: SecretStr | None = Field(
        default=None,
        description="Connection URL of bi_reader, for a process that reads what is published and shall know "
        "no other secret. Empty: derived like that of every role.",
    )
    schedules: Literal["on", "off"] = Field(
        default="off",
        description="'on': the night runs at 02:00 UTC and training by its schedule. "
        "'off': both run only when triggered.",
    )
    training_schedule: Literal["weekly", "every_third_day"] = Field(
        default="weekly", description="How often training runs where schedules are on."
    )
    candidates: str = Field(
        default="",
        pattern=r"^([a-z][a-z0-9_]*(,[a-z][a-z0-9_]*)*)?$",
        description="Families of models that compete, separated by commas, of those that the dataset "
        "declares. Empty: all of them.",
    )
    search_trials: int | None = Field(
        default=None,
        ge=1,
        description="Trials of the search for each family's parameters. Empty: as the dataset declares.",
    )
    search_seconds: int | None = Field(
        default=None,
        ge=1,
        description="Seconds of the search for each family. Empty: as the dataset declares.",
    )
    automatic_promotion: Literal["on", "off"] = Field(
        default="off",
        description="'on': a trained model that passed every gate, the one against the champion included, "
        "becomes champion at the next cut-off. 'off': promotion is a command.",
    )
    reader_timeout_seconds: int = Field(
        default=60,
        ge=1,
        le=86400,
        description="Seconds after which Postgres cuts off a query of bi_reader, the role of BI tools. "
        "One for the whole server: the last deployment that was migrated sets it.",
    )
    webhook_url: SecretStr | None = Field(
        default=None,
        description="Address that receives a JSON POST when a night or a training fails. Empty: none.",
    )
    mlflow_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s@]+$",
        description="Address of an MLflow UI over the mirrored models; Airflow's navigation then leads "
        "there. Empty: no link.",
    )
    metabase_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s@]+$",
        description="Address of the Metabase that `churn-ml metabase load` fills. Empty: none.",
    )
    metabase_email: str | None = Field(
        default=None,
        pattern=r"^[^@\s]+@[^@\s]+$",
        description="E-mail of an administrator of Metabase. Where Metabase has no user yet, its first is "
        "made of it.",
    )
    metabase_password: SecretStr | None = Field(
        default=None, description="Password of that administrator. Metabase refuses short and common ones."
    )
    metabase_warehouse_address: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9.-]+(:[0-9]{1,5})?$",
        description="Host and port under which Metabase reaches the warehouse, as host:port. Empty: those "
        "under which this machine does.",
    )
    code_version: str | None = Field(
        default=None,
        description="Version recorded with each run. Empty: the git commit, where there is one.",
    )

    @field_validator("project_dir", "home", "inbox_dir")
    @classmethod
    def _make_absolute(cls, path: Path | None) -> Path | None:
        return path.expanduser().absolute() if path else None

    @property
    def inbox(self) -> Path:
        """Folder of this dataset's deliveries, one sub-folder per date."""
        return (self.inbox_dir or self.home / "inbox") / self.dataset

    @property
    def warehouse_database(self) -> str:
        """Name of the database that holds this dataset's warehouse."""
        return f"{self.database_prefix}_{self.dataset}"

    @property
    def airflow_database(self) -> str:
        """Name of the database that holds Airflow's metadata."""
        return f"{self.database_prefix}_airflow"


def load_settings(**overrides: object) -> Settings:
    """Read the settings; `overrides` win over the environment.

    Raises
    ------
    SettingsError
        If a variable is malformed; the message names it, without its value.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        problems = "; ".join(
            f"CHURN_{'_'.join(map(str, item['loc'])).upper()}: {item['msg']}" for item in error.errors()
        )
        raise SettingsError(f"{problems}. See .env.example for what each variable takes.") from None
