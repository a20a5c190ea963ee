"""Registered models and their deployments, on the real server."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from clones import clone_warehouse, drop_warehouse
from feature_tables import synthetic_customers, train_champion

from churn_ml.errors import ArtifactError, ModelError, NoChampion
from churn_ml.models.registry import champion_at, list_versions, load_model, promote, show_version
from churn_ml.settings import Settings
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import open_run

CUT_OFF = datetime(2026, 11, 1, 2, tzinfo=UTC)
AS_OF_DATE = date(2026, 10, 31)
ONE_NIGHT = timedelta(days=1)


@pytest.fixture(scope="module")
def template(server: Settings) -> Iterator[Settings]:
    cloned = clone_warehouse(server)
    train_champion(cloned, synthetic_customers(500), AS_OF_DATE, CUT_OFF)
    yield cloned
    drop_warehouse(cloned)


@pytest.fixture
def registry(template: Settings) -> Iterator[Settings]:
    """A warehouse with one model, champion from CUT_OFF on."""
    cloned = clone_warehouse(template)
    yield cloned
    drop_warehouse(cloned)


def only_version(settings: Settings) -> str:
    (version,) = list_versions(settings)
    return version.model_version


def publish_night(settings: Settings, known_as_of: datetime) -> None:
    run = open_run(settings, "night", known_as_of)
    with connect(settings, Role.OWNER) as owner:
        owner.execute(
            "insert into ops.publications (action, as_of_date, run_id, reason, recorded_by)"
            " values ('publish', %s, %s, 'test', 'test')",
            [run.as_of_date, run.run_id],
        )


def test_a_version_is_named_after_its_dataset_and_day(registry: Settings) -> None:
    dataset, day, digits = only_version(registry).split("-")
    assert (dataset, day, len(digits)) == ("telco", "20261031", 8)


def test_show_holds_what_a_review_needs(registry: Settings) -> None:
    shown = show_version(registry, only_version(registry))
    assert shown["validation"] == "cross_sectional"
    assert [gate["verdict"] for gate in shown["gates"]] == ["pass"]
    assert [deployment["reason"] for deployment in shown["deployments"]] == ["test"]
    assert {"scikit-learn", "numpy", "python"} <= set(shown["library_versions"])
    names = [column["name"] for column in shown["feature_contract"]]
    assert "tenure_months" in names
    assert not {"gender", "is_senior"} & set(names)


def test_no_champion_names_the_command_and_the_versions(settings: Settings, registry: Settings) -> None:
    with pytest.raises(NoChampion, match=r"churn-ml model promote <version> --valid-from .* --reason"):
        champion_at(settings, CUT_OFF)
    with pytest.raises(NoChampion, match=only_version(registry)):
        champion_at(registry, CUT_OFF - timedelta(microseconds=1))


def test_a_champion_holds_until_the_next_one_begins(registry: Settings) -> None:
    version = only_version(registry)
    assert champion_at(registry, CUT_OFF) == champion_at(registry, CUT_OFF + 500 * ONE_NIGHT) == version


def test_promotion_at_or_before_a_published_cut_off_is_refused(registry: Settings) -> None:
    publish_night(registry, CUT_OFF + ONE_NIGHT)
    version = only_version(registry)
    for valid_from in (CUT_OFF + ONE_NIGHT, CUT_OFF + ONE_NIGHT / 2):
        with pytest.raises(ModelError, match="after every cut-off that was ever published"):
            promote(registry, version, valid_from, "later thought", "test")
    promote(registry, version, CUT_OFF + ONE_NIGHT + timedelta(microseconds=1), "next night", "test")


def test_two_champions_cannot_begin_at_one_cut_off(registry: Settings) -> None:
    with pytest.raises(ModelError, match="never edited"):
        promote(registry, only_version(registry), CUT_OFF, "again", "test")


@pytest.mark.parametrize(
    ("valid_from", "reason", "message"),
    [
        (datetime(2027, 1, 1), "a reason", "time zone"),
        (datetime(2027, 1, 1, tzinfo=UTC), "  ", "reason"),
    ],
)
def test_promotion_needs_a_zone_and_a_reason(
    registry: Settings, valid_from: datetime, reason: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        promote(registry, only_version(registry), valid_from, reason, "test")


def test_a_model_with_a_failed_gate_is_not_promoted(registry: Settings) -> None:
    with connect(registry, Role.TRAINER) as trainer:
        trainer.execute(
            "insert into ml.gate_results (model_version, gate, observed, threshold_low, threshold_high, "
            "verdict)"
            " values (%s, 'calibration_by_segment', 1.4, 0.9, 1.1, 'fail')",
            [only_version(registry)],
        )
    with pytest.raises(ModelError, match=r"calibration_by_segment 1\.4 \(limits 0\.9 to 1\.1\)"):
        promote(registry, only_version(registry), CUT_OFF + ONE_NIGHT, "a reason", "test")


def test_an_unknown_version_is_refused_with_the_known_ones(registry: Settings) -> None:
    calls = [
        lambda: promote(registry, "telco-none", CUT_OFF + ONE_NIGHT, "a reason", "test"),
        lambda: load_model(registry, "telco-none"),
        lambda: show_version(registry, "telco-none"),
    ]
    for call in calls:
        with pytest.raises(ModelError, match=only_version(registry)):
            call()


def test_a_tampered_artifact_is_refused(registry: Settings) -> None:
    with connect(registry, Role.OWNER) as owner:
        owner.execute("update ml.model_versions set artifact = set_byte(artifact, 200, 0)")
        owner.execute("update ml.model_versions set artifact = set_byte(artifact, 201, 255)")
    with pytest.raises(ArtifactError, match="changed after it was registered"):
        load_model(registry, only_version(registry))


def test_an_artifact_with_too_few_pipelines_is_refused(registry: Settings) -> None:
    with connect(registry, Role.OWNER) as owner:
        owner.execute("update ml.model_versions set fold_count = 7")
    with pytest.raises(ModelError, match="Expected 7 fold pipelines"):
        load_model(registry, only_version(registry))
