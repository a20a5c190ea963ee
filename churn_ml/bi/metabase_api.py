"""One signed-in conversation with Metabase's REST API, as v0.64 documents it."""

import logging
import time
from dataclasses import dataclass
from typing import Any

import httpx

from churn_ml.errors import ServiceError, SettingsError
from churn_ml.settings import Settings

log = logging.getLogger(__name__)

_SECONDS_FOR_AN_ANSWER = 120
_LONGEST_ANSWER_TOLD = 400


@dataclass(frozen=True)
class Patience:
    """How long to wait for Metabase, and how long between two looks, in seconds."""

    limit: float = 300
    pause: float = 2


@dataclass(frozen=True)
class Account:
    """The administrator that the loader signs in as, or makes where Metabase has no user yet."""

    email: str
    password: str


class Metabase:
    """Requests to one Metabase; what it refuses becomes an error that tells its answer, without secrets."""

    def __init__(self, address: str, *, secrets: tuple[str, ...]) -> None:
        self.address = address.rstrip("/")
        self._client = httpx.Client(base_url=self.address, timeout=_SECONDS_FOR_AN_ANSWER)
        self._secrets = secrets

    def __enter__(self) -> "Metabase":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **parameters: str) -> Any:
        """Return what stands at `path`."""
        return self._ask("GET", path, parameters=parameters)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Make something at `path` and return what Metabase answers."""
        return self._ask("POST", path, body=body)

    def put(self, path: str, body: dict[str, Any]) -> Any:
        """Change what stands at `path` and return what Metabase answers."""
        return self._ask("PUT", path, body=body)

    def wait_until_up(self, patience: Patience) -> None:
        """Return once Metabase says that it is ready.

        Raises
        ------
        ServiceError
            If it does not within the limit.
        """
        end = time.monotonic() + patience.limit
        while (found := self._health()) != "ok":
            if time.monotonic() >= end:
                raise ServiceError(
                    f"Expected Metabase at {self.address} to be ready within {patience.limit:.0f} s, found: "
                    f"{found}. See its log, or set CHURN_METABASE_URL to where it answers."
                )
            time.sleep(patience.pause)

    def sign_in(self, account: Account) -> None:
        """Sign in as an administrator; where Metabase has no user yet, make `account` its first.

        Raises
        ------
        ServiceError
            If Metabase refuses the e-mail or the password, or the user is no administrator.
        """
        properties = self.get("/api/session/properties")
        if properties.get("has-user-setup", not properties.get("setup-token")):
            answer = self._sign_in(account)
        else:
            answer = self._set_up(account, properties["setup-token"])
        self._secrets = (*self._secrets, answer["id"])
        self._client.headers["X-Metabase-Session"] = answer["id"]
        if not self.get("/api/user/current")["is_superuser"]:
            raise ServiceError(
                f"Expected {account.email} to be an administrator of Metabase at {self.address}, found a "
                "user who is none. Set CHURN_METABASE_EMAIL and CHURN_METABASE_PASSWORD to those of one."
            )

    def sign_out(self) -> None:
        """End the session; where that fails it only warns, so that an error before it is the one told."""
        if "X-Metabase-Session" not in self._client.headers:
            return
        try:
            self._ask("DELETE", "/api/session")
        except ServiceError as error:
            log.warning("the session in Metabase stays until it expires: %s", error)

    def _sign_in(self, account: Account) -> Any:
        body = {"username": account.email, "password": account.password}
        advice = "Set CHURN_METABASE_EMAIL and CHURN_METABASE_PASSWORD to an administrator's"
        return self._ask("POST", "/api/session", body=body, advice=advice)

    def _set_up(self, account: Account, token: str) -> Any:
        self._secrets = (*self._secrets, token)
        body = {
            "token": token,
            "user": {"email": account.email, "password": account.password},
            "prefs": {"site_name": "Churn", "allow_tracking": False},
        }
        advice = "Choose another CHURN_METABASE_EMAIL or a longer CHURN_METABASE_PASSWORD with a digit"
        answer = self._ask("POST", "/api/setup", body=body, advice=advice)
        log.info("set up Metabase at %s with its first administrator", self.address)
        return answer

    def _health(self) -> str:
        try:
            response = self._client.get("/api/health")
            return str(response.json()["status"])
        except httpx.HTTPError as error:
            return f"no answer ({type(error).__name__})"
        except (ValueError, KeyError, TypeError):
            return f"an answer that is not Metabase's, status {response.status_code}"

    def _ask(
        self,
        method: str,
        path: str,
        *,
        parameters: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        advice: str = "Metabase is used as v0.64 documents its API: see which version answers",
    ) -> Any:
        try:
            response = self._client.request(method, path, params=parameters or None, json=body)
        except httpx.HTTPError as error:
            raise ServiceError(
                f"Expected Metabase at {self.address} to answer {method} {path}, found "
                f"{type(error).__name__}. See its log and load again: what is there already stays."
            ) from None
        if not response.is_success:
            raise ServiceError(
                f"Expected Metabase to accept {method} {path}, found status {response.status_code}: "
                f"{self._told(response)}. {advice}."
            )
        return response.json() if response.content else None

    def _told(self, response: httpx.Response) -> str:
        """Return what Metabase says of a refusal; it may repeat what was sent, so secrets are taken out."""
        try:
            answer = response.json()
        except ValueError:
            answer = response.text
        if isinstance(answer, dict):
            answer = answer.get("errors") or answer.get("message") or answer.get("error") or answer
        return str(self._without_secrets(answer))[:_LONGEST_ANSWER_TOLD]

    def _without_secrets(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._without_secrets(key): self._without_secrets(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._without_secrets(item) for item in value]
        if not isinstance(value, str):
            return value
        for secret in self._secrets:
            value = value.replace(secret, "***")
        return value


def account_of(settings: Settings) -> Account:
    """Return the administrator that the settings name.

    Raises
    ------
    SettingsError
        If the e-mail or the password is not set.
    """
    missing = [
        name
        for name, value in (
            ("CHURN_METABASE_EMAIL", settings.metabase_email),
            ("CHURN_METABASE_PASSWORD", settings.metabase_password),
        )
        if value is None
    ]
    if missing or settings.metabase_email is None or settings.metabase_password is None:
        raise SettingsError(
            f"Expected {' and '.join(missing)} to name an administrator of Metabase, found nothing. Set them "
            "in .env; where Metabase has no user yet, its first is made of them."
        )
    return Account(settings.metabase_email, settings.metabase_password.get_secret_value())
