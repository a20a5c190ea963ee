"""A declaration is read strictly: what it does not say is not guessed."""

from pathlib import Path

import pytest

from churn_ml.declarations import load_dataset, parse_dataset
from churn_ml.errors import DeclarationError
from churn_ml.settings import Settings

TEXT = """
dataset: "small"
title: "A small one"
kind: "snapshot"
label_definition: "small_30d"
value_definition: "mrr_horizon"
sensitive_features: []
candidates: {base_rate: {}}
search: {trials: 1, seconds: 60}
entities:
  customers:
    files: ["*.csv"]
    delimiter: ","
    encoding: "UTF8"
    key: ["customer_id"]
    columns:
      "ID": "customer_id"
      "Yes": "is_yes"
"""


def parse(tmp_path: Path, text: str) -> object:
    path = tmp_path / "small.yml"
    path.write_text(text, encoding="utf-8")
    return parse_dataset(path)


def test_shipped_telco_declaration_maps_all_21_columns() -> None:
    entity = load_dataset(Settings(_env_file=None, dataset="telco")).entities["customers"]
    assert len(entity.columns) == 21
    assert entity.columns["TotalCharges"] == "total_charges"


def test_shipped_subscriptions_declaration_is_the_default_and_has_a_panel() -> None:
    dataset = load_dataset(Settings(_env_file=None))
    assert (dataset.dataset, dataset.kind) == ("subscriptions", "dated")
    assert dataset.panel is not None
    assert all({"event_at", "revision", "is_deleted"} <= set(e.columns) for e in dataset.entities.values())


def test_dated_dataset_must_declare_its_panel_and_a_snapshot_none(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="expected panel: for a dated dataset"):
        parse(tmp_path, TEXT.replace('"snapshot"', '"dated"'))


def test_declaration_is_read(tmp_path: Path) -> None:
    assert parse(tmp_path, TEXT)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"Yes": "is_yes"', 'Yes: "is_yes"', "Put it in quotes"),
        ('"Yes": "is_yes"', '"Yes": Yes', "Put it in quotes"),
        ('"Yes": "is_yes"', '"Yes": "customer_id"', "two file columns map to the same raw column"),
        ('"Yes": "is_yes"', '"ID": "is_yes"', "'ID' twice"),
        ('"Yes": "is_yes"', '"": "is_yes"', "entities.customers.columns"),
        ('"Yes": "is_yes"', '"Yes": "_batch_id"', "entities.customers.columns.Yes"),
        ('key: ["customer_id"]', 'key: ["absent"]', "key names no raw column"),
        ('delimiter: ","', 'delimiter: "¦"', "one ASCII character"),
        ('delimiter: ","', "delimiter: '\"'", "one ASCII character"),
        ('delimiter: ","', 'delimiter: "\\n"', "one ASCII character"),
        ('encoding: "UTF8"', 'encoding: "utf-8"', "entities.customers.encoding"),
        ('title: "A small one"', "title: 2026", "title"),
        ('title: "A small one"', "colour: 1", "colour"),
        ('dataset: "small"', 'dataset: "other"', "Rename the file or the dataset"),
        ("sensitive_features: []", "sensitive_features: [", "Expected YAML"),
    ],
)
def test_malformed_declaration_names_the_field(tmp_path: Path, before: str, after: str, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        parse(tmp_path, TEXT.replace(before, after))


@pytest.mark.parametrize("content", [b"", b"- a\n", b"\xff\xfe"])
def test_file_without_a_mapping_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "small.yml"
    path.write_bytes(content)
    with pytest.raises(DeclarationError, match=r"small\.yml"):
        parse_dataset(path)


def test_missing_declaration_lists_the_declared_ones() -> None:
    with pytest.raises(DeclarationError, match=r"Declared datasets: .*telco"):
        load_dataset(Settings(_env_file=None, dataset="absent"))
