"""The loader of ``bi/metabase/`` against a real HTTP server that holds Metabase's documented contract."""

import copy
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from metabase_server import Metabase, serving
from typer.testing import CliRunner

from churn_ml.bi.metabase import Loaded, load_metabase
from churn_ml.bi.metabase_api import Patience
from churn_ml.bi.metabase_checks import read_representation
from churn_ml.errors import ServiceError, SettingsError
from churn_ml.settings import Settings

PROJECT = Path(__file__).parents[2]
REPRESENTATION = read_representation(PROJECT / "bi" / "metabase")
ENTITIES = 1 + len(REPRESENTATION.files)  # and the database
EMAIL, PASSWORD, READER_PASSWORD = "ada@example.com", "o'Brien\\7-morning", "reader-s3cret"
PATIENT, IMPATIENT = Patience(limit=60, pause=0.005), Patience(limit=0.05, pause=0.005)
QUESTION = "collections/main/churn/questions/mrr.yaml"


def columns_of_the_warehouse(details: dict[str, Any]) -> set[tuple[str, str]]:
    if (details["host"], details["port"], details["password"]) != ("warehouse", 5433, READER_PASSWORD):
        raise ConnectionError(f"no server at {details['host']} with password {details['password']}")
    assert (details["schema-filters-type"], details["schema-filters-patterns"]) == ("inclusion", "marts")
    return {*REPRESENTATION.fields, ("dim_date", "date_day")}


@pytest.fixture
def metabase() -> Iterator[Metabase]:
    with serving(Metabase(columns_of_the_warehouse)) as served:
        yield served


def settings_for(metabase: Metabase, **changed: Any) -> Settings:
    values = {
        "metabase_url": metabase.address,
        "metabase_email": EMAIL,
        "metabase_password": PASSWORD,
        "reader_url": f"postgresql://bi_reader:{READER_PASSWORD}@warehouse:5433/churn_subscriptions",
    }
    return Settings(_env_file=None, **{**values, **changed})


def load(metabase: Metabase, patience: Patience = PATIENT, **changed: Any) -> Loaded:
    metabase.asked.clear()
    return load_metabase(settings_for(metabase, **changed), patience)


def named(rows: dict[int, dict[str, Any]], name: str) -> dict[str, Any]:
    return next(row for row in rows.values() if row["name"] == name)


def test_fresh_metabase_is_set_up_and_filled(metabase: Metabase) -> None:
    metabase.starting, metabase.looks_until_synced = 2, 3
    loaded = load(metabase)
    assert (len(loaded.created), loaded.updated, loaded.unchanged) == (ENTITIES, [], [])
    assert metabase.users == {EMAIL: (PASSWORD, True)}
    assert metabase.settings["anon-tracking-enabled"] is False
    home = metabase.settings["custom-homepage-dashboard"]
    assert (metabase.settings["custom-homepage"], metabase.dashboards[home]["name"]) == (
        True,
        loaded.home_page,
    )
    assert loaded.home_page == "Churn this morning"
    assert {row["name"] for row in metabase.cards.values()} == {
        card.name for card in REPRESENTATION.cards.values()
    }
    for dashboard in REPRESENTATION.dashboards.values():
        held = named(metabase.dashboards, dashboard.name)
        assert held["width"] == "full"
        assert len(held["dashcards"]) == len(dashboard.dashcards)
    assert metabase.sessions == {}, "the loader signs out"


def test_dashcards_name_the_questions_and_tags_that_metabase_knows(metabase: Metabase) -> None:
    load(metabase)
    held = named(metabase.dashboards, "Revenue at risk")
    by_tier = named(metabase.cards, "Revenue at risk and expected loss by tier")
    dashcard = next(one for one in held["dashcards"] if one["card_id"] == by_tier["id"])
    slugs = {one["id"]: one["slug"] for one in held["parameters"]}
    mapped = {slugs[one["parameter_id"]]: one["target"][1][1] for one in dashcard["parameter_mappings"]}
    assert mapped == {"as_of_date": "as_of_date", "risk_tier": "risk_tier", "segment": "segment"}
    tag = by_tier["dataset_query"]["native"]["template-tags"]["risk_tier"]
    (database,) = metabase.databases
    assert metabase.fields[database][tag["dimension"][1]] == ("revenue_at_risk_daily", "risk_tier")
    questions = named(metabase.collections, "Questions")
    assert metabase.collections[questions["parent_id"]]["name"] == "Churn"


def test_second_load_writes_nothing(metabase: Metabase) -> None:
    load(metabase)
    loaded = load(metabase)
    assert metabase.writes == []
    assert (loaded.created, loaded.updated, len(loaded.unchanged)) == ([], [], ENTITIES)


@pytest.mark.parametrize("writes", [0, 3, 20, 47])
def test_interrupted_load_goes_on(metabase: Metabase, writes: int) -> None:
    metabase.writes_left = writes
    with pytest.raises(ServiceError, match=r"(POST|PUT) /api/.* status 500"):
        load(metabase)
    metabase.writes_left = None
    load(metabase)
    for rows, wanted in (
        (metabase.collections, REPRESENTATION.collections),
        (metabase.cards, REPRESENTATION.cards),
        (metabase.dashboards, REPRESENTATION.dashboards),
    ):
        assert sorted(row["name"] for row in rows.values()) == sorted(one.name for one in wanted.values())
    assert load(metabase).created == []
    assert metabase.writes == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(PROJECT / "bi" / "metabase", tmp_path / "bi" / "metabase")
    return tmp_path


def change(path: Path, **changed: Any) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**content, **changed}), encoding="utf-8")


def test_changed_question_is_updated_alone(metabase: Metabase, project: Path) -> None:
    load(metabase)
    number = named(metabase.cards, "Monthly recurring revenue")["id"]
    change(project / "bi/metabase" / QUESTION, name="MRR, renamed", display="line")
    loaded = load(metabase, project_dir=project)
    assert metabase.writes == [("PUT", f"/api/card/{number}")]
    assert loaded.updated == ["question MRR, renamed"]
    assert metabase.cards[number]["display"] == "line"


def test_what_people_changed_in_our_question_comes_back(metabase: Metabase) -> None:
    load(metabase)
    card = named(metabase.cards, "Who to call first")
    before = copy.deepcopy(card)
    card["dataset_query"]["native"]["query"] = "select 1"
    card["name"] = "Mine now"
    assert load(metabase).updated == ["question Who to call first"]
    assert card == before


def test_what_others_made_is_not_touched(metabase: Metabase) -> None:
    load(metabase)
    dashboard = named(metabase.dashboards, "MRR bridge")
    foreign = {
        **named(metabase.cards, "Monthly recurring revenue"),
        "id": 9001,
        "name": "Theirs",
        "description": None,
    }
    metabase.cards[9001] = copy.deepcopy(foreign)
    dashboard["tabs"] = [{"id": 77, "name": "First"}, {"id": 78, "name": "Second"}]
    for one in dashboard["dashcards"]:
        one["dashboard_tab_id"] = 77
    theirs = {
        "id": 9100, "card_id": 9001, "row": 90, "col": 0, "size_x": 6, "size_y": 4, "dashboard_tab_id": 78,
        "parameter_mappings": [], "visualization_settings": {"card.title": "x"}, "entity_id": "e", "card": {},
        "series": [{"id": 9001, "name": "y"}], "action_id": None,
    }  # fmt: skip
    dashboard["dashcards"].append(copy.deepcopy(theirs))
    dashboard["parameters"].append({"id": "abc", "type": "string/=", "name": "Theirs", "slug": "theirs"})
    assert load(metabase).left_alone == 1
    assert metabase.writes == []
    dashboard["description"] = dashboard["description"].replace("Monthly", "Weekly")
    loaded = load(metabase)
    assert loaded.updated == ["dashboard MRR bridge"]
    assert metabase.cards[9001] == foreign
    kept = next(one for one in dashboard["dashcards"] if one["id"] == 9100)
    assert {**kept, "card": {}, "series": theirs["series"]} == theirs
    assert dashboard["parameters"][-1]["slug"] == "theirs"
    assert [one["id"] for one in dashboard["tabs"]] == [77, 78]


def test_question_of_ours_that_somebody_added_once_more_stays_where_it_was_put(metabase: Metabase) -> None:
    load(metabase)
    dashboard = named(metabase.dashboards, "MRR bridge")
    ours = next(one for one in dashboard["dashcards"] if one["card_id"])
    dashboard["dashcards"].append({**copy.deepcopy(ours), "id": 9100, "row": 90})
    assert load(metabase).left_alone == 1
    assert metabase.writes == []


def test_metabase_of_another_dataset_is_left_as_it_is(metabase: Metabase) -> None:
    load(metabase)
    before = copy.deepcopy(metabase.databases)
    other = f"postgresql://bi_reader:{READER_PASSWORD}@warehouse:5433/churn_telco"
    with pytest.raises(
        ServiceError, match=r"to show churn_telco, found churn_subscriptions.*another Metabase"
    ):
        load(metabase, reader_url=other)
    assert metabase.databases == before
    assert metabase.writes == []


def test_removed_heading_and_moved_dashcard_are_put_right_without_doubles(metabase: Metabase) -> None:
    load(metabase)
    dashboard = named(metabase.dashboards, "Churn this morning")
    count = len(dashboard["dashcards"])
    heading = next(one for one in dashboard["dashcards"] if one["card_id"] is None)
    dashboard["dashcards"].remove(heading)
    dashboard["dashcards"][0]["row"] += 40
    assert load(metabase).updated == ["dashboard Churn this morning"]
    assert len(dashboard["dashcards"]) == count
    load(metabase)
    assert metabase.writes == []


def test_copy_of_a_question_is_not_taken_for_the_question(metabase: Metabase) -> None:
    load(metabase)
    card = named(metabase.cards, "Monthly recurring revenue")
    metabase.cards[9001] = {**copy.deepcopy(card), "id": 9001, "name": "A copy"}
    load(metabase)
    assert metabase.writes == []


def test_home_page_that_somebody_chose_stays(metabase: Metabase) -> None:
    load(metabase)
    metabase.settings["custom-homepage-dashboard"] = 4
    assert load(metabase).home_page == "dashboard 4, which somebody chose"
    assert metabase.settings["custom-homepage-dashboard"] == 4


def test_sign_in_where_somebody_set_up_already(metabase: Metabase) -> None:
    metabase.users, metabase.token = {EMAIL: (PASSWORD, True)}, None
    assert len(load(metabase).created) == ENTITIES
    assert ("POST", "/api/setup") not in {(method, path) for method, path, _ in metabase.asked}


def test_wrong_password_is_told_without_the_password(metabase: Metabase) -> None:
    metabase.users, metabase.token = {EMAIL: ("another-1", True)}, None
    with pytest.raises(
        ServiceError, match=r"did not match stored password.*CHURN_METABASE_PASSWORD"
    ) as caught:
        load(metabase)
    assert PASSWORD not in str(caught.value)
    assert metabase.writes == []


def test_user_who_is_no_administrator_is_refused(metabase: Metabase) -> None:
    metabase.users, metabase.token = {EMAIL: (PASSWORD, False)}, None
    with pytest.raises(ServiceError, match="administrator"):
        load(metabase)
    assert metabase.writes == []
    assert metabase.sessions == {}, "the loader signs out"


@pytest.mark.parametrize("password", ["short", "no digit in it"])
def test_password_that_metabase_refuses_is_not_repeated(metabase: Metabase, password: str) -> None:
    with pytest.raises(
        ServiceError, match=r"POST /api/setup.*user\.password.*CHURN_METABASE_PASSWORD"
    ) as caught:
        load(metabase, metabase_password=password)
    assert password not in str(caught.value)
    assert metabase.users == {}


def test_secrets_are_taken_out_of_what_metabase_repeats(metabase: Metabase) -> None:
    """The database is refused with a message that names the password which was sent."""
    reader = f"postgresql://bi_reader:{READER_PASSWORD}@elsewhere:5433/churn_subscriptions"
    metabase.columns_of = refuse_with_the_password
    with pytest.raises(ServiceError, match=r"POST /api/database, found status 400.*\*\*\*") as caught:
        load(metabase, reader_url=reader)
    assert READER_PASSWORD not in str(caught.value)


def refuse_with_the_password(details: dict[str, Any]) -> set[tuple[str, str]]:
    from metabase_server import Refused

    raise Refused(400, {"errors": {"password": f"{details['password']} is wrong"}})


def test_changed_password_of_the_reader_is_mended(metabase: Metabase) -> None:
    load(metabase)
    (database,) = metabase.databases.values()
    database["details"]["password"] = "the former one"
    assert load(metabase).updated == ["database churn marts"]
    assert database["details"]["password"] == READER_PASSWORD
    load(metabase)
    assert metabase.writes == []


def test_address_of_the_warehouse_may_be_another_for_metabase(metabase: Metabase) -> None:
    reader = f"postgresql://bi_reader:{READER_PASSWORD}@127.0.0.1:5999/churn_telco"
    load(metabase, reader_url=reader, metabase_warehouse_address="warehouse:5433")
    (database,) = metabase.databases.values()
    assert database["details"]["dbname"] == "churn_telco"


def test_warehouse_without_marts_is_told_with_the_next_step(metabase: Metabase) -> None:
    metabase.columns_of = lambda _: set()
    with pytest.raises(ServiceError, match=r"marts\.revenue_at_risk_daily\.risk_tier.*churn-ml night"):
        load(metabase, IMPATIENT)
    metabase.columns_of = columns_of_the_warehouse
    assert "question Who to call first" in load(metabase).created


def test_metabase_that_does_not_start_is_told(metabase: Metabase) -> None:
    metabase.starting = 10**6
    with pytest.raises(ServiceError, match="found: initializing"):
        load(metabase, IMPATIENT)


def test_nobody_at_the_address_is_told() -> None:
    with serving(Metabase(columns_of_the_warehouse)) as metabase:
        pass
    with pytest.raises(ServiceError, match=r"no answer \(ConnectError\).*CHURN_METABASE_URL"):
        load(metabase, IMPATIENT)


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"metabase_url": None}, "CHURN_METABASE_URL"),
        ({"metabase_email": None}, "CHURN_METABASE_EMAIL"),
        ({"metabase_password": None}, "CHURN_METABASE_PASSWORD"),
    ],
)
def test_missing_setting_is_named(metabase: Metabase, changed: dict[str, None], names: str) -> None:
    with pytest.raises(SettingsError, match=names):
        load(metabase, **changed)
    assert metabase.asked == []


def test_nothing_secret_is_logged(metabase: Metabase, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        load(metabase)
    for secret in (PASSWORD, READER_PASSWORD):
        assert secret not in caplog.text
        assert json.dumps(secret)[1:-1] not in caplog.text


def test_command_loads_and_prints(metabase: Metabase, monkeypatch: pytest.MonkeyPatch) -> None:
    from churn_ml.cli import app

    settings = settings_for(metabase)
    monkeypatch.setenv("CHURN_METABASE_URL", str(settings.metabase_url))
    monkeypatch.setenv("CHURN_METABASE_EMAIL", EMAIL)
    monkeypatch.setenv("CHURN_METABASE_PASSWORD", PASSWORD)
    assert settings.reader_url is not None
    monkeypatch.setenv("CHURN_READER_URL", settings.reader_url.get_secret_value())
    first = CliRunner().invoke(app, ["metabase", "load"])
    assert first.exit_code == 0, first.output
    assert "created  dashboard Churn this morning" in first.output
    again = CliRunner().invoke(app, ["metabase", "load", "--json"])
    assert len(json.loads(again.stdout)["unchanged"]) == ENTITIES
