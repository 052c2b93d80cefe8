"""The commands about money, `captune estimate`, `costs`, `ledger` and `prices`: what a person reads before a run and of the month."""

import json
from pathlib import Path
from typing import Any

import pytest

from captune import costs, estimate
from captune import ledger as listing
from captune.account import Refused
from captune.data import DATA
from common import clock
from common.text import estimated_tokens
from preflight.texts import text_file
from stacks.configuration.settings import Settings
from tests.doubles.aws_account import Answers, FakeSession, deployed, price_list, said
from tests.doubles.lambda_fakes import NOW
from tests.doubles.ledger_fakes import FakeLedger, reservation


def first_line(file: Path, *more: str) -> str:
    code, text = said("estimate", "--corpus", file, *more)
    assert code == 0, text
    return text.splitlines()[0]


def test_the_command_prints_tokens_seconds_dollars_and_memory(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one.txt", "two.txt")]
    for file in files:
        file.write_text("word " * 500, encoding="utf-8")
    code, text = said("estimate", "--corpus", *files, "-c", "epochs=3")
    lines = text.splitlines()
    assert (code, lines[0]) == (0, "Llama 2 7B on ml.g5.2xlarge, 1,000 words")
    assert lines[1].split()[:2] == ["tokens", f"{3 * estimated_tokens(1000):,}"]
    named = {line[:24].strip(): line[24:34].strip() for line in lines[1:]}
    assert named["expected"].startswith("$") and named["worst case"].startswith("$")
    assert {"image", "weights", "learn", "endpoint starts", "to train", "to serve", "host"} <= set(named)


def test_the_texts_of_records_are_counted_and_not_their_marks(tmp_path: Path) -> None:
    records, table = tmp_path / "records.jsonl", tmp_path / "RECORDS.CSV"
    pairs = [(f"What is gene {number}?", "It codes for a protein.") for number in range(120)]
    records.write_text("\n".join(json.dumps({"prompt": one, "completion": two}) for one, two in pairs), "utf-8")
    table.write_text("prompt,completion\n" + "\n".join(f"{one},{two}" for one, two in pairs), "utf-8")
    assert first_line(records).endswith(", 1,080 words") and first_line(table).endswith(", 1,080 words")


@pytest.mark.parametrize(
    ("name", "content", "size", "words"),
    [
        ("records.jsonl", b'{"prompt": "What?", "completion": ""}', 0, "line 1"),
        ("windows.txt", "naïve\n".encode("cp1252") * 30, 0, "windows.txt is not UTF-8"),
        ("a.txt", b"", text_file.MOST_CORPUS_BYTES + 1, "captune sample FILE --megabytes 32"),
    ],
)
def test_estimate_rejects_a_file_that_preflight_would_reject(
    tmp_path: Path, name: str, content: bytes, size: int, words: str
) -> None:
    with (tmp_path / name).open("wb") as file:
        file.write(content)
        file.truncate(size or len(content))  # of which nothing is on the disk
    code, text = said("estimate", "--corpus", tmp_path / name)
    assert code == 1 and words in text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("epochs=1", ", 1,048,576 words"),
        ("epochs=50", " 838,860 of 1,048,576 words: a run of this length"),
        ("corpus_words=200", " 200 of 1,048,576 words: corpus_words"),
    ],
)
def test_a_large_text_counts_as_much_as_a_run_learns(tmp_path: Path, given: str, words: str) -> None:
    file = tmp_path / "large.txt"
    file.write_text("word " * 2**20, "utf-8")  # 5 MiB
    assert words in first_line(file, "-c", given)


def test_a_run_that_preflight_would_reject_has_no_price_without_its_error(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("word")
    code, text = said("estimate", "--corpus", tmp_path / "one.txt")
    assert (
        code == 1
        and text == "A run rejects one.txt: it needs at least 1,000 words, and 1 are there. Give a longer text.\n"
    )
    code, text = said("estimate", "-c", "base_model=llama-2-13b", "-c", "training_instance_type=ml.g5.2xlarge")
    assert code == 1 and "to serve" in text and "Llama 2 13B with 13.0 billion parameters does not fit" in text


def test_what_is_no_setting_or_pays_for_no_run_ends_with_its_reason() -> None:
    for words, reason in (("odd", "NAME=VALUE"), ("budget_usd=3", "Set budget_usd in cdk.json to at least 5")):
        code, text = said("estimate", "-c", words)
        assert code == 1 and reason in text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"budget_usd": 6}, "shortened to 1 h 16 min of training, 1 h 0 min of endpoint"),
        ({"training_instance_type": "ml.g6e.2xlarge"}, "no measured speed for L40S"),
        ({"training_instance_type": "ml.p5.48xlarge"}, "Captune has no price for ml.p5.48xlarge"),
        ({"base_model": "llama-2-13b", "weights_uri": "s3://mine/one/"}, "does not fit the 20.5 GB"),
        ({"weights_uri": "s3://mine/one/"}, "Preflight reads the weights at s3://mine/one/"),
    ],
)
def test_what_is_shortened_not_known_or_does_not_fit_is_printed(given: dict[str, Any], words: str) -> None:
    assert words in estimate.describe(Settings.from_context(given), [])
    assert words not in estimate.describe(Settings(), [])


def test_the_table_in_the_results_is_what_the_code_reserves() -> None:
    assert (DATA.parent / "results" / "costs.md").read_text("utf-8").strip() == costs.table()


def test_the_worst_case_follows_the_settings_that_move_it() -> None:
    def worst(**given: int) -> int:
        return costs.allowance_of(Settings(**given)).worst.cents  # type: ignore[arg-type]

    # 2 h 22 min at $1.515 an hour, for two instances more; a cent of rounding.
    assert abs(worst(training_instance_count=3) - worst() - 2 * 8520 * 151.5 / 3600) <= 1
    assert worst(spot=True) == 784
    assert worst(checkpoint_minutes=60) < worst() < worst(checkpoint_minutes=1)


def lines(ledger: FakeLedger) -> list[str]:
    return listing.show(deployed(ledger), 2500).splitlines()


def test_months_and_runs_are_printed_newest_first() -> None:
    assert lines(FakeLedger()) == ["The ledger is empty: nothing was reserved or spent yet."]
    ledger = FakeLedger().with_run("a").settled("captune-a")
    ledger.reserve(reservation("b", 587, "2026-11", "2026-12"), 2500, NOW.replace(hour=23))
    ledger.count_start("2026-11", 9)
    printed = lines(ledger)
    assert printed[:2] == [
        "2026-12   committed    $5.87   0 executions looked at",
        "2026-11   committed    $6.19   1 executions looked at",
    ]
    assert "$1.00 of the $25.00 a month" in printed[2]
    assert [line.split() for line in printed[5:]] == [
        ["captune-b", "reserved", "$5.87", "-", "-", "-"],
        ["captune-a", "settled", "$6.00", "$0.26", "$0.00", "$0.32", "FAILED"],
    ]


def test_a_damaged_item_is_named_as_it_is_and_hides_no_other() -> None:
    ledger = FakeLedger().with_run("a").with_run("b").with_run("c").settled("captune-c")
    ledger.damage("RUN#captune-a", "reserved_cents", {"N": "6.5"}).damage("RUN#captune-c", "status", {"NULL": True})
    printed = lines(ledger)
    assert [line.split()[0] for line in printed if line.startswith("captune-")] == ["captune-b"]
    at = printed.index("Damaged items, as they are:")
    assert "RUN#captune-a: {" in printed[at + 1] and '"reserved_cents": {"N": "6.5"}' in printed[at + 1]
    assert "RUN#captune-c: {" in printed[at + 2] and "seal" not in printed[at + 2]
    assert "--accept KEY" in printed[at + 3]
    assert "committed   $56.00" in printed[0]
    assert printed[1].endswith("damaged, and so all of the cap counts: captune-a, captune-c, see below")


def test_a_month_that_differs_from_its_runs_counts_the_larger() -> None:
    ledger = FakeLedger().with_run("a").with_run("b")
    assert "add up to" not in lines(ledger)[1]
    del ledger.table.rows["RUN#captune-b"]
    first, second = lines(ledger)[:2]
    assert "committed   $12.00" in first and "add up to $6.00" in second and "own item says $12.00" in second
    del ledger.table.rows["MONTH#2026-11"]
    first, second = lines(ledger)[:2]
    assert "committed    $6.00" in first and "add up to $6.00" in second and "has no item" in second


def test_json_leaves_nothing_out() -> None:
    ledger = FakeLedger().with_run("a").with_run("b").settled("captune-b")
    ledger.count_start("2026-11", 9)
    ledger.damage("RUN#captune-a", "state", {"BOOL": True})
    found = {item["pk"]: item for item in json.loads(listing.show(deployed(ledger), 2500, as_json=True))}
    month = {"pk": "MONTH#2026-11", "committed_cents": 632, "runs_cents": 32, "damaged": ["captune-a"]}
    assert found["MONTH#2026-11"] == month and found["STARTS#2026-11"] == {"pk": "STARTS#2026-11", "starts": 1}
    assert found["RUN#captune-a"]["damaged"]["state"] == {"BOOL": True}
    assert found["RUN#captune-b"]["actual_cents"] == 32


class TestAccepting:
    def test_an_item_is_taken_as_it_is(self) -> None:
        ledger = FakeLedger().with_run("a").damage("RUN#captune-a")
        assert listing.accepted(ledger, "RUN#captune-a", {}, 2500).splitlines() == [
            "Accepted RUN#captune-a.",
            "  2026-11: $25.00 counted as committed before, $6.00 now",
        ]
        item: Any = ledger.run("captune-a")
        assert (item["note"], item["reserved_cents"]) == ("changed", 600)

    def test_what_is_wrong_is_corrected_or_removed(self) -> None:
        ledger = FakeLedger().with_run("a")
        whole: Any = ledger.run("captune-a")
        ledger.damage("RUN#captune-a", "training_instances", {"BOOL": True}).damage("RUN#captune-a")
        with pytest.raises(Refused, match="training_instances must be a whole number from 1 on, not {'BOOL'"):
            listing.accepted(ledger, "RUN#captune-a", {}, 2500)
        listing.accepted(ledger, "RUN#captune-a", {"training_instances": "1", "note": ""}, 2500)
        assert ledger.run("captune-a") == whole

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"state": "open"}, "state must be written like `reserved` or `settled`, not open"), ({"months": ""}, "months is missing"),
            ({"state": "settled"}, "actual_cents is missing"), ({"reserved_cents": "²"}, "reserved_cents must be a whole number"),
            ({"reserved_cents": "9" * 5000}, "reserved_cents must be a whole number"), ({"reserved_cents": "-1"}, "reserved_cents must be a whole number"),
            ({"reserved_at": "2026-10-24T12:00:00+00:00"}, "months must hold 2026-10"), ({"reserved_at": "2026-02-29T12:00:00+00:00"}, "reserved_at must be written like 2026-"),
        ],
    )  # fmt: skip
    def test_what_no_reader_could_use_is_not_accepted(self, changes: dict[str, str], words: str) -> None:
        ledger = FakeLedger().with_run("a").damage("RUN#captune-a")
        with pytest.raises(Refused, match=words):
            listing.accepted(ledger, "RUN#captune-a", changes, 2500)
        assert ledger.rows()[0].is_damaged

    @pytest.mark.parametrize("actual", ["31", "33"])
    def test_the_months_of_a_recorded_cost_add_up_to_it(self, actual: str) -> None:
        ledger = FakeLedger().with_run("a").settled("captune-a").noting("captune-a", booked_other_cents=6)
        ledger.damage("RUN#captune-a")
        with pytest.raises(Refused, match="actual_cents must be 32, which its months add up to"):
            listing.accepted(ledger, "RUN#captune-a", {"actual_cents": actual}, 2500)
        listing.accepted(ledger, "RUN#captune-a", {"actual_cents": "32"}, 2500)

    def test_a_month_becomes_what_its_runs_add_up_to(self) -> None:
        ledger = FakeLedger().with_run("a").damage("MONTH#2026-11", "committed_cents", {"S": "much"})
        assert "$25.00 counted as committed before, $6.00 now" in listing.accepted(ledger, "MONTH#2026-11", {}, 2500)
        listing.accepted(ledger, "MONTH#2026-11", {"committed_cents": "700"}, 2500)
        assert ledger.committed_cents("2026-11") == 700

    def test_a_count_of_starts_is_corrected(self) -> None:
        ledger = FakeLedger()
        ledger.count_start("2026-11", 9)
        ledger.damage("STARTS#2026-11", "starts", {"S": "many"})
        with pytest.raises(Refused, match="starts must be"):
            listing.accepted(ledger, "STARTS#2026-11", {}, 2500)
        listing.accepted(ledger, "STARTS#2026-11", {"starts": "3"}, 2500)
        assert ledger.count_start("2026-11", 9) == 4

    def test_only_what_is_there_can_be_accepted(self) -> None:
        with pytest.raises(Refused, match="no item RUN#captune-a"):
            listing.accepted(FakeLedger(), "RUN#captune-a", {}, 2500)
        with pytest.raises(Refused, match="NAME=VALUE, not 'x'"):
            listing._change("x")
        assert listing._change("a=b=c") == ("a", "b=c")
        with pytest.raises(Refused, match="cannot set seal"):
            listing._change("seal=abc")


def priced(hourly: str | None, file: Path, types: list[str]) -> str:
    """What `captune dev prices` prints of a list that knows all types but ml.gone."""
    kinds = {"us-east-1": {"ml.a": "1.0", "ml.gone": "2.0"}}
    file.write_text(json.dumps({"source": "x", "date": "2026-01-01", "hourly_usd": kinds}))
    known = {"PriceList": price_list(hourly).products}

    def listed(ServiceCode: str, Filters: list[dict[str, str]]) -> Any:
        return {"PriceList": []} if "ml.gone" in [one["Value"] for one in Filters] else known

    return costs.refresh(FakeSession(pricing=Answers("pricing", get_products=listed)), types, [], file)


def test_refreshed_prices_drop_what_the_list_no_longer_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    text = priced("1.25", tmp_path / "prices.json", ["ml.new"])
    table = (tmp_path / "prices.json").read_text("utf-8")
    hourly = {"us-east-1": {"ml.a": "1.25", "ml.new": "1.25"}}
    assert json.loads(table) == {"source": "AWS Price List", "date": "2026-11-24", "hourly_usd": hourly}
    assert "ml.gone: not listed" in text and "(was 1.0)" in text


def test_a_list_without_any_price_leaves_the_table_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no price at all"):
        priced(None, tmp_path / "prices.json", [])
    assert '"source": "x"' in (tmp_path / "prices.json").read_text("utf-8")
