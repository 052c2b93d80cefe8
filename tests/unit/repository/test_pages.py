"""The pages of docs/ against the code: every state is told of, every path exists, and prose stays narrow enough to read."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from common import cards, estimate
from common.ledger.ledger import dollars
from common.pricing import costs, durations, prices
from verification.conformance.plants import PLANTS
from operations import costs as costs_of_runs
from preflight import plan, request
from preflight.prompts import prompt_file
from preflight.texts import large_text, outside_text, text_file
from proof.simulation import storms
from rehearsal import seven_billion
from rehearsal.conductor import options
from stacks.configuration import catalog, serving
from stacks.configuration.settings import Settings, SettingsError
from stacks.watching import alarms

ROOT = next(folder for folder in Path(__file__).parents if (folder / "app.py").is_file())
DOCS = ROOT / "docs"
NARROW = [DOCS / f"{name}.md" for name in ("architecture", "cap", "operating", "rehearsal", "limits")]
NAMING_PATHS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md")),
    *(page for page in sorted(DOCS.glob("*.md")) if page.name != "limits.md"),
]
STORAGE = "S3 storage of earlier runs and their last checkpoints, GB-months"
_PATH = re.compile(r"`([A-Za-z_.]+/[A-Za-z0-9_./-]*)`")
_GENERATED = re.compile(r"<!-- [a-z0-9-]+ -->\n.*?<!-- end -->|```.*?```", re.DOTALL)


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    text = (DOCS / f"{page}.md").read_text("utf-8")
    section = text[text.index(f"\n## {heading}\n") + 1 :].split("\n## ")[0]
    lines = [line.strip().strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in cells] for cells in lines[2:]]


def range_of(cell: str) -> tuple[int, int] | None:
    """The whole numbers of `1 to 50`."""
    found = re.match(r"(\d+) to (\d+)", cell)
    return (int(found[1]), int(found[2])) if found else None


def states(machine: dict[str, object]) -> Iterator[str]:
    """The names of all states of a definition, those inside branches too."""
    for name, state in machine["States"].items():  # type: ignore[attr-defined]
        yield name
        for branch in state.get("Branches", []):
            yield from states(branch)


@pytest.mark.parametrize("machine", ["fine_tuning", "tear_down"])
def test_every_state_is_told_of(machine: str) -> None:
    definition = yaml.safe_load((ROOT / "stacks" / f"{machine}.asl.yaml").read_text("utf-8"))
    page = (DOCS / "architecture.md").read_text("utf-8")
    assert [name for name in states(definition) if f"`{name}`" not in page] == []


def test_no_state_is_told_of_that_does_not_exist() -> None:
    known = {
        name
        for machine in ("fine_tuning", "tear_down")
        for name in states(yaml.safe_load((ROOT / "stacks" / f"{machine}.asl.yaml").read_text("utf-8")))
    }
    page = (DOCS / "architecture.md").read_text("utf-8")
    section = page[page.index("## What does each state do?") : page.index("## What talks to what?")]
    first_cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`([A-Za-z?]+)`", "".join(first_cells))) == known


@pytest.mark.parametrize("page", NAMING_PATHS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    named = _PATH.findall(_GENERATED.sub("", page.read_text("utf-8")))
    # What a command fetches or makes is there only where it was run.
    kept = [path for path in named if not path.startswith(".rehearsal/")]
    inside = [path for path in kept if (ROOT / path.split("/")[0]).is_dir()]
    assert inside, "no path was found on this page: is the pattern still right?"
    assert [path for path in inside if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", NARROW, ids=lambda page: page.name)
def test_prose_is_wrapped(page: Path) -> None:
    prose = _GENERATED.sub("", page.read_text("utf-8")).splitlines()
    assert [line for line in prose if len(line) > 120 and not line.startswith(("|", "<details>"))] == []


def test_the_proof_is_summed_up_as_it_was_printed() -> None:
    """The line that a hurried reader sees instead of the log."""
    printed = (ROOT / "results" / "prove-cap.md").read_text("utf-8")
    (summary,) = re.findall(
        r"<summary>What it printed: (.*? cells, .*?)</summary>", (DOCS / "cap.md").read_text("utf-8")
    )

    def figure(label: str) -> str:
        (found,) = re.findall(rf"^ +{label} {{2,}}(.+?)$", printed, re.MULTILINE)
        return str(found)

    cells, mutations = figure("cells passed"), figure("mutations caught")
    assert summary == (
        f"{cells.replace('/', ' of ')} cells, {figure('months').split(' (')[0]} months with a maximum spend of "
        f"{figure('maximum spend of a month')}, {figure('runs').split()[0]} runs with an outage, 0 leaks, "
        f"{mutations.replace('/', ' of ')} mutations caught"
    )
    assert set(re.findall(r"^ +leaks +(\d+)$", printed, re.MULTILINE)) == {"0"}


def test_the_outages_cost_what_was_printed() -> None:
    printed = (ROOT / "results" / "prove-cap.md").read_text("utf-8")
    costs = {
        service: (figures.split()[2], figures.split()[4])
        for service, figures in re.findall(r"^ +(\S.*) away +((?:\$[0-9.]+ *){5})$", printed, re.MULTILINE)
    }
    assert {row[0]: (row[2], row[3]) for row in rows("cap", "What holds when a service is away?")} == costs


def test_every_setting_is_told_with_its_default() -> None:
    told = {row[0].strip("`"): json.loads(row[1].strip("`")) for row in rows("operating", "Which settings are there?")}
    assert told == json.loads(json.dumps(dataclasses.asdict(Settings())))


def test_a_setting_takes_the_numbers_that_are_told_and_no_others() -> None:
    told = {row[0].strip("`"): range_of(row[2]) for row in rows("operating", "Which settings are there?")}
    ranges = {name: found for name, found in told.items() if found}
    assert len(ranges) == 11
    for name, (low, high) in ranges.items():
        assert Settings.from_context({name: low})
        assert Settings.from_context({name: high})
        for outside in (low - 1, high + 1):
            with pytest.raises(SettingsError):
                Settings.from_context({name: outside})


def test_every_key_of_an_input_is_told_with_an_example_that_is_accepted() -> None:
    told = {row[0].strip("`"): row for row in rows("operating", "What may the input of a run hold?")}
    assert {key.lower() for key in told} == {
        field.name.replace("_", "") for field in dataclasses.fields(request.Request)
    }
    for key, (_, example, meaning) in told.items():
        value = json.loads(example.strip("`"))
        assert key in value
        assert request.parse(value)
        for outside in [limit for low, high in filter(None, [range_of(meaning)]) for limit in (low - 1, high + 1)]:
            with pytest.raises(request.InvalidInput):
                request.parse({key: outside})


def test_every_model_that_can_be_chosen_is_told_with_its_context() -> None:
    told = {
        name: row for row in rows("operating", "How to use another model") for name in re.findall(r"`([^`]+)`", row[0])
    }
    assert set(told) == set(catalog.BASE_MODELS)
    for name, row in told.items():
        assert row[2] == f"{catalog.BASE_MODELS[name].context_tokens:,}"


def test_every_alarm_is_told_with_its_limit() -> None:
    told = {row[0].strip("*"): row[1] for row in rows("operating", "What to do when an alarm goes off")}
    assert set(told) == {alarms.alarm_name(name) for name in alarms.NAMES}
    endpoint_hours = alarms.longest_endpoint_seconds(Settings().endpoint_deadline_minutes) / 3600
    assert f"{endpoint_hours:.1f} hours" in told["captune-endpoint-too-old"]
    assert f"{alarms.LONGEST_RESERVATION_SECONDS / 3600:.1f} hours" in told["captune-reservation-too-old"]


def test_every_planted_fault_is_told() -> None:
    page = (DOCS / "rehearsal.md").read_text("utf-8")
    section = page[page.index("| plant | the fault |") :].split("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z]+)`", section, re.MULTILINE)) == set(PLANTS)


def test_what_can_be_tried_is_an_option() -> None:
    commands = [re.findall(r"`make rehearse (.*?)`", row[1]) for row in rows("rehearsal", "What can be tried?")]
    arguments = [found for (line,) in filter(None, commands) for found in re.findall(r'ARGS="(.*?)"', line)]
    assert len(arguments) >= 6
    for line in arguments:
        assert options.parse(line.split())
    variables = set(re.findall(r"\b([A-Z]+)=", " ".join(line for (line,) in filter(None, commands)))) - {"ARGS"}
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert variables <= set(
        makefile[makefile.index("rehearse $(call given,") :].partition(")")[0].split(",")[1].split()
    )


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("cap", f"{costs.LOOKS_SHARE:.0%} of the cap".replace("%", " %")),
        ("cap", f"and {storms.AFTERWARDS_SECONDS // 60} minutes more"),
        ("operating", f"at least {text_file.MINIMUM_WORDS:,} words"),
        ("operating", f"up to {text_file.MAXIMUM_BYTES // 2**20} MiB | all of it, at once"),
        ("operating", f"up to {large_text.LARGEST_BYTES // 2**30} GiB | read as a stream"),
        ("operating", f"never more than {large_text.MOST_LEARNT_BYTES // 2**20} MiB"),
        ("operating", f"{large_text.MOST_HELD_OUT} documents or passages at most"),
        ("operating", f"Of more than {outside_text.MAXIMUM_WORDS:,} words a part is measured"),
        ("operating", f"at most {prompt_file.MAXIMUM_PROMPTS:,}"),
        ("architecture", f"{prompt_file.MAXIMUM_PROMPTS:,}, with 8 samples each"),
        ("architecture", f"{serving.REQUESTS_AT_ONCE} to each model"),
        (
            "architecture",
            f"{large_text.LARGEST_BYTES // 2**30} GiB of text, of which up to {large_text.MOST_LEARNT_BYTES // 2**20} MiB are learnt",
        ),
        ("architecture", f"{text_file.MAXIMUM_BYTES // 2**20} MiB of records"),
        ("rehearsal", f"{options.DEFAULT_WORDS:,} words in one pass"),
        ("rehearsal", f"{seven_billion.LEAST_MEMORY // 10**9} GB of free memory"),
    ],
)
def test_a_limit_in_prose_is_the_code_s(page: str, words: str) -> None:
    text = " ".join((DOCS / f"{page}.md").read_text("utf-8").split())
    assert " ".join(words.split()) in text


def test_what_a_smoke_run_costs_is_told_with_the_code_s_figures() -> None:
    """What it is expected to, and the most that its training may before hosting fails."""
    settings = Settings()
    price = prices.pinned(settings.region, settings.training_instance_type[0], "Training")
    tokens = plan.SMOKE_STEPS * cards.MOST_SEQUENCES_PER_STEP * settings.sequence_length
    expected = costs_of_runs.expected_run(settings, tokens, estimate.COMPARED_ANSWERS)
    cents = expected.cents(price, price, settings.lora_rank, settings.checkpoint_minutes)
    assert cents is not None
    least = durations.MINIMUM_TRAINING_SECONDS + durations.TRAINING_START_ALLOWANCE_SECONDS
    training = price.cents(least + durations.TRAINING_STOP_ALLOWANCE_SECONDS)
    page = " ".join((DOCS / "limits.md").read_text("utf-8").split())
    assert f"it shows nearly all of it for about {dollars(cents)}," in page
    assert f"at most {dollars(training)} of a smoke run" in page


def test_what_no_reservation_holds_is_told_with_the_code_s_figures() -> None:
    settings = Settings()
    usual = costs_of_runs.allowance_of(settings)
    price = prices.pinned(settings.region, settings.training_instance_type[0], "Training")
    # A job that ends just before the schedule of the tear-down has all of its endpoint still before it.
    until_torn_down = usual.training_seconds + usual.deadline_seconds + durations.UNBILLED_ALLOWANCE_SECONDS
    beyond = until_torn_down - usual.worst.training_seconds
    checkpoints = costs.checkpoint_cents(usual.worst.training_seconds, settings.lora_rank, settings.checkpoint_minutes)
    stored = {name: amount for name, amount, _ in costs.STANDING_ITEMS}
    page = (DOCS / "cap.md").read_text("utf-8")
    section = page[page.index("## What cannot be held") :].split("\n\n## ")[0]
    for words in (
        f"the {durations.TRAINING_START_ALLOWANCE_SECONDS // 60} minutes that are reserved for it",
        f"at most {costs_of_runs.clock_time(beyond)} and {dollars(price.cents(beyond))} in a usual run",
        f"more than the {stored[STORAGE]} GB",
        f"${costs.S3_GB_MONTH} for each GB and month; {dollars(checkpoints)} for the checkpoints of a usual run",
        f"on {dollars(usual.worst.other_cents)} of a usual run and {dollars(costs.standing_cents(settings.cap_cents))} a month",
    ):
        assert words in section


def test_what_dividing_the_weights_among_cards_would_bring_is_told_with_the_code_s_figures() -> None:
    rank, tokens = Settings().lora_rank, Settings().sequence_length
    small, large, several = "ml.g5.2xlarge", "ml.g6e.2xlarge", "ml.g5.12xlarge"
    largest = max(catalog.BASE_MODELS.values(), key=lambda model: model.parameters)
    in_4_bits, in_16_bits = (cards.training_memory(largest.shape, rank, tokens, card(kind)) for kind in (small, large))
    assert (in_4_bits.fits, in_4_bits.quantised) == (in_16_bits.fits, in_16_bits.quantised is False) == (True, True)
    served = cards.serving_bytes(largest.shape, rank, 4096)
    assert card(small).served_bytes < served <= card(large).served_bytes
    # Of Llama 2 70B: 80 layers, 8 heads of keys and values for 64.
    beyond = dataclasses.replace(
        largest.shape, layers=80, hidden=8192, intermediate=28672, heads=64, key_value_heads=8, head_size=128
    )
    learnt = cards.training_memory(beyond, rank, tokens, card(large))
    assert (learnt.fits, learnt.quantised) == (True, True)
    answering = cards.serving_bytes(beyond, rank, 4096)
    assert card("ml.p5en.48xlarge").served_bytes < answering <= card("ml.p6-b200.48xlarge").served_bytes
    assert answering <= cards.cards_in("ml.g6e.12xlarge") * card("ml.g6e.12xlarge").served_bytes
    usual = costs_of_runs.allowance_of(Settings()).worst
    hours = (usual.training_seconds + usual.endpoint_seconds) / 3600
    hourly = {kind: float(prices.pinned("us-east-1", kind, "Training").hourly_usd) for kind in (large, several)}
    page = " ".join((DOCS / "limits.md").read_text("utf-8").split())
    for words in (
        f"`{largest.id}`, is trained in 4 bits with {in_4_bits.needed_bytes / 1e9:.1f} GB of a {card(small).gigabytes} GB card",
        f"in 16 bits with {in_16_bits.needed_bytes / 1e9:.1f} GB of the {card(large).gigabytes} GB card of an `{large}` (${hourly[large]:.2f} an hour)",
        f"served there with {served / 1e9:.1f} GB",
        f"trained in 4 bits with {learnt.needed_bytes / 1e9:.1f} GB",
        f"it takes {answering / 1e9:.1f} GB",
        f"`{several}` with {cards.cards_in(several) * card(several).gigabytes} GB, costs ${hourly[several]:.2f} an hour",
        f"({hours:.1f}) would come to ${hours * hourly[several]:.2f}",
    ):
        assert words in page
    assert hours * hourly[several] > Settings().budget_usd


def card(instance_type: str) -> cards.Card:
    """The card of an instance type that has a known one."""
    found = cards.card_of(instance_type)
    assert found is not None
    return found


def test_a_look_costs_the_six_tenths_and_a_refusal_the_tenth_of_a_cent_that_are_told() -> None:
    """Of a refusal beyond the bound only the states are left: nothing is looked at."""
    cents = {name: float(amount * unit) * 100 for name, amount, unit in costs.LOOK_ITEMS}
    assert sum(cents.values()) == pytest.approx(0.6, abs=0.02)
    assert cents["Step Functions, state transitions"] == pytest.approx(0.1, abs=0.01)
