"""`captune benchmark`: the questions of lm-eval's tasks, put to a run's base and fine-tuned model and compared item by item."""

import asyncio
import json
import math
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from starlette.requests import Request
from starlette.responses import Response

from captune import account
from captune.account import PROJECT, Refused
from captune.compare import FINDINGS
from captune.engines import BASE, Engine, Here
from captune.flags import AsJson, Base, Region, Results, RunName, Server
from captune.kept_run import KeptRun, kept, local_path
from captune.proxy import Proxy
from captune.runs import change_words, show
from captune.use import VLLM, answering, opened
from common.contracts import run_folder
from common.storage import Storage
from rehearsal import user_files
from rehearsal.programs import as_typed, python_packages
from rehearsal.sagemaker.vllm import environment
from report.content.figures import points
from report.findings.intervals import MINIMUM_CLUSTERS
from report.findings.recall import clustered_mean
from report.findings.verdict import SIGNIFICANCE, complete, side_of_zero
from report.formatting import format_p, percent, plural

REQUIREMENTS = PROJECT / "requirements" / "benchmark.txt"
DRIVER = Path(__file__).with_name("lm_eval_driver.py")
# lm-eval's own pubmedqa reads its data by a script, which the datasets library no longer runs (lm-evaluation-harness#3645).
PUBMEDQA = {
    "task": "pubmedqa_labeled", "dataset_path": "qiaojin/PubMedQA", "dataset_name": "pqa_labeled", "test_split": "train",
    "output_type": "multiple_choice", "doc_to_choice": ["yes", "no", "maybe"], "doc_to_target": "final_decision",
    "doc_to_text": "Abstract: {{context.contexts | join('\\n')}}\nQuestion: {{question}}\nAnswer:", "metric_list": [{"metric": "acc"}],
}  # fmt: skip
_MMLU = "clinical_knowledge college_biology college_medicine medical_genetics anatomy professional_medicine virology"
MEDICAL = [PUBMEDQA, "medmcqa", *(f"mmlu_{subject}" for subject in _MMLU.split())]
# A line of a file of questions: {"question": "...", "choices": ["...", "..."], "answer": 0, "subject": "..."}; a subject is not needed.
QUESTIONS = {
    "dataset_path": "json", "test_split": "test", "output_type": "multiple_choice", "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_choice": "{{choices}}", "doc_to_target": "answer", "metric_list": [{"metric": "acc"}],
}  # fmt: skip
LOSS_TOLERANCE = 0.02  # nats a token, between the losses of the training job and those of the endpoint
CHECKED_DOCUMENTS = 16
# vLLM's CPU build (0.27.1) ends at the log-probabilities of two prompts at once, where it has an adapter; lm-eval sends eight.
AT_ONCE_VLLM, AT_ONCE = 1, 8
# Assumed for the plan: on a fifth of the items one model alone is right.
EXPECTED_CHANGES, POWER = 0.2, 0.8


class LmEvalFailed(Refused):
    """lm-eval cannot be installed, or ended with an error."""


class Counting(Proxy):
    """The server of `captune use` with at most `at_once` requests at a time; calls `answered` after each."""

    answered: Callable[[], object] = staticmethod(lambda: None)

    def __init__(self, engine: Engine, domain: str, at_once: int) -> None:
        super().__init__(engine, domain, {}, [])
        self._room = asyncio.Semaphore(at_once)

    async def _complete(self, request: Request) -> Response:
        await request.body()  # before its client may be gone
        async with self._room:
            answer = await super()._complete(request)
        self.answered()
        return answer


def lm_eval_python() -> Path:
    """The Python of lm-eval's environment, made at the first call. Raises CannotRun."""
    with Console(stderr=True).status("Looking for lm-eval; the first time it is installed, 0.9 GB"):
        return python_packages("lm-eval", REQUIREMENTS)


def lm_eval(python: Path, log: Path, common: Mapping[str, Any], action: str, **more: Any) -> Any:
    """What captune/lm_eval_driver.py answers, to which no key of AWS is given. Raises LmEvalFailed with the last line of its log."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "OPENAI_"))}
    asked = json.dumps({"action": action, **common, **more}).encode()
    with log.open("wb") as errors:
        done = subprocess.run(
            [python, "-P", DRIVER], input=asked, stdout=subprocess.PIPE, stderr=errors, env=environment, check=False
        )
    if done.returncode:
        last = " ".join(log.read_text("utf-8", "replace").strip().splitlines()[-1:])
        raise LmEvalFailed(f"lm-eval ended: {last} (all of it: {log}). {python.with_name('lm_eval')} ls tasks lists its tasks.")  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def specs_of(tasks: Sequence[str]) -> list[Any]:
    """The tasks as lm-eval takes them. Raises DatasetRejected for a file that cannot be read."""
    found: list[Any] = []
    for task in tasks:
        file = Path(task).resolve()
        if file.suffix in (".yaml", ".jsonl"):
            user_files.checked_size(file)
        if file.suffix == ".jsonl":
            found.append({**QUESTIONS, "task": file.stem, "dataset_kwargs": {"data_files": {"test": str(file)}}})
        else:
            found += MEDICAL if task == "medical" else [str(file) if file.suffix == ".yaml" else task]
    return found


def held_out(trained: str, results: Path, region: str | None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The summary of a run, here or in the bucket, and held-out documents with text, tokens and both losses. Raises Refused."""
    paths = f"{run_folder.REPORT}{run_folder.SUMMARY}", run_folder.HELD_OUT
    if here := kept(trained, results):
        summary, lines = ((here.folder / str(local_path(path))).read_bytes() for path in paths)
    else:
        session = account.session(region)
        storage = Storage(session.client("s3"), account.output(session, "BucketName"))
        summary, lines = (storage.read(run_folder.key(trained, path)) or b"" for path in paths)
    found = json.loads(summary or b"{}")
    texts = {one.get("id"): one.get("text") for one in map(json.loads, lines.splitlines())}
    measured = (found.get("heldout") or {}).get("documents") or []
    documents = [{**one, "text": texts[one["id"]]} for one in measured if texts.get(one["id"])]
    if not documents:
        raise Refused(
            f"{trained} has no held-out text with losses of both models: it was stopped before they were measured, or was trained on records, which are not "
            "scored here. Name a run of running text that ended well."
        )
    return found, documents[:: max(1, len(documents) // CHECKED_DOCUMENTS)][:CHECKED_DOCUMENTS]


def self_check(
    ask: Callable[..., Any], documents: Sequence[Mapping[str, Any]], models: Mapping[str, str], length: int
) -> dict[str, Any]:
    """Losses of held-out documents in training and by the server, for the model of each side, and the time. Raises Refused."""
    sizes = [one["tokens"] for one in documents]
    found: dict[str, Any] = {"documents": len(documents), "tokens": sum(sizes), "seconds": 0.0}
    for side, model in models.items():
        answer = ask("losses", model=model, length=length, texts=[one["text"] for one in documents])
        if (here := [one["tokens"] for one in answer["texts"]]) != sizes:
            raise Refused(
                f"The held-out documents have {sum(here)} tokens here and had {sum(sizes)} in training: the tokenizer is another model's, or puts a second start "
                "token before each text. Name the base model's own: --tokenizer FOLDER"
            )
        served = sum(one["nats"] for one in answer["texts"]) / sum(sizes)
        trained = sum(size * one[f"{side}_loss"] for size, one in zip(sizes, documents, strict=True)) / sum(sizes)
        if not abs(served - trained) <= LOSS_TOLERANCE:
            raise Refused(
                f"The model {model} has a loss of {served:.3f} nats per token on {len(documents)} held-out documents, and had {trained:.3f} in training: it reads a "
                "second start token before each text, or another adapter answers, or one of another scale. Serve the run again: captune serve RUN"
            )
        found |= {side: {"served": served, "trained": trained}, "seconds": found["seconds"] + answer["seconds"]}
    return found


def mcnemar(one: int, other: int) -> float:
    """Two-sided exact p that items which only one of two models answers rightly fall to either alike."""
    tail = sum(math.comb(one + other, place) for place in range(min(one, other) + 1))
    return min(1.0, 2 * tail / (1 << one + other))


def smallest_difference(items: int) -> float | None:
    """The smallest difference between two accuracies that McNemar's test finds four times in five; None where it finds none."""
    beyond, power = (NormalDist().inv_cdf(share) for share in (1 - SIGNIFICANCE / 2, POWER))
    room = max(0.0, items + power**2 - beyond**2)
    least = math.sqrt(EXPECTED_CHANGES) * (beyond * math.sqrt(items) + power * math.sqrt(room)) / (items + power**2)
    return least if room and least <= EXPECTED_CHANGES else None


def paired(base: Sequence[Mapping[str, Any]], tuned: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each item with both models' scores. Raises Refused."""
    keys = [[(row["task"], row["item"], row["hash"]) for row in rows] for rows in (base, tuned)]
    if keys[0] != keys[1]:
        raise Refused("The two models were asked different items: a data set changed in between. Start again.")
    if other := [row for row in (*base, *tuned) if row["score"] not in (0, 1)]:
        task, measure = other[0]["task"], other[0]["measure"]
        raise Refused(f"{task} calls no answer right or wrong, but measures {measure}. Leave it out.")
    return [{**one, "base": one["score"], "tuned": other["score"]} for one, other in zip(base, tuned, strict=True)]


def judged(items: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Tuned less base over some items. The interval resamples whole subjects, or items where there are fewer than five subjects."""
    subjects, change = [item["subject"] for item in items], [item["tuned"] - item["base"] for item in items]
    names = [subject or f"item {place}" for place, subject in enumerate(subjects)]
    by_subject = len(set(names)) >= MINIMUM_CLUSTERS and any(subjects)
    found = clustered_mean(change, names if by_subject else [str(place) for place in range(len(items))], seed=seed)
    only_base, only_tuned = change.count(-1), change.count(1)
    block = {"difference": found["mean"], "p_value": mcnemar(only_base, only_tuned)}
    whole = complete(block)
    return {
        **{side: sum(item[side] for item in items) / len(items) for side in ("base", "tuned")}, **block, "items": len(items),
        "only_base": only_base, "only_tuned": only_tuned, "clusters": found["clusters"], "by": "subject" if by_subject else "item",
        "finding": FINDINGS[side_of_zero(whole, block["p_value"])] if whole else "too few to judge",
    }  # fmt: skip


def plan_of(count: Mapping[str, Any], check: Mapping[str, Any], letters: int, state: Mapping[str, Any], hourly: float) -> dict[str, Any]:  # fmt: skip
    """What can be found and what it takes, for both models together; `letters` are those of the documents of the self-check."""
    items, requests, left = len(count["items"]), 2 * count["requests"], state["minutes_left"]
    missing = requests - sum(count["kept"].values())
    hours = missing / max(1, requests) * count["characters"] / letters * check["seconds"] / 3600
    return {
        "items": items, "smallest_difference": smallest_difference(items), "requests": requests, "missing": missing, "minutes": math.ceil(60 * hours),
        "endpoint_usd": 0.0 if left is None else hours * hourly, "endpoint_minutes_left": left,
    }  # fmt: skip


def plan_words(plan: Mapping[str, Any], run: str) -> str:
    """The plan in sentences."""
    least, left, minutes = (plan[key] for key in ("smallest_difference", "endpoint_minutes_left", "minutes"))
    words = f"{plural(plan['items'], 'item')}, {plan['missing']:,} of {plan['requests']:,} requests still to answer: about {minutes} min."
    if left is not None:
        words += f" That is ${plan['endpoint_usd']:.2f} of the {left} min that the endpoint stays, all of it reserved."
        if minutes > left:
            words += f" It ends before the last answer, unless: captune extend {run} --minutes {minutes - left + 5}"
    found = "no difference" if least is None else f"a difference of {100 * least:.1f} points or more"
    share = percent(EXPECTED_CHANGES)
    return f"{words}\nFour times in five McNemar's test finds {found}, if one model alone is right on {share} of the items."


@dataclass(frozen=True)
class Asked:
    """What is to be compared, and how."""

    tasks: list[str]
    python: Path  # of lm-eval
    results: Path = Path("results")
    tokenizer: Path | None = None
    limit: int | None = None
    shots: int | None = None
    server: str = "transformers"
    region: str | None = None
    quiet: bool = False


def benchmark(engine: Engine, run: KeptRun, given: Asked) -> dict[str, Any]:
    """What `--json` prints. Raises an error with its fix."""
    tokenizer = given.tokenizer or (Path(engine.folder.name) / "model" if isinstance(engine, Here) else None)
    if tokenizer is None or not Path(tokenizer).is_dir():
        raise Refused(
            f"lm-eval needs the tokenizer of {run.plan['baseModel']['name']}. Name a folder with its tokenizer.json or tokenizer.model, and its "
            "tokenizer_config.json: --tokenizer FOLDER"
        )
    trained = run_folder.run_of_uri(str(run.plan.get("adapterUri") or "")) or run.name
    summary, documents = held_out(trained, given.results, given.region)
    folder, models = given.results / trained / "benchmark", {"base": BASE, "tuned": run.domain}
    folder.mkdir(parents=True, exist_ok=True)
    caches = {side: str((folder / side).resolve()) for side in models}
    proxy = Counting(engine, run.domain, AT_ONCE_VLLM if given.server == VLLM else AT_ONCE)
    with answering(proxy) as port, Progress(console=Console(stderr=True), disable=given.quiet) as progress:
        common = {
            "url": f"http://127.0.0.1:{port}/v1/completions", "tokenizer": str(Path(tokenizer).resolve()),
            "longest": run.plan["hosting"]["maxModelTokens"], "tasks": specs_of(given.tasks), "limit": given.limit, "shots": given.shots,
        }  # fmt: skip
        ask = partial(lm_eval, given.python, folder / "lm-eval.log", common)
        bar = progress.add_task("Reading the tasks", total=None)
        count = ask("count", caches=caches)
        paired(count["items"], count["items"])
        progress.update(bar, description="Scoring held-out documents")
        check = self_check(ask, documents, models, summary["configuration"]["settings"]["sequence_length"])
        letters = sum(len(one["text"]) for one in documents)
        plan = plan_of(count, check, letters, engine.state(), float(run.plan["budget"]["hostingHourlyUsd"]))
        progress.console.print(as_typed(plan_words(plan, run.name)), highlight=False, soft_wrap=True)
        progress.update(bar, description="Asking both models", total=plan["missing"])
        proxy.answered = partial(progress.advance, bar)
        try:
            scores = [ask("scores", model=models[side], cache=caches[side]) for side in models]
        except LmEvalFailed as error:
            if engine.state()["running"]:
                raise
            next_one = "" if isinstance(engine, Here) else f" with the name that captune serve {trained} prints"
            raise Refused(
                f"{run.name} ended before the last answer; what was answered is kept in {folder}. Run this command again{next_one}."
            ) from error
    items, seed = paired(*scores), int(summary.get("analysis_seed") or 0)
    names = dict.fromkeys(item["task"] for item in items)
    by_task = {name: judged([item for item in items if item["task"] == name], seed) for name in names}
    found = {"run": trained, "self_check": check, "plan": plan, "all": judged(items, seed), "tasks": by_task}
    file = folder / f"{'+'.join(Path(task).stem for task in given.tasks)}.json"
    file.write_text(json.dumps({**found, "answered": items}, indent=1), "utf-8")
    return {**found, "file": str(file)}


def print_comparison(found: Mapping[str, Any]) -> None:
    """Prints the comparison."""
    every = found["tasks"] if len(found["tasks"]) == 1 else {**found["tasks"], "all": found["all"]}
    rows = [
        (
            name, str(one["items"]), percent(one["base"]), percent(one["tuned"]), change_words(points(one["difference"])), str(one["only_base"]),
            str(one["only_tuned"]), format_p(one["p_value"]), one["finding"],
        )
        for name, one in every.items()
    ]  # fmt: skip
    head = ("Task", "Items", "Base", "Tuned", "Difference in points (95%)", "Base alone", "Tuned alone", "McNemar", "Finding")  # fmt: skip
    show(f"Right answers of {found['run']}", head, rows)
    for side in ("base", "tuned"):
        served, trained = (found["self_check"][side][key] for key in ("served", "trained"))
        print(f"Self-check, {side}: {served:.3f} nats per token here, {trained:.3f} in training.")
    print(f"The interval resamples whole {found['all']['by']}s. Of twenty tasks without a difference, about one shows it by chance. Each item: {found['file']}")  # fmt: skip


def command(
    run: RunName,
    tasks: Annotated[list[str], typer.Argument(metavar="TASK", help="A task of lm-eval, a file, or `medical`.", show_default=False)],
    limit: Annotated[int | None, typer.Option(metavar="N", help="Ask only the first N items of each task.")] = None,
    shots: Annotated[int | None, typer.Option(metavar="N", help="Put N examples before each question (default: the task's number).")] = None,
    tokenizer: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Use this tokenizer of the base model, for a deployed run.")] = None,
    server: Server = "transformers",
    base: Base = None,
    results: Results = Path("results"),
    as_json: AsJson = False,
    region: Region = None,
) -> None:  # fmt: skip
    """Asks, compares and prints. Raises an error with its fix.

    A TASK is one of lm-eval's own, a task file (.yaml), a file of questions (.jsonl), or `medical`, which stands for nine medical sets.
    Data of named tasks come from the Hugging Face Hub, over your network; a local file needs no network.

    First the held-out documents must have the losses that the training job measured. Answers are kept in results/RUN/benchmark/: if an
    endpoint ends before the last one, run the same command with the next endpoint to continue.
    """
    specs_of(tasks)
    if server == VLLM:
        environment.interpreter()  # before lm-eval is installed
    with opened(run, results, base, server, region) as (engine, found, _):
        python = lm_eval_python()  # installing it takes minutes, which a wrong name of a run need not wait for
        asked = Asked(tasks, python, results, tokenizer, limit, shots, server, region, as_json)
        comparison = benchmark(engine, found, asked)
    if as_json:
        print(json.dumps(comparison, indent=2))
    else:
        print_comparison(comparison)
