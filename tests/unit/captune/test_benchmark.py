"""`captune benchmark`: with what it measures, what it refuses, and what is kept where an endpoint ends."""

import json
import math
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from tokenizers import processors

from captune import benchmark
from captune.account import PROJECT, Refused
from captune.benchmark import LmEvalFailed, mcnemar
from captune.engines import Pieces
from captune.kept_run import KeptRun
from common.errors import DatasetRejected
from rehearsal.sagemaker.vllm import environment as vllm_environment
from report.findings.recall import clustered_mean
from tests.doubles import PATIENCE_SECONDS
from tests.doubles.rehearsal.toy_models import prose, sentence_pieces
from tests.doubles.run_bucket import PLAN, RUN
from tests.doubles.use_site import DOMAIN, FakeEngine, RunningServer

LM_EVAL = PROJECT / ".rehearsal" / "lm-eval" / "bin" / "python"
NOT_INSTALLED = "captune benchmark with lm-eval: not installed; captune benchmark installs it"
MODELS = {"base": "base", "tuned": DOMAIN}


def item(place: int, base: float = 0, tuned: float = 0, subject: str = "", **more: Any) -> dict[str, Any]:
    found = {"task": "t", "item": place, "hash": "h", "subject": subject, "measure": "acc"}
    return {**found, "base": base, "tuned": tuned, **more}


@pytest.mark.parametrize(("one", "other"), [(1, 0), (0, 6), (3, 9), (9, 3), (20, 20), (100, 140), (600, 480)])
def test_mcnemar_is_the_exact_test_of_scipy(one: int, other: int) -> None:
    assert mcnemar(one, other) == pytest.approx(stats.binomtest(one, one + other).pvalue)
    assert mcnemar(0, 0) == 1


def test_too_few_items_show_no_difference_that_is_expected() -> None:
    assert benchmark.smallest_difference(30) is None


@pytest.mark.parametrize(("subjects", "by"), [(8, "subject"), (4, "item"), (0, "item")])
def test_the_interval_is_the_reports_own_over_subjects_where_there_are_five(subjects: int, by: str) -> None:
    items = [item(n, n % 2, n % 5 > 0, f"s{n % subjects}" if subjects else "") for n in range(40)]
    found = benchmark.judged(items, 7)
    groups = [one["subject"] if by == "subject" else str(one["item"]) for one in items]
    expected = clustered_mean([one["tuned"] - one["base"] for one in items], groups, seed=7)
    assert (found["difference"], found["clusters"], found["by"]) == (expected["mean"], len(set(groups)), by)
    assert (found["base"], found["tuned"], found["only_base"], found["only_tuned"]) == (0.5, 0.8, 4, 16)
    assert found["p_value"] == mcnemar(4, 16)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [({"score": 0}, ""), ({"score": 0, "hash": "other"}, "different items"), ({"score": 0.5}, "right or wrong, but measures acc")],
)  # fmt: skip
def test_only_items_that_both_models_got_right_or_wrong_are_paired(changed: dict[str, Any], problem: str) -> None:
    rows = [item(1, score=1.0)], [item(1, **changed)]
    if problem:
        with pytest.raises(Refused, match=problem):
            benchmark.paired(*rows)
    else:
        assert [(one["base"], one["tuned"]) for one in benchmark.paired(*rows)] == [(1, 0)]


def test_medical_names_nine_sets_and_a_file_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").touch()
    *medical, own = benchmark.specs_of(["medical", str(tmp_path / "mine.jsonl")])
    assert len(medical) == 9 and "mmlu_virology" in medical and own["task"] == "mine"
    with pytest.raises(DatasetRejected, match="There is no file"):
        benchmark.command("run", [str(tmp_path / "none.yaml")])


def test_lm_eval_gets_no_key_and_its_last_word_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = tmp_path / "driver.py"
    monkeypatch.setattr(benchmark, "DRIVER", driver)
    for name in ("AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "secret")
    ask = partial(benchmark.lm_eval, Path(sys.executable), tmp_path / "log", {"limit": 3})
    answers = "print(json.dumps([json.load(sys.stdin), 'secret' in os.environ.values()]))"
    driver.write_text(f"import json, os, sys\nprint('noise')\n{answers}")
    assert ask("count", shots=1) == [{"action": "count", "limit": 3, "shots": 1}, False]
    driver.write_text("raise KeyError('mmlu_heart is not a task')")
    with pytest.raises(LmEvalFailed, match=r"mmlu_heart is not a task.*/log\).* ls tasks"):
        ask("count")


class Case:
    """A kept run with forty held-out documents, and an lm-eval of forty items: base knows half of them, tuned all."""

    def __init__(self, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.results, self.folder, self.engine = results, results / RUN, FakeEngine()
        self.plan = {**PLAN, "baseModel": {"name": "Llama"}}
        self.asked: list[dict[str, Any]] = []
        self.more, self.tokens = dict.fromkeys(MODELS.values(), 0.0), 10  # nats per token more than in training
        self.folder.mkdir()
        texts = [{"id": str(place), "text": "a" * 40} for place in range(40)]
        (self.folder / "plan.json").write_text(json.dumps(self.plan))
        (self.folder / "heldout.jsonl").write_text("\n".join(map(json.dumps, texts)))
        self.measured([{"id": one["id"], "tokens": 10, "base_loss": 3.0, "tuned_loss": 2.5} for one in texts])
        monkeypatch.setattr(benchmark, "lm_eval_python", lambda: Path(sys.executable))
        monkeypatch.setattr(benchmark, "lm_eval", self.lm_eval)
        monkeypatch.setattr(benchmark, "opened", self.opened)

    def measured(self, documents: list[dict[str, Any]]) -> None:
        summary = {"heldout": {"documents": documents}, "configuration": {"settings": {"sequence_length": 512}}}
        (self.folder / "summary.json").write_text(json.dumps(summary))

    @contextmanager
    def opened(self, *given: Any) -> Iterator[Any]:
        self.server = given[3]
        yield self.engine, KeptRun(self.folder, self.plan), []

    def lm_eval(self, python: Path, log: Path, common: Any, action: str, model: str = "", **more: Any) -> Any:
        self.asked.append({"action": action, **more})
        rows = [item(n, score=float(model == DOMAIN or n % 2 == 0)) for n in range(40)]
        if action == "losses":
            nats = 10 * (2.5 if model == DOMAIN else 3.0) + 10 * self.more[model]
            return {"texts": [{"tokens": self.tokens, "nats": nats}] * len(more["texts"]), "seconds": 6.0}
        if action == "scores" and self.engine.ended:
            raise LmEvalFailed("410")
        kept = {"base": 160, "tuned": 0}
        return rows if action == "scores" else {"items": rows, "requests": 160, "characters": 64_000, "kept": kept}

    def run(self, **more: Any) -> None:
        benchmark.command(RUN, ["task"], **{"results": self.results, "tokenizer": self.results, **more})


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(tmp_path, monkeypatch)


def test_both_models_are_compared_and_the_plan_comes_first(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    case.run()
    said = capsys.readouterr()
    # 160 requests are left, with 100 times the letters of 16 documents, which took 6 s: 10 minutes of $1.515 an hour.
    assert "160 of 320 requests still to answer: about 10 min. That is $0.25 of the 7 min" in said.err
    assert f"captune extend {RUN} --minutes 8" in said.err and "19.2 points or more" in said.err
    assert "higher" in said.out and "2.500 nats per token here, 2.500 in training" in said.out
    assert [one["action"] for one in case.asked] == ["count", "losses", "losses", "scores", "scores"]
    case.run(as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["all"]["p_value"], found["all"]["only_tuned"]) == (mcnemar(0, 20), 20)
    assert len(json.loads(Path(found["file"]).read_text("utf-8"))["answered"]) == 40


def test_vllm_is_looked_for_first_and_only_where_it_is_wanted(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise vllm_environment.CannotRun("run captune vllm")

    monkeypatch.setattr(vllm_environment, "interpreter", missing)
    case.run(as_json=True)
    assert case.server == "transformers"
    monkeypatch.setattr(benchmark, "lm_eval_python", pytest.fail)
    with pytest.raises(vllm_environment.CannotRun, match="run captune vllm"):
        case.run(server="vllm")


def test_a_served_run_keeps_its_answers_with_the_run_that_trained_it(case: Case) -> None:
    case.plan |= {"runName": "captune-served", "adapterUri": f"s3://bucket/runs/{RUN}/training/job/output/model/"}
    case.run(as_json=True)
    assert case.asked[-1]["cache"] == str(case.folder / "benchmark" / "tuned")
    case.engine.ended = True
    with pytest.raises(Refused, match=f"kept in .* again with the name that captune serve {RUN} prints"):
        case.run()


@pytest.mark.parametrize("model", MODELS.values())
@pytest.mark.parametrize(("nats", "passes"), [(0.019, True), (-0.019, True), (0.021, False), (-0.021, False), (math.nan, False)])  # fmt: skip
def test_nothing_is_asked_where_losses_are_others(case: Case, model: str, nats: float, passes: bool) -> None:
    case.more[model] = nats
    if passes:
        case.run(as_json=True)
    else:
        with pytest.raises(Refused, match=f"The model {model} has .* another adapter answers"):
            case.run()
        assert "scores" not in [one["action"] for one in case.asked]


def test_nothing_is_asked_where_the_self_check_cannot_be_made(case: Case) -> None:
    case.tokens = 11
    with pytest.raises(Refused, match="176 tokens here and had 160 in training.*--tokenizer FOLDER"):
        case.run()
    case.measured([])
    with pytest.raises(Refused, match="stopped before they were measured"):
        case.run()
    with pytest.raises(Refused, match="tokenizer of Llama"):
        case.run(tokenizer=case.results / "nowhere")
    assert "scores" not in [one["action"] for one in case.asked]


@pytest.mark.parametrize("at_once", [benchmark.AT_ONCE_VLLM, 3])
def test_no_more_requests_at_once_than_an_engine_survives(at_once: int) -> None:
    now, most, together = 0, 0, threading.Barrier(at_once, timeout=PATIENCE_SECONDS)

    class Slow(FakeEngine):
        def ask(self, path: str, body: bytes, stream: bool, left: threading.Event) -> Pieces:
            nonlocal now, most
            now, most = now + 1, max(most, now + 1)
            together.wait()
            now -= 1
            return super().ask(path, body, stream, left)

    proxy, count = benchmark.Counting(Slow(), DOMAIN, at_once), 3 * at_once
    with benchmark.answering(proxy) as port, ThreadPoolExecutor(8) as pool:
        asked = {"model": DOMAIN, "prompt": "A gene is"}
        found = list(pool.map(lambda _: RunningServer(None, port).call("/v1/completions", asked)[0], range(count)))
    assert (found, most) == ([200] * count, at_once)


class Model(FakeEngine):
    """Scores token ids as a language model does; puts `starts` more start tokens before each prompt."""

    starts = 0

    def _pieces(self, path: str, asked: dict[str, Any], stream: bool) -> Pieces:
        tokens = [1] * self.starts + asked["prompt"][0]
        likely = [likelihood(asked["model"], *pair) for pair in zip(tokens, [*tokens[1:], 0], strict=True)]
        told = {"token_logprobs": [None, *likely], "top_logprobs": [None, *({"x": one} for one in likely)]}
        yield json.dumps({"model": asked["model"], "choices": [{"index": 0, "logprobs": told}]}).encode()


def likelihood(model: str, before: int, token: int) -> float:
    return -1 - (7 * before + token) % 5 + 0.25 * (model == DOMAIN) - (9 if token == before == 1 else 0)


@pytest.mark.thorough
@pytest.mark.skipif(not LM_EVAL.exists(), reason=NOT_INSTALLED)
@pytest.mark.parametrize(("doubled", "refused"), [("", ""), ("server", "second start token"), ("tokenizer", "--tokenizer FOLDER")])  # fmt: skip
def test_lm_eval_asks_through_the_server_without_a_doubled_start(tmp_path: Path, doubled: str, refused: str) -> None:
    tokenizer, length, engine = sentence_pieces(), 16, Model()
    documents: list[dict[str, Any]] = []
    for text in (prose(number, 20 + number) for number in range(10)):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        pairs = [(ids[place - 1] if place % length else 1, token) for place, token in enumerate(ids)]
        loss = {f"{side}_loss": -sum(likelihood(model, *pair) for pair in pairs) / len(ids) for side, model in MODELS.items()}  # fmt: skip
        documents.append({"text": text, "tokens": len(ids), **loss})
    engine.starts = doubled == "server"
    if doubled == "tokenizer":
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing("<s> <s> $A", None, [("<s>", 1)])
    tokenizer.save_pretrained(tmp_path)
    question = {"question": "Which?", "choices": ["the gene", "the cell of the gene"], "answer": 0}
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps({**question, "subject": f"s{n % 6}"}) + "\n" for n in range(40)))  # fmt: skip
    common = {"tokenizer": str(tmp_path), "longest": 64, "tasks": benchmark.specs_of([str(tmp_path / "mine.jsonl")])}
    with benchmark.answering(benchmark.Counting(engine, DOMAIN, 2)) as port:
        url = f"http://127.0.0.1:{port}/v1/completions"
        ask = partial(benchmark.lm_eval, LM_EVAL, tmp_path / "log", {**common, "url": url, "limit": None, "shots": None})  # fmt: skip
        if refused:
            with pytest.raises(Refused, match=refused):
                benchmark.self_check(ask, documents, MODELS, length)
            return
        assert benchmark.self_check(ask, documents, MODELS, length)["documents"] == 10
        rows = ask("scores", model=DOMAIN, cache=str(tmp_path / "tuned"))
        assert ask("count", caches={"tuned": str(tmp_path / "tuned")})["kept"] == {"tuned": 80}
    expected = {"task": "mine", "item": 39, "subject": "s3", "measure": "acc", "score": 1.0}
    assert len(rows) == 40 and rows[-1] == {**expected, "hash": rows[-1]["hash"]}
