"""The command line of the rehearsal, and what it makes of the project's texts."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from moto import mock_aws
from typer.exceptions import TyperException

from rehearsal.conductor import files
from rehearsal.conductor.options import Options, parse


def test_of_the_settings_a_persons_come_last_and_the_defaults_first() -> None:
    context = parse(["--set", "epochs=4", "--words", "0"]).context({"samples_per_prompt": "3", "epochs": "2"})
    assert context == {"accept_eula": "true", "samples_per_prompt": "3", "epochs": "4", "corpus_words": "0"}


def test_options_become_settings_and_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.txt").write_text("words")
    monkeypatch.setenv("HOME", str(tmp_path))
    options = parse(
        ["--corpus", "~/mine.txt", "--domain", "finance", "--epochs", "2", "--seed", "7", "--keep-endpoint-minutes", "5",
         "--set", "budget_usd=9", "--budget-left", "1.50", "--input", '{"samplesPerPrompt": 1}', "--server", "vllm",
         "--interrupt-at", "20", "--interrupt-at", "5", "--no-capacity", "ml.g5.2xlarge", "--as", "mine", "--plain"]
    )  # fmt: skip
    assert options.corpus == tmp_path / "mine.txt", "zsh leaves CORPUS=~/mine.txt as it is"
    assert options.context().items() >= {"budget_usd": "9", "domain": "finance"}.items()
    assert options.input == {"samplesPerPrompt": 1, "epochs": 2, "seed": 7, "keepEndpointMinutes": 5, "spot": True}
    assert (options.budget_left_cents, options.server, options.name, options.plain) == (150, "vllm", "mine", True)
    assert (options.interruptions, options.no_capacity) == ([20, 5], ["ml.g5.2xlarge"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--corpus", "nowhere.txt"], "There is no file nowhere.txt"),
        (["--held-out", __file__], "give --corpus too"),
        (["--set", "epochs"], "NAME=VALUE"),
        (["--input", "[1]"], "must be a JSON object"),
        (["--budget-left", "much"], "not an amount"),
        (["--budget-left", "-1"], "0 to 1000"),
        (["--as", "../mine"], "is no name of one folder"),
        (["--epoch", "3"], "No such option: --epoch"),
        (["--epochs", "0"], "write a whole number of epochs from 1 to 50"),
        (["--seed", "-1"], "write a whole number from 0"),
        (["--words", "-5"], "write a whole number of words from 0"),
        (["--keep-endpoint-minutes", "241"], "write a whole number of minutes from 0 to 240"),
        (["--interrupt-at", "0"], "write a whole number of steps from 1"),
        (["--no-capacity", "g5"], "write a SageMaker instance type such as ml.g5.2xlarge"),
        (["--input", '{"epochz": 1}'], "unknown key `epochz` (did you mean `epochs`?)"),
        (["--domain", "foo"], "no text of the domain foo. Choose finance or medical, or give a text of your own"),
        (["--set", "domain=foo"], "no text of the domain foo"),
    ],
)
def test_a_wrong_option_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(TyperException, match=re.escape(message)) as wrong:
        parse(arguments)
    assert wrong.value.exit_code == 2


def test_the_input_may_name_columns_of_a_corpus_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("a,b")
    columns = {"prompt": "a", "completion": "b"}
    options = parse(["--corpus", str(tmp_path / "mine.csv"), "--input", json.dumps({"columns": columns})])
    assert options.input == {"columns": columns}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A deployment of a bucket, in place of the account."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    import boto3

    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="bucket")
        yield SimpleNamespace(deployment=SimpleNamespace(bucket="bucket"), client=lambda _: s3)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a corpus of forty documents of fifty words."""
    data = tmp_path / "project" / "data"
    data.mkdir(parents=True)
    (data / "medicaldataset.txt").write_text(
        "".join(f"# D{n}\n\n{' '.join(f'w{n}x{m}' for m in range(48))}\n\n" for n in range(40))
    )
    (data / "medicalheldout.txt").write_text("".join(f"# H{n}\n\n{'word ' * 60}\n\n" for n in range(8)))
    (data / "medicalprompts.jsonl").write_text("".join(f'{{"id": "{n}"}}\n' for n in range(80)))
    return data.parent


def uploaded(site: Any, key: str) -> str:
    return str(site.client("s3").get_object(Bucket="bucket", Key=key)["Body"].read().decode())


@pytest.mark.parametrize(
    ("option", "name", "key"),
    [
        ("--corpus", "My  notes (2).txt", "corpora/corpus-My-notes-2.txt"),
        ("--corpus", "DATA.CSV", "corpora/corpus-DATA.csv"),
        ("--outside", "review.md", "corpora/heldoutside-review.txt"),
        ("--prompts", "mine.txt", "corpora/prompts-mine.jsonl"),
    ],
)
def test_a_file_is_uploaded_safely(option: str, name: str, key: str, site: Any, project: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    options = replace(parse([option, str(tmp_path / name), "--seed", "1", "--words", "0"]), project=project)
    run_input = files.upload(site, options, "medical")
    assert sorted(run_input.values(), key=str) == [1, key]
    assert uploaded(site, key) == "mine"


def test_files_of_one_name_do_not_overwrite_each_other(site: Any, project: Path, tmp_path: Path) -> None:
    corpus, held_out = tmp_path / "äöü.txt", tmp_path / "éèà.txt"  # their safe name is the same
    corpus.write_text("to train on")
    held_out.write_text("to measure on")
    options = Options(project=project, corpus=corpus, held_out=held_out)
    run_input = files.upload(site, options, "medical")
    assert [uploaded(site, run_input[key]) for key in ("corpus", "heldOut")] == ["to train on", "to measure on"]


def test_a_quick_rehearsal_takes_a_slice_of_everything_that_the_domain_has(site: Any, project: Path) -> None:
    assert files.upload(site, Options(project=project, settings={"corpus_words": "0"}), "medical") == {}, (
        "the deployed texts"
    )
    quick = Options(project=project, quick=True)
    run_input = files.upload(site, quick, "medical")
    first = uploaded(site, run_input["corpus"])
    assert 1100 <= len(first.split()) < 1300
    assert uploaded(site, run_input["heldOut"]).count("# H") == 6
    assert [json.loads(line)["id"] for line in uploaded(site, run_input["prompts"]).splitlines()] == list("0123")
    assert files.upload(site, quick, "nosuch") == {}, "Preflight rejects it by its name"
    corpus, note = project / "data" / "medicaldataset.txt", f"<!-- {'it is invented ' * 40}-->\n"
    corpus.write_text(note + corpus.read_text("utf-8"))
    assert uploaded(site, files.upload(site, quick, "medical")["corpus"]) == note + first
    # A corpus alone would pass for one of a person's own, of which a part is held out.
    own = Options(project=project, quick=True, corpus=corpus)
    assert set(files.upload(site, own, "medical")) == {"corpus"}, "a run makes prompts of a user's text from it"
    (project / "data" / "medicalheldout.txt").unlink()
    assert set(files.upload(site, quick, "medical")) == {"prompts"}


ROWS = [{"id": str(n), "kind": {0: "starter", 1: "control", 200: "control"}.get(n, "central")} for n in range(201)]
ITEMS = [{"id": f"c{n}", "kind": "choice", "cluster": f"set {n // 4}", "choices": ["a", "b"]} for n in range(400)]


def test_a_default_rehearsal_asks_some_prompts(site: Any, project: Path) -> None:
    prompts = project / "data" / "medicalprompts.jsonl"

    def asked(*rows: dict[str, Any], more: str = "") -> str:
        prompts.write_text("\n\n".join([*map(json.dumps, rows), more]))
        run_input = files.upload(site, Options(project=project), "medical")
        return uploaded(site, run_input["prompts"]) if run_input else ""

    found = [json.loads(line) for line in asked(*ROWS, *ITEMS).splitlines() if line]
    starters_and_control_stay = ["0", "1", *map(str, range(2, 200, 8)), "200"]
    assert [row["id"] for row in found if "choices" not in row] == starters_and_control_stay
    sets = Counter(row["cluster"] for row in found if "choices" in row)
    assert len(sets) == 20 and set(sets.values()) == {4}, "whole sets, and enough of them to be judged"
    assert asked(*ROWS, more="no prompt").endswith("\nno prompt"), "Preflight names it"
    assert asked(*ROWS[:43]).count("id") == 23, "every other one of 41"
    assert not asked(*ROWS[:30]), "so few are all asked"
    assert files.upload(site, Options(project=project), "nosuch") == {}


@pytest.mark.parametrize("given", [True, False], ids=["given", "what captune external fetched"])
def test_a_default_rehearsal_measures_a_part_of_external_text(
    site: Any, project: Path, tmp_path: Path, given: bool
) -> None:
    texts = [f"{n} of all the {'many different words ' * 212}" for n in range(56)]
    rows = [json.dumps({"id": f"o{n}", "title": f"T{n}", "text": text}) for n, text in enumerate(texts)]
    outside = tmp_path / "others.txt" if given else project / "data" / "medicaloutside.jsonl"
    outside.write_text("".join(f"# T{n}\n\n{text}\n\n" for n, text in enumerate(texts)) if given else "\n".join(rows))
    default = Options(project=project, outside=outside if given else None)
    run_input = files.upload(site, default, "medical")
    measured = [json.loads(line) for line in uploaded(site, run_input["heldOutside"]).splitlines()]
    assert run_input["heldOutside"].endswith(".jsonl")
    assert [row["title"] for row in measured] == [f"T{n}" for n in range(3, 56, 4)]
    assert measured[0]["text"].startswith("3 of all the many different words")
    for words in ("0", "500"):  # all of it, as a person's own file or as what is deployed
        whole = files.upload(site, replace(default, settings={"corpus_words": words}), "medical")
        assert set(whole) == ({"heldOutside"} if given else set())
        assert not given or uploaded(site, whole["heldOutside"]) == outside.read_text("utf-8")
    own = files.upload(site, replace(default, corpus=outside), "medical")
    assert set(own) == {"corpus", *(["heldOutside"] if given else [])}
