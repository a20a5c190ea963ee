"""The commands of the simulated business."""

import json
from pathlib import Path

from typer.testing import CliRunner

from churn_ml.cli import app


def run(*arguments: object) -> dict[str, object]:
    result = CliRunner().invoke(app, ["simulate", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_business_is_opened_continued_and_its_truth_written(tmp_path: Path) -> None:
    out, truth = tmp_path / "inbox" / "subscriptions", tmp_path / "truth"
    opened = run(
        "business", out, "--truth", truth, "--customers", 60, "--start", "2026-01-01", "--end", "2026-01-05",
        "--truth-dates", "2026-01-03,2026-01-05", "--late-share", "0.1", "--format", "parquet",
    )  # fmt: skip
    assert opened["summary"]["active"] > 50
    assignments = tmp_path / "assignments.csv"
    assignments.write_text(
        "customer_id,treatment,assigned_at,is_held_out,campaign_id\n"
        "C00000001,call,2026-01-06T09:00:00Z,false,spring\n"
    )
    further = run("continue", out, "--truth", truth, "--until", "2026-01-07", "--assignments", assignments)
    assert further["summary"]["first_date"] == "2026-01-06"
    assert sorted(path.name for path in out.iterdir())[-1] == "2026-01-07"
    assert (out / "2026-01-07" / "usage.parquet").is_file()
    written = run("truth", truth, "--as-of", "2026-01-03", "--customers", 20, "--draws", 20)
    assert written["customers"] == 20
    assert (truth / "truth-2026-01-03.csv").read_text().count("\n") == 21


def test_snapshot_is_still_written(tmp_path: Path) -> None:
    written = run("snapshot", tmp_path / "telco.csv", "--as-of", "2026-10-31", "--customers", 100)
    assert written["summary"]["rows"] == 100
