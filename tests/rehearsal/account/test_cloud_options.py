"""The command line of the rehearsal, and what it makes of the project's texts."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rehearsal.account.cloud import Cloud
from rehearsal.conductor import materials
from rehearsal.conductor.options import DEFAULT_WORDS, PROJECT, NeedsLinux, Options, parse, refuse_what_needs_linux


def test_without_options_the_licence_is_rehearsed_and_one_epoch_run() -> None:
    context = parse([]).context()
    assert (context["accept_eula"], context["epochs"], context["samples_per_prompt"]) == ("true", "1", "0")
    assert parse([]).context({"samples_per_prompt": "3"})["samples_per_prompt"] == "3"
    assert parse(["--set", "epochs=4"]).context()["epochs"] == "4"


def test_the_endpoint_is_played_by_transformers_unless_vllm_is_asked_for() -> None:
    assert parse([]).server == "transformers"
    assert parse(["--server", "vllm"]).server == "vllm"


def test_options_become_settings_and_input(tmp_path: Path) -> None:
    corpus = tmp_path / "My text.txt"
    corpus.write_text("words")

    options = parse(
        ["--corpus", str(corpus), "--domain", "finance", "--epochs", "2", "--seed", "7", "--keep-endpoint-minutes", "5",
         "--set", "budget_usd=9", "--budget-left", "1.50", "--input", '{"samplesPerPrompt": 1}']
    )  # fmt: skip

    assert options.corpus == corpus
    assert options.context().items() >= {"budget_usd": "9", "domain": "finance"}.items()
    assert options.input == {"samplesPerPrompt": 1, "epochs": 2, "seed": 7, "keepEndpointMinutes": 5}
    assert options.budget_left_cents == 150


def test_a_home_folder_that_the_shell_has_left_alone_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """zsh leaves CORPUS=~/mine.txt as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.txt").write_text("words")
    assert parse(["--corpus", "~/mine.txt"]).corpus == tmp_path / "mine.txt"


def test_a_table_is_one_whatever_the_case_of_its_ending(tmp_path: Path) -> None:
    file = tmp_path / "DATA.CSV"
    file.write_text("prompt,completion\nWhat?,That.\n")
    put: dict[str, bytes] = {}
    s3 = SimpleNamespace(put_object=lambda Bucket, Key, Body: put.update({Key: Body}))
    cloud = SimpleNamespace(deployment=SimpleNamespace(bucket="b"), client=lambda name: s3)
    given = materials.upload(cast(Any, cloud), parse(["--corpus", str(file)]), "medical")
    assert given == {"corpus": "corpora/corpus-DATA.csv"} and list(put) == ["corpora/corpus-DATA.csv"]


def test_an_instance_that_is_taken_away_is_one_on_spot() -> None:
    options = parse(["--interrupt-at", "20", "--interrupt-at", "5", "--input", '{"seed": 7}'])
    assert (options.interruptions, options.input) == ((20, 5), {"seed": 7, "spot": True})
    assert (parse([]).interruptions, parse([]).input) == ((), {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--corpus", "nowhere.txt"], "there is no file nowhere.txt"),
        (["--heldout", __file__], "give --corpus too"),
        (
            ["--corpus", str(PROJECT / "package.json")],
            "write each record on a line of its own and call the file .jsonl",
        ),
        (["--set", "epochs"], "key=value"),
        (["--input", "[1]"], "must be a JSON object"),
        (["--input", "{"], "not JSON"),
        (["--budget-left", "much"], "not an amount"),
        (["--budget-left", "-1"], "0 to 1000"),
        (["--as", "/tmp/mine"], "is no name of one folder; --results says where it goes"),
        (["--as", ".."], "is no name of one folder"),
    ],
)
def test_a_wrong_option_is_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)

    assert ended.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("system", "count", "refused"), [("Darwin", 2, True), ("Darwin", 1, False), ("Linux", 2, False)]
)
def test_several_training_processes_are_refused_by_name_where_they_cannot_be_launched(
    system: str, count: int, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    said = pytest.raises(NeedsLinux, match="training_instance_count=2 .* on Linux only") if refused else nullcontext()
    with said:
        refuse_what_needs_linux(count)


class _Deployed:
    bucket = "bucket"


@pytest.fixture
def project(tmp_path: Path, cloud: Cloud) -> Path:
    """A project with a corpus of forty documents of fifty words, and a bucket for it."""
    cloud.client("s3").create_bucket(Bucket="bucket")
    cloud.deployment = _Deployed()  # type: ignore[assignment]
    data = tmp_path / "project" / "data"
    data.mkdir(parents=True)
    (data / "medicaldataset.txt").write_text(
        "".join(f"# D{n}\n\n{' '.join(f'w{n}x{m}' for m in range(48))}\n\n" for n in range(40))
    )
    (data / "medicalheldout.txt").write_text("".join(f"# H{n}\n\n{'word ' * 60}\n\n" for n in range(8)))
    (data / "medicalprompts.jsonl").write_text(
        "".join(f'{{"id": "{n}", "kind": "{"starter" if n == 70 else "question"}"}}\n' for n in range(80))
    )
    return data.parent


def uploaded(cloud: Cloud, key: str) -> str:
    return str(cloud.client("s3").get_object(Bucket="bucket", Key=key)["Body"].read().decode())


def test_the_projects_own_corpus_starts_with_an_empty_input(cloud: Cloud, project: Path) -> None:
    assert materials.upload(cloud, Options(project=project), "medical") == {}


def test_a_number_of_words_is_a_setting_of_the_stacks() -> None:
    assert parse(["--words", "0"]).context()["corpus_words"] == "0"
    assert parse([]).context()["corpus_words"] == str(DEFAULT_WORDS)


def test_a_corpus_of_ones_own_is_uploaded_under_a_safe_name(cloud: Cloud, project: Path, tmp_path: Path) -> None:
    own = tmp_path / "My  notes (2).txt"
    own.write_text("mine")

    run_input = materials.upload(cloud, Options(project=project, corpus=own, input={"seed": 1}), "medical")

    assert run_input == {"corpus": "corpora/corpus-My-notes-2.txt", "seed": 1}
    assert uploaded(cloud, run_input["corpus"]) == "mine"


@pytest.mark.parametrize(
    ("name", "key"),
    [("abstracts.jsonl", "corpora/heldoutside-abstracts.jsonl"), ("review.md", "corpora/heldoutside-review.txt")],
)
def test_outside_text_goes_along_without_a_corpus_of_ones_own(
    name: str, key: str, cloud: Cloud, project: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text("by others")
    options = replace(parse(["--outside", str(tmp_path / name)]), project=project)
    run_input = materials.upload(cloud, options, "medical")
    assert run_input == {"heldOutside": key}
    assert uploaded(cloud, key) == "by others"


@pytest.mark.parametrize(("corpus", "held_out"), [("train/data.txt", "test/data.txt"), ("данные.txt", "проверка.txt")])
def test_files_of_one_name_do_not_overwrite_each_other(
    corpus: str, held_out: str, cloud: Cloud, project: Path, tmp_path: Path
) -> None:
    for name, content in ((corpus, "to train on"), (held_out, "to measure on")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)

    options = Options(project=project, corpus=tmp_path / corpus, held_out=tmp_path / held_out)
    run_input = materials.upload(cloud, options, "medical")

    assert uploaded(cloud, run_input["corpus"]) == "to train on"
    assert uploaded(cloud, run_input["heldOut"]) == "to measure on"


def test_a_quick_rehearsal_takes_a_slice_of_everything(cloud: Cloud, project: Path) -> None:
    run_input = materials.upload(cloud, Options(project=project, quick=True), "medical")

    assert 1100 <= len(uploaded(cloud, run_input["corpus"]).split()) < 1300
    assert uploaded(cloud, run_input["heldOut"]).count("# H") == 6
    assert uploaded(cloud, run_input["prompts"]).count("\n") == 4


def test_a_quick_rehearsal_leaves_it_to_preflight_to_refuse_a_domain_without_texts(cloud: Cloud, project: Path) -> None:
    assert materials.upload(cloud, Options(project=project, quick=True), "nosuch") == {}


def test_a_domain_without_held_out_text_does_not_pass_for_a_corpus_of_ones_own(cloud: Cloud, project: Path) -> None:
    (project / "data" / "medicalheldout.txt").unlink()

    assert set(materials.upload(cloud, Options(project=project, quick=True), "medical")) == {"prompts"}


def test_all_but_some_dollars_can_be_set_aside(cloud: Cloud) -> None:
    dynamodb = cloud.client("dynamodb")
    dynamodb.create_table(
        TableName="ledger", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
    )  # fmt: skip
    deployed = _Deployed()
    deployed.table = "ledger"  # type: ignore[attr-defined]
    cloud.deployment = deployed  # type: ignore[assignment]

    materials.reserve_all_but(cloud, 300, 2500)

    items = dynamodb.scan(TableName="ledger")["Items"]
    assert [item["committed_cents"]["N"] for item in items] == ["2200", "2200"]
    assert f"MONTH#{cloud.clock():%Y-%m}" in {item["pk"]["S"] for item in items}
