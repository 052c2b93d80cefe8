"""The owner's commands, against a price list of our own, and what `make destroy` runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from operations import __main__ as operations
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


def test_a_profile_that_is_not_there_is_named_with_the_way_to_see_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "wrok")
    assert main(["ledger"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("ProfileNotFound: ") and "wrok" in said and "aws configure list-profiles" in said


def test_a_setting_that_cannot_be_read_refuses_the_ledger_as_it_refuses_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "cdk.json"
    settings.write_text(json.dumps({"context": {"region": "us-east-1", "budget_usd": "much"}}))
    monkeypatch.setattr(operations, "SETTINGS_FILE", settings)
    assert main(["ledger"]) == 1
    assert "budget_usd" in capsys.readouterr().err


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


def make(*arguments: str, folder: Path = ROOT) -> tuple[int, str]:
    """How make ends with these arguments, and what it prints. Nothing is set up for a test."""
    set_up = ("--old-file=.venv/.deployable", "--old-file=node_modules/.bin/cdk")
    # Not what a make that runs these tests was told.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--silent", *set_up, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def would_run(*variables: str) -> list[str]:
    """The commands of `make destroy`, which make prints and does not run."""
    code, text = make("--dry-run", "destroy", *variables)
    assert code == 0, text
    return [line.replace("node_modules/.bin/cdk", "cdk") for line in text.splitlines()]


def test_every_line_goes_to_a_shell_that_macos_own_make_does_not_pass_by() -> None:
    # make 3.81 starts a line without shell characters directly, and does not see the PATH that is exported to it,
    # unless the shell is another one than its default, /bin/sh.
    first = next(line for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if not line.startswith("#"))
    assert first == "SHELL := /bin/bash"


def test_make_help_lists_every_target_that_has_a_purpose() -> None:
    purposes = [
        line.partition(":")[::2] for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if "  ## " in line
    ]
    code, text = make("help")
    assert (code, [line.split(maxsplit=1) for line in text.splitlines()]) == (
        0,
        [[target, rest.partition("  ## ")[2]] for target, rest in purposes],
    )
    assert "rehearse-7b" in text


@pytest.mark.parametrize("target", ["destroy", "release"])
@pytest.mark.parametrize(
    "given",
    ["--profile work", "--profile=work", "--context=region=eu-west-1", "-cregion=eu-west-1", "--region eu-west-1"],
)
def test_what_is_asked_in_one_account_or_region_and_done_in_another_is_refused(target: str, given: str) -> None:
    code, text = make("--dry-run", target, f"ARGS={given}")
    assert code != 0 and "python -m operations" not in text
    assert f"AWS_PROFILE=name make {target}" in text and f'make {target} ARGS="-c region=name"' in text


@pytest.mark.parametrize(
    ("given", "run"),
    [
        ("-c region=eu-west-1 --json", "--region eu-west-1 ledger --json"),
        ("--context region=eu-west-1", "--region eu-west-1 ledger"),
        ("--json", "ledger --json"),
    ],
)
def test_make_ledger_takes_the_region_as_its_siblings_take_it(given: str, run: str) -> None:
    code, text = make("--dry-run", "ledger", f"ARGS={given}")
    assert (code, text.split()) == (0, ["python", "-m", "operations", *run.split()])


@pytest.mark.parametrize(
    ("target", "options", "part"),
    [
        ("mutate-machines", "-m code_mutations.machines --write results/mutations.md", "--only StartTraining"),
        ("prove-cap", "-m proof --write results/prove-cap.md", "--months 50"),
    ],
)
def test_a_part_of_a_proof_does_not_take_the_place_of_the_whole(target: str, options: str, part: str) -> None:
    there = "--old-file=.venv/.ready"
    assert make("--dry-run", there, target)[1].split() == ["python", *options.split()]
    module = options.split(" --write")[0]
    assert make("--dry-run", there, target, f"ARGS={part}")[1].split() == ["python", *module.split(), *part.split()]


@pytest.mark.parametrize(
    ("code", "there"), [(0, "new\n"), (1, "old\n")], ids=["a command that ends well", "one that fails on its way"]
)
def test_a_file_that_git_keeps_is_replaced_by_a_whole_one_only(tmp_path: Path, code: int, there: str) -> None:
    (tmp_path / "results").mkdir()
    kept = tmp_path / "results" / "costs.md"
    kept.write_text("old\n")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text(f"#!/bin/sh\necho new\nexit {code}\n")
    (programs / "python").chmod(0o755)
    shutil.copy(ROOT / "Makefile", tmp_path)
    ended, text = make("costs", folder=tmp_path)
    assert (ended == 0, text.startswith("new\n"), kept.read_text()) == (code == 0, True, there)
    assert [file.name for file in kept.parent.iterdir()] == ["costs.md"]


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
    assert " ".join(emptied.split()) == "python -m operations empty --yes && cdk destroy Captune-Storage --force"
