"""The owner's commands, against a price list of our own, and what `make destroy` runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from operations import price_list
from operations.__main__ import main
from operations.data import texts

ROOT = Path(__file__).resolve().parents[3]


class _PriceList:
    """Answers like the Price List API for the pairs it knows."""

    def __init__(self, known: dict[tuple[str, str], str]) -> None:
        self._known = known

    def client(self, service: str, region_name: str) -> _PriceList:
        assert (service, region_name) == ("pricing", "us-east-1")
        return self

    def get_paginator(self, operation: str) -> _PriceList:
        assert operation == "get_products"
        return self

    def paginate(self, ServiceCode: str, Filters: list[dict[str, str]]) -> Iterator[dict[str, list[str]]]:
        values = {one["Field"]: one["Value"] for one in Filters}
        price = self._known.get((values["regionCode"], values["instanceName"]))
        if price is None:
            yield {"PriceList": []}
            return
        terms = {"OnDemand": {"t": {"priceDimensions": {"d": {"unit": "Hrs", "pricePerUnit": {"USD": price}}}}}}
        products = [
            {"product": {"attributes": {**values, "component": use}}, "terms": terms} for use in ("Training", "Hosting")
        ]
        yield {"PriceList": [json.dumps(product) for product in products]}


def _table(folder: Path) -> Path:
    file = folder / "prices.json"
    file.write_text(
        json.dumps(
            {"source": "x", "date": "2026-01-01", "hourly_usd": {"us-east-1": {"ml.a": "1.0", "ml.gone": "2.0"}}}
        )
    )
    return file


def test_refreshed_prices_drop_what_the_list_no_longer_knows(tmp_path: Path) -> None:
    file = _table(tmp_path)
    words = price_list.refresh(_PriceList({("us-east-1", "ml.a"): "1.25"}), [], [], file)
    assert json.loads(file.read_text())["hourly_usd"] == {"us-east-1": {"ml.a": "1.25"}}
    assert "ml.gone: not listed" in words and "(was 1.0)" in words


def test_a_list_without_any_price_leaves_the_table_as_it_was(tmp_path: Path) -> None:
    file = _table(tmp_path)
    before = file.read_text()
    with pytest.raises(LookupError, match="no price at all"):
        price_list.refresh(_PriceList({}), [], [], file)
    assert file.read_text() == before


@pytest.fixture(scope="module")
def counted() -> str:
    """What there is to say of the texts of data/."""
    return "\n".join(texts.count())


def test_the_datasheet_counts_are_those_of_the_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], counted: str
) -> None:
    monkeypatch.setattr(texts, "count", lambda: counted.splitlines())  # each count takes its time
    assert main(["data"]) == 0
    printed = capsys.readouterr().out
    assert printed == f"{counted}\n"
    assert "medicaldataset.txt" in printed and "starter 4" in printed


@pytest.mark.slow
def test_the_commands_work_as_they_are_typed_without_a_python_path(counted: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    typed = [sys.executable, "-m", "operations", "data"]
    done = subprocess.run(typed, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"{counted}\n"), done.stderr


def would_run(*variables: str) -> list[str]:
    """The commands of `make destroy`, which make prints and does not run."""
    command = [
        "make",
        "--dry-run",
        "--silent",
        "--old-file=.venv/.deployable",
        "--old-file=node_modules/.bin/cdk",
        "destroy",
        *variables,
    ]
    # Not what a make that runs these tests was told.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return [line.replace("node_modules/.bin/cdk", "cdk") for line in done.stdout.splitlines()]


def test_make_destroy_checks_and_asks_before_anything_else_and_only_once() -> None:
    asked, destroyed, _ = would_run()
    assert asked.split() == ["python", "-m", "operations", "destroy"]
    assert destroyed.split() == ["cdk", "destroy", "Captune-Guardrail", "Captune-FineTuning", "--force"]


def test_who_says_yes_beforehand_is_not_asked_and_the_region_is_kept() -> None:
    asked, destroyed, _ = would_run("ARGS=--force -c region=eu-west-1")
    assert asked.split() == ["python", "-m", "operations", "--region", "eu-west-1", "destroy", "--yes"]
    assert destroyed.split()[4:] == ["--force", "-c", "region=eu-west-1"]


def test_where_the_data_is_to_go_the_question_says_so_before_anything_is_deleted() -> None:
    asked, _, emptied = would_run("DATA=delete")
    assert asked.split()[-2:] == ["destroy", "--data"]
    assert " ".join(emptied.split()) == "python -m operations empty && cdk destroy Captune-Storage --force"
