"""Deployments as real nights see them: landed, built, scored, audited and published."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from clones import clone_warehouse, drop_warehouse
from nightly import build_until_features, night
from registered_models import register_model, rows_of_features
from untested import build_layer

from churn_ml.errors import PublishingError
from churn_ml.models.deployments import champion_at, promote, rollback
from churn_ml.models.registry import list_versions
from churn_ml.publishing.publish import publish_run
from churn_ml.quality.gates import run_gate
from churn_ml.scoring.night import score_night
from churn_ml.settings import Settings
from churn_ml.simulation.telco_shape import write_snapshot
from churn_ml.warehouse.connection import Role, connect
from churn_ml.warehouse.runs import night_cut_off

NIGHTS = [date(2026, 10, 31), date(2026, 11, 1), date(2026, 11, 2)]


@pytest.fixture(scope="module")
def built_template(server: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Three snapshots in the inbox, two models, and the first night scored by the first and audited."""
    cloned = clone_warehouse(server).model_copy(update={"inbox_dir": tmp_path_factory.mktemp("inbox")})
    for day in NIGHTS:
        folder = cloned.inbox / day.isoformat()
        folder.mkdir(parents=True)
        write_snapshot(folder / "customers.csv", customers=700, as_of_date=day, seed=11)
    run_id = build_until_features(cloned, night_cut_off(NIGHTS[0]))
    rows = rows_of_features(cloned)
    first, _ = (register_model(cloned, night_cut_off(NIGHTS[0]), rows=rows, seed=seed) for seed in (1, 2))
    promote(cloned, first, None, "a reason", "tests")
    score_night(cloned, run_id)
    build_layer(cloned, run_id, "marts")
    run_gate(cloned, run_id, "marts")
    yield cloned
    drop_warehouse(cloned)


@pytest.fixture
def built(built_template: Settings) -> Iterator[tuple[Settings, str, str, str]]:
    """A warehouse of its own, its night to be published, the champion and the other model."""
    cloned = clone_warehouse(built_template)
    with connect(cloned, Role.SCORER) as scorer:
        [(run_id, first)] = scorer.execute(
            "select distinct run_id, model_version from scores.customer_scores"
        )
    [second] = {version.model_version for version in list_versions(cloned)} - {first}
    yield cloned, str(run_id), str(first), second
    drop_warehouse(cloned)


@pytest.mark.slow
def test_a_model_deployed_while_a_night_is_published_makes_it_refuse(
    built: tuple[Settings, str, str, str],
) -> None:
    """Publishing reads who is champion only when no deployment can come between."""
    settings, run_id, _, second = built
    with ThreadPoolExecutor(1) as pool, connect(settings, Role.TRAINER) as trainer:
        cut_off = night_cut_off(NIGHTS[0])
        trainer.execute("select ml.deploy('champion', %s, %s, 'tests', 'in between')", [second, cut_off])
        publishing = pool.submit(publish_run, settings, run_id, "test")
        with pytest.raises(TimeoutError):
            publishing.result(1.0)
        trainer.commit()
        with pytest.raises(PublishingError, match=f"scored by the champion .*{second}"):
            publishing.result(60)


@pytest.mark.slow
@pytest.mark.long
def test_the_night_after_a_rollback_is_scored_by_the_former_champion(
    built: tuple[Settings, str, str, str],
) -> None:
    """Three real nights: by the champion, by the one promoted after it, and by the former one again."""
    settings, run_id, first, second = built
    publish_run(settings, run_id, "test")
    promote(settings, second, None, "a reason", "tests")
    assert model_of(settings, night(settings, night_cut_off(NIGHTS[1])).run_id) == second
    rollback(settings, "the former one was better", "tests")
    assert model_of(settings, night(settings, night_cut_off(NIGHTS[2])).run_id) == first
    assert [champion_at(settings, night_cut_off(day)) for day in NIGHTS] == [first, second, first]


def model_of(settings: Settings, run_id: str) -> str:
    with connect(settings, Role.SCORER) as scorer:
        rows = scorer.execute(
            "select distinct model_version from scores.customer_scores where run_id = %s", [run_id]
        ).fetchall()
    [(version,)] = rows
    return str(version)
