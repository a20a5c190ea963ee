"""The model card: it holds what it was given, to the digit, and opens anywhere."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hatchling.builders.wheel import WheelBuilder

from churn_ml.models.mirrored_version import plots_of
from churn_ml.models.registration import GateResult
from churn_ml.training.card import CardContent, ModelFacts, card_content, render_card
from churn_ml.training.card_curves import deciles, profit_curve, reliability_bins, rows_by_date
from churn_ml.training.card_words import verdict_of
from churn_ml.training.gate_catalogue import GATES
from churn_ml.training.metrics import evaluate
from churn_ml.training.profit import DecisionParameters

PROJECT = Path(__file__).resolve().parents[2]
DECISION = DecisionParameters(0.4, 0.7, 12, 0.6, 2.0, 40.0, 0.3, "USD")
FACTS = ModelFacts(
    dataset="telco",
    title="A business",
    label_definition="telco_30d",
    label_description="Left within 30 days",
    family="spline_logistic",
    parameters={"knot_count": 5},
    calibration="sigmoid",
    calibration_log_losses={"none": 0.5, "sigmoid": 0.45},
    validation="cross_sectional",
    fold_count=5,
    repeat_count=3,
    as_of_date=date(2026, 10, 31),
    known_as_of=datetime(2026, 11, 1, 2, tzinfo=UTC),
    run_id="run-1",
    seed=5,
    training_sha256="ab" * 32,
    row_count=700,
    churned_count=170,
    features=["tenure_months", "contract"],
    library_versions={"scikit-learn": "1.9.1"},
)
GATE_RESULTS = (
    GateResult("calibration_overall", 1.0213, 0.9, 1.1, interval_low=0.9517, interval_high=1.0909),
    GateResult(
        "calibration_segment", 1.3131, 0.9, 1.1, "contract=two_year", detail="21 churned, 16 expected"
    ),
    GateResult("leakage_column", 0.7373, None, 0.9, "tenure_months"),
    GateResult("leakage_column", 0.6464, None, 0.9, "contract"),
    GateResult("leakage_shuffled", 0.5051, 0.45, 0.55),
    GateResult("fairness_selection", 0.5454, 0.8, None, "gender=male", "warn"),
    GateResult("log_loss_against_champion", None, None, None, detail="no champion yet"),
    GateResult("a_gate_of_tomorrow", 3.3333, None, 4.0),
)


def rows(count: int = 600, seed: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    probabilities = rng.beta(1.2, 3, count)
    values = np.round(rng.uniform(20, 110, count), 2)
    values[:7] = np.nan
    return {
        "churned": rng.random(count) < probabilities,
        "raw": np.clip(probabilities**1.3, 1e-6, 1 - 1e-6),
        "calibrated": np.clip(probabilities, 1e-6, 1 - 1e-6),
        "monthly_values": values,
    }


def content(**changes: Any) -> CardContent:
    found = rows()
    metrics = evaluate(
        found["churned"], found["calibrated"], found["monthly_values"], decision=DECISION, seed=5
    )
    given: dict[str, Any] = {
        **found,
        "decision": DECISION,
        "metrics": metrics,
        "gates": GATE_RESULTS,
        "candidates": {
            "base_rate": {"log_loss": 0.5757, "seconds": 0.25},
            "spline_logistic": {**metrics, "trial_count": 8, "calibration": "sigmoid"},
            "stack": {"log_loss": 0.4646, "roc_auc": 0.8383, "failed_gates": ["profit"]},
        },
        "importance": {"contract": 0.1919, "tenure_months": 0.8181},
        "contribution_method": "exact, of lookup tables",
        "sensitive": {"gender": np.where(np.arange(600) % 3, "female", "male").astype(object)},
    }
    return card_content(FACTS, **(given | changes))


def text_of(page: str) -> str:
    """Return the page as a reader sees it: without markup and styles."""
    body = re.sub(r"<(style|svg).*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)).replace("&#39;", "'")


@pytest.fixture(scope="module")
def page() -> str:
    return render_card(content(), "telco-20261031-1a2b3c4d")


def test_every_gate_and_candidate_is_on_the_card(page: str) -> None:
    text = text_of(page)
    for gate in GATE_RESULTS:
        assert gate.gate in text
        assert gate.subject in text
        assert (gate.detail or "") in text
        if gate.observed is not None:
            assert f"{gate.observed:.4f}" in text
    assert page.count('<details class="gate"') == len({gate.gate for gate in GATE_RESULTS})
    for family, log_loss in (("base_rate", "0.5757"), ("stack", "0.4646"), ("spline_logistic", "")):
        assert re.search(rf"{family} {log_loss}", text)
    assert GATES["calibration_overall"].threshold in text


def test_the_figures_are_those_given(page: str) -> None:
    text, found = text_of(page), content()
    for name in ("roc_auc", "log_loss", "brier", "pr_auc", "observed_expected_ratio", "precision", "recall"):
        assert f"{found.metrics[name]:.4f}" in text, name
        low, high = found.metrics[f"{name}_low"], found.metrics[f"{name}_high"]
        assert f"{low:.4f} to {high:.4f}" in text, name
    assert f"{found.metrics['expected_profit_amount']:.2f}" in text
    assert f"Log loss {found.raw_log_loss:.4f} before and {found.calibrated_log_loss:.4f} after" in text
    assert "none 0.5000" in text
    assert "700, of which 170 churned (24.29%)" in text
    assert "tenure_months 0.8181" in text
    assert "Contributions: exact, of lookup tables." in text
    assert "run-1" in text
    assert "ab" * 32 in text


def test_the_plots_agree_with_the_metrics() -> None:
    found = content()
    assert found.deciles[0].lift == pytest.approx(found.metrics["top_decile_lift"])
    assert found.profit is not None
    assert found.profit.acting_amount == pytest.approx(found.metrics["expected_profit_amount"])
    x, y = np.array(found.roc.x), np.array(found.roc.y)
    assert np.trapezoid(y, x) == pytest.approx(found.metrics["roc_auc"], abs=2e-3)
    bins = found.reliability
    ece = sum(one.row_count * abs(one.churned_share - one.mean_probability) for one in bins) / 600
    assert ece == pytest.approx(found.metrics["ece"], abs=1e-9)


def test_curves_by_hand() -> None:
    churned = np.arange(20) >= 15
    probabilities = (np.arange(20) + 0.5) / 20
    first, *_, last = reliability_bins(churned, probabilities)
    assert (first.row_count, first.churned_share, last.churned_share) == (2, 0.0, 1.0)
    assert first.mean_probability == pytest.approx(0.05)
    # Wilson 1927 with z = 1.6449: of 0 in 2 the upper end is z^2 / (n + z^2).
    assert (first.low, first.high) == (pytest.approx(0, abs=1e-12), pytest.approx(2.7055 / 4.7055, abs=1e-4))
    tenths = deciles(churned, probabilities)
    assert [one.lift for one in tenths[:3]] == [4.0, 4.0, 2.0]
    assert [one.cumulative_gain for one in tenths[:3]] == [0.4, 0.8, 1.0]


def test_profit_by_hand() -> None:
    # Worth 10 x 12 x 0.6 = 72: a leaver earns 0.3 (72 - 40) - 2 = 7.6, a stayer costs 42.
    churned, probabilities = np.array([True, False, True]), np.array([0.9, 0.1, 0.8])
    curve = profit_curve(churned, probabilities, np.array([10.0, 10.0, np.nan]), DECISION)
    assert curve is not None
    assert curve.realised.x == (0.0, 0.5, 1.0)
    assert curve.realised.y == pytest.approx((0.0, 3.8, (7.6 - 42) / 2))
    assert (curve.acting_share, curve.acting_amount) == (0.5, pytest.approx(3.8))


def test_rows_by_date_by_hand() -> None:
    days = np.array(["2026-02-01", "2026-01-01", "2026-02-01"], "datetime64[D]")
    january, february = rows_by_date(np.array([True, False, False]), np.array([0.5, 0.25, 0.75]), days)
    assert (january.as_of_date, january.row_count, january.churned_count) == ("2026-01-01", 1, 0)
    assert (february.churned_share, february.mean_probability) == (0.5, 0.625)


_RENDER = """
from test_card import content, render_card
import sys
sys.stdout.write(render_card(content(), "telco-20261031-1a2b3c4d"))
"""


def test_the_same_content_gives_the_same_bytes(page: str) -> None:
    """Also in another process, where sets and dictionaries hash differently and the zone is another."""
    environment = os.environ | {
        "PYTHONHASHSEED": "12", "TZ": "Asia/Tokyo", "PYTHONPATH": str(Path(__file__).parent),
    }  # fmt: skip
    other = subprocess.run(
        [sys.executable, "-c", _RENDER], cwd=PROJECT, env=environment, capture_output=True, check=True
    ).stdout.decode()
    assert other == page


def test_the_page_needs_nothing_else(page: str) -> None:
    assert len(page.encode()) < 600_000
    assert "<script" not in page
    assert not re.findall(r"\bsrc=|@import|url\((?!#)", page)
    addresses = set(re.findall(r"https?://[^\s\"'<]+", page))
    assert {address.split("/")[2] for address in addresses} == {"www.w3.org"}, "only the namespaces of SVG"
    assert all(target.startswith(("#", "data:,")) for target in re.findall(r'href="([^"]*)"', page))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "two elements of the page share an id"


def test_the_plots_are_drawings_of_their_own(page: str) -> None:
    plots = plots_of(page)
    assert set(plots) == {
        "reliability", "distribution", "roc", "precision_recall", "lift", "gain", "profit", "candidates",
        "importance",
    }  # fmt: skip
    for name, drawing in plots.items():
        root = ElementTree.fromstring(drawing)  # noqa: S314 - our own
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.get("aria-label"), name


def test_what_others_named_is_escaped() -> None:
    named = replace(FACTS, title="<script>alert(1)</script>", features=["<b>a</b>"])
    found = replace(
        content(candidates={"<i>x</i>": {"log_loss": 0.4}}, importance={"<b>a&b</b>": 0.3}),
        facts=named,
        gates=(GateResult("a", 1.0, 2.0, None, subject="<img src=x>", detail="<u>d</u>"),),
    )
    page = render_card(found, "<script>v</script>")
    assert not re.findall(r"<(script|img|u|i)\b", page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;a&amp;b&lt;/b&gt;" in plots_of(page)["importance"]


@pytest.mark.parametrize(
    ("gates", "mark", "words"),
    [
        (GATE_RESULTS, "blocked", "Failed calibration_segment: it may not be deployed"),
        (GATE_RESULTS[5:], "warned", "Every blocking gate passed; fairness_selection"),
        (GATE_RESULTS[2:5], "passed", "All 3 results of 2 gates"),
        (GATE_RESULTS[6:7], "blocked", "No gate has judged it"),
        ((), "blocked", "No gate has judged it"),
    ],
)
def test_the_verdict_is_that_of_the_gates(gates: tuple[GateResult, ...], mark: str, words: str) -> None:
    verdict, sentence = verdict_of(gates)
    assert verdict == mark
    assert sentence.startswith(words)


def test_the_verdict_heads_the_page(page: str) -> None:
    verdict, sentence = verdict_of(GATE_RESULTS)
    head = page.split("</header>")[0]
    assert f'<span class="verdict {verdict}">' in head
    assert sentence in head


def test_little_known_still_gives_a_card() -> None:
    """No money, no sensitive attribute, no importance, nothing decided; few leave."""
    found = rows()
    churned = np.arange(600) % 50 == 0
    bare = content(
        churned=churned, raw=np.full(600, 0.02), calibrated=np.full(600, 0.02), decision=None,
        monthly_values=np.full(600, np.nan), metrics={"log_loss": None, "roc_auc": 0.5}, importance={},
        sensitive=None, candidates={"base_rate": {"log_loss": None}}, gates=[],
    )  # fmt: skip
    text = text_of(render_card(bare, "v"))
    assert "No profit can be told" in text
    assert "No sensitive attribute is known" in text
    assert "nan" not in text.lower().split()
    dated = content(
        as_of_dates=np.datetime64("2026-01-05") + 7 * (np.arange(600) % 24), **found,
        value_family="linear", value_metrics={"mean_absolute_error": 1.2345, "none_known": None},
    )  # fmt: skip
    text = text_of(render_card(replace(dated, facts=replace(FACTS, validation="out_of_time")), "v"))
    assert "24 validated as-of dates from 2026-01-05 to 2026-06-15" in text
    assert "5 folds forward in time" in text
    assert "mean absolute error 1.2345" in text


def test_a_large_card_stays_small() -> None:
    gates = [GateResult("leakage_column", 0.6, None, 0.9, f"feature_{number}") for number in range(300)]
    found = rows(5000)
    large = content(
        **found, gates=gates, importance={gate.subject: 0.1 for gate in gates},
        as_of_dates=np.datetime64("2022-01-03") + 7 * (np.arange(5000) % 200),
        sensitive={"age": np.arange(5000) % 90},
        candidates={f"family_{number}": {"log_loss": 0.4} for number in range(11)},
    )  # fmt: skip
    assert len(render_card(large, "v").encode()) < 600_000


def test_the_template_is_packaged() -> None:
    packaged = {file.distribution_path for file in WheelBuilder(str(PROJECT)).recurse_included_files()}
    assert "churn_ml/training/card.html.j2" in packaged


def browse(path: Path, profile: Path) -> tuple[str, list[str]]:
    """Return the page's document and what it said to the console."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("chromium is not installed: the page is not opened in a browser")
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
         "--enable-logging=stderr", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_a_browser_opens_it_without_complaint(page: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text("<html><script>undefined_name()</script></html>")
    assert browse(broken, tmp_path / "profile")[1], "the browser would not tell of an error"
    path = tmp_path / "card.html"
    path.write_text(page, encoding="utf-8")
    document, said = browse(path, tmp_path / "profile")
    assert said == []
    assert "Model card: telco-20261031-1a2b3c4d" in document
    assert document.count("<svg") == len(plots_of(page))
