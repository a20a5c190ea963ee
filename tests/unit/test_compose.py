"""docker-compose.yml, the Dockerfile and .env.example: valid, of one mind, and without secrets."""

import json
import os
import re
import shlex
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from churn_ml.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
COMPOSE_TEXT = (PROJECT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ENV_EXAMPLE = (PROJECT / ".env.example").read_text(encoding="utf-8")
OWN_SERVICES = [name for name, service in SERVICES.items() if "churn-ml:" in service["image"]]
AIRFLOW_SERVICES = [name for name in OWN_SERVICES if "AIRFLOW_HOME" in SERVICES[name]["environment"]]
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::([-?])([^}]*))?\}")
SECRET_NAME = re.compile(r"PASSWORD|SECRET|FERNET|TOKEN|_KEY")


def exampled_variables() -> set[str]:
    return set(re.findall(r"^# ?([A-Z][A-Z0-9_]+)=", ENV_EXAMPLE, re.MULTILINE))


def setting_variables() -> set[str]:
    return {f"CHURN_{name.upper()}" for name in Settings.model_fields}


def dockerfile_instructions(keyword: str) -> list[list[str]]:
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith(f"{keyword} ")]


def test_compose_file_follows_the_compose_schema() -> None:
    vendored = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(vendored.read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(COMPOSE)] == []


def test_every_variable_of_the_compose_file_is_in_the_example() -> None:
    assert {match[1] for match in VARIABLE.finditer(COMPOSE_TEXT)} - exampled_variables() == set()


def test_every_variable_of_the_example_is_read_by_someone() -> None:
    read = {match[1] for match in VARIABLE.finditer(COMPOSE_TEXT)} | setting_variables()
    assert exampled_variables() - read == set()


def test_every_setting_is_in_the_example_with_its_description() -> None:
    assert {name for name in exampled_variables() if name.startswith("CHURN_")} == setting_variables()
    prose = " ".join(ENV_EXAMPLE.replace("\n#", " ").split())
    for name, field in Settings.model_fields.items():
        assert field.description in prose, f"the sentence of CHURN_{name.upper()} differs from the setting's"


def test_every_setting_is_set_in_the_airflow_services_or_left_out_on_purpose() -> None:
    left_out = {"CHURN_AIRFLOW_PORT", "CHURN_CODE_VERSION"}  # the port is mapped, the version is in the image
    left_out |= {
        name for name in setting_variables() if name.startswith("CHURN_METABASE_")
    }  # metabase-load's
    left_out |= {"CHURN_READER_URL"}  # for processes that know no other secret
    assert setting_variables() - left_out <= set(COMPOSE["x-airflow-environment"])


def test_defaults_of_the_compose_file_are_those_of_the_example() -> None:
    shown = dict(re.findall(r"^# ?([A-Z][A-Z0-9_]+)=(.*)$", ENV_EXAMPLE, re.MULTILINE))
    special = {"CHURN_CODE_VERSION"}
    for name, operator, value in (match.groups() for match in VARIABLE.finditer(COMPOSE_TEXT)):
        if operator == "-" and name not in special:
            assert shown[name] == value, f"{name}: .env.example shows {shown[name]!r}, compose uses {value!r}"
        elif operator == "?":
            assert shown[name] == "", f"{name} is required: .env.example must not show a value"


def test_example_gives_every_variable_a_sentence_and_no_secret() -> None:
    for paragraph in ENV_EXAMPLE.split("\n\n"):
        lines = paragraph.strip().splitlines()
        if not re.match(r"# ?[A-Z][A-Z0-9_]+=", lines[-1]):
            continue
        name, value = lines[-1].removeprefix("# ").split("=", 1)
        assert len(lines) > 1, f"{name} has no sentence in .env.example"
        assert not (value and SECRET_NAME.search(name)), f"{name} shows a value in .env.example"


def test_no_secret_is_written_in_the_compose_file() -> None:
    environments = [service.get("environment", {}) for service in SERVICES.values()]
    for environment in [*environments, COMPOSE["x-airflow-environment"]]:
        for name, value in environment.items():
            if SECRET_NAME.search(name) and not name.endswith("_FILE"):
                assert VARIABLE.fullmatch(value), f"{name} is not taken from a variable"
    assert not re.search(r"://[^/\s:]+:(?!\$\{)[^@/\s]+@", COMPOSE_TEXT), "a URL holds a literal password"


def test_secrets_that_always_matter_are_required() -> None:
    required = {match[1] for match in VARIABLE.finditer(COMPOSE_TEXT) if match[2] == "?"}
    assert required == {
        "AIRFLOW_ADMIN_PASSWORD",
        "AIRFLOW_API_SECRET_KEY",
        "AIRFLOW_FERNET_KEY",
        "AIRFLOW_JWT_SECRET",
        "CHURN_ROLE_SECRET",
        "POSTGRES_PASSWORD",
    }


def test_every_airflow_service_has_the_same_environment() -> None:
    shared = COMPOSE["x-airflow-environment"]
    assert {"airflow-api-server", "airflow-scheduler", "airflow-dag-processor"} < set(AIRFLOW_SERVICES)
    for name in AIRFLOW_SERVICES:
        if name == "metabase-load":
            continue
        own = SERVICES[name]["environment"]
        if name == "migrate":
            assert set(own) - set(shared) == {"AIRFLOW_ADMIN_PASSWORD", "READER_URL_FILE"}
            assert {key for key in shared if own[key] != shared[key]} == {"CHURN_WAREHOUSE_URL"}
        else:
            assert own == shared, f"{name} departs from x-airflow-environment"


def test_keys_of_airflow_are_set_explicitly() -> None:
    for name in ("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API__SECRET_KEY"):
        assert VARIABLE.fullmatch(COMPOSE["x-airflow-environment"][name])
    assert COMPOSE["x-airflow-environment"]["CHURN_SCHEDULES"] == "on"


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_restarts_or_runs_once(name: str) -> None:
    service = SERVICES[name]
    if service["restart"] == "no":
        waiting = [
            other["depends_on"][name] for other in SERVICES.values() if name in other.get("depends_on", {})
        ]
        assert waiting or name == "metabase-load"  # the last of all: nobody waits for it
        assert all(wait["condition"] == "service_completed_successfully" for wait in waiting)
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"]


def test_metabase_load_runs_once_metabase_is_there_and_knows_no_secret_but_its_own(tmp_path: Path) -> None:
    service = SERVICES["metabase-load"]
    assert service["profiles"] == ["bi"]
    assert service["restart"] == "no"
    assert {name: wait["condition"] for name, wait in service["depends_on"].items()} == {
        "migrate": "service_completed_successfully",
        "metabase": "service_healthy",
    }
    secret = {name for name in service["environment"] if SECRET_NAME.search(name)}
    assert secret == {"CHURN_METABASE_PASSWORD"}
    script = service["command"][-1].replace("$$", "$").replace("/var/lib/churn-reader", str(tmp_path))
    (tmp_path / "url").write_text("postgresql://bi_reader@here\n", encoding="utf-8")
    (tmp_path / "churn-ml").write_text('#!/bin/sh\necho "$CHURN_READER_URL|$*"\n', encoding="utf-8")
    (tmp_path / "churn-ml").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.defpath}"}
    output = subprocess.check_output(["sh", "-euc", script], env=environment, text=True)
    assert output == "postgresql://bi_reader@here|metabase load\n"


def test_ports_are_published_on_the_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_named_volumes_are_declared_and_used() -> None:
    mounted = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert {source for source in mounted if not source.startswith(("$", ".", "/"))} == set(COMPOSE["volumes"])


def test_images_are_pinned() -> None:
    for name, service in SERVICES.items():
        _, _, tag = service["image"].partition(":")
        assert tag not in {"", "latest"}, name


def test_airflow_takes_the_connection_without_a_line_end(tmp_path: Path) -> None:
    """Airflow keeps whatever the command prints: a line end would become part of the database's name."""
    command = COMPOSE["x-airflow-environment"]["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD"].replace("$$", "$")
    churn_ml = tmp_path / "churn-ml"
    churn_ml.write_text('#!/bin/sh\necho "postgresql+psycopg2://$*"\n', encoding="utf-8")
    churn_ml.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.defpath}"}
    output = subprocess.check_output(shlex.split(command), env=environment, text=True)
    assert output == "postgresql+psycopg2://warehouse url --role churn_airflow --sqlalchemy"


def test_password_file_that_migrate_writes_is_what_airflow_reads(tmp_path: Path) -> None:
    script = SERVICES["migrate"]["command"][-1].replace("$$", "$")
    for program in ("churn-ml", "airflow"):
        (tmp_path / program).symlink_to("/bin/true")
    (tmp_path / "python").symlink_to(sys.executable)
    target = tmp_path / "passwords.json"
    environment = {
        "PATH": f"{tmp_path}:{os.defpath}",
        "AIRFLOW_ADMIN_PASSWORD": 'with "quotes"',
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(target),
        "READER_URL_FILE": str(tmp_path / "url"),
    }
    subprocess.run(["sh", "-euc", script], env=environment, check=True)
    assert json.loads(target.read_text(encoding="utf-8")) == {"admin": 'with "quotes"'}
    assert target.stat().st_mode & 0o777 == 0o600


def test_dashboard_holds_the_url_of_the_reader_and_no_other_secret(tmp_path: Path) -> None:
    service = SERVICES["dashboard"]
    assert not [name for name in service["environment"] if SECRET_NAME.search(name) or "WAREHOUSE" in name]
    assert service["read_only"]
    assert service["volumes"] == ["reader_url:/var/lib/churn-reader:ro"]
    assert "reader_url:/var/lib/churn-reader" in SERVICES["migrate"]["volumes"]
    assert SERVICES["migrate"]["environment"]["READER_URL_FILE"] == "/var/lib/churn-reader/url"
    script = service["command"][-1].replace("$$", "$").replace("/var/lib/churn-reader", str(tmp_path))
    (tmp_path / "url").write_text("postgresql://bi_reader@here\n", encoding="utf-8")
    churn_ml = tmp_path / "churn-ml"
    churn_ml.write_text('#!/bin/sh\necho "$CHURN_READER_URL|$*"\n', encoding="utf-8")
    churn_ml.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.defpath}"}
    output = subprocess.check_output(["sh", "-euc", script], env=environment, text=True)
    assert output == "postgresql://bi_reader@here|dashboard --host 0.0.0.0 --port 8501\n"


def test_migrate_leaves_the_url_of_the_reader_for_its_owner_only(tmp_path: Path) -> None:
    script = SERVICES["migrate"]["command"][-1].replace("$$", "$")
    (tmp_path / "airflow").symlink_to("/bin/true")
    (tmp_path / "python").symlink_to(sys.executable)
    (tmp_path / "churn-ml").write_text('#!/bin/sh\necho "$*"\n', encoding="utf-8")
    (tmp_path / "churn-ml").chmod(0o755)
    url = tmp_path / "url"
    environment = {
        "PATH": f"{tmp_path}:{os.defpath}",
        "AIRFLOW_ADMIN_PASSWORD": "any",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(tmp_path / "passwords.json"),
        "READER_URL_FILE": str(url),
    }
    subprocess.run(["sh", "-euc", script], env=environment, check=True, stdout=subprocess.DEVNULL)
    assert url.read_text(encoding="utf-8") == "warehouse url --role bi_reader\n"
    assert url.stat().st_mode & 0o777 == 0o600


def test_image_has_the_folder_of_the_readers_url_for_its_user() -> None:
    """A new volume takes the owner of the folder that it is mounted on."""
    (made,) = [run for run in dockerfile_instructions("RUN") if "useradd" in run]
    assert "/var/lib/churn-reader" in made[made.index("--owner") :]


def test_dockerfile_copies_what_exists() -> None:
    ignored = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for arguments in dockerfile_instructions("COPY"):
        *sources, _ = [argument for argument in arguments if not argument.startswith("--")]
        for source in sources:
            assert (PROJECT / source).exists(), f"Dockerfile copies {source}, which does not exist"
            assert f"!{source}" in ignored, f".dockerignore keeps {source} from the builder"


def test_dockerfile_checks_hashes_and_runs_as_a_user() -> None:
    assert dockerfile_instructions("USER")[-1] == ["churn"]
    runs = [" ".join(run) for run in dockerfile_instructions("RUN")]
    assert any("pip install --require-hashes --requirement requirements.lock" in run for run in runs)
    assert not any("index-url" in run for run in runs)


def test_image_has_the_folders_that_the_services_are_told() -> None:
    environment = dict(item.split("=", 1) for line in dockerfile_instructions("ENV") for item in line)
    shared = COMPOSE["x-airflow-environment"]
    for name in ("CHURN_PROJECT_DIR", "CHURN_HOME"):
        assert shared[name] == environment[name]
    assert dockerfile_instructions("WORKDIR") == [[environment["CHURN_PROJECT_DIR"]]]
    assert f"churn_home:{environment['CHURN_HOME']}" in COMPOSE["x-airflow-service"]["volumes"]
