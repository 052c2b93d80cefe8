"""What `captune benchmark` runs in lm-eval's own environment: it reads a request as JSON, and the last line that it prints is the answer.

python -P captune/lm_eval_driver.py < request.json
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from lm_eval.api.model import LM, hash_args
from lm_eval.evaluator import simple_evaluate
from lm_eval.models.openai_completions import LocalCompletionsAPI
from sqlitedict import SqliteDict

AT_ONCE = 8  # requests; an endpoint answers 16 at a time


class Counter(LM):
    """Answers nothing. Counts the requests of tasks, and how many of them each model has answered before (`kept`)."""

    def __init__(self, caches: dict[str, str]) -> None:
        super().__init__()
        self._answers = {side: SqliteDict(f"{cache}_rank0.db") for side, cache in caches.items()}
        self.found: dict[str, Any] = {"requests": 0, "characters": 0, "kept": dict.fromkeys(caches, 0)}

    def _count(self, kind: str, requests: list[Any]) -> int:
        self.found["requests"] += len(requests)
        self.found["characters"] += sum(len("".join(map(str, one.args))) for one in requests)
        for side, answers in self._answers.items():
            self.found["kept"][side] += sum(hash_args(kind, one.args) in answers for one in requests)
        return len(requests)

    def loglikelihood(self, requests: list[Any], *_: Any) -> list[tuple[float, bool]]:
        """All continuations are alike."""
        return [(0.0, False)] * self._count("loglikelihood", requests)

    def loglikelihood_rolling(self, requests: list[Any], *_: Any) -> list[float]:
        """All texts are alike."""
        return [0.0] * self._count("loglikelihood_rolling", requests)

    def generate_until(self, requests: list[Any], *_: Any) -> list[str]:
        """Each text is empty."""
        return [""] * self._count("generate_until", requests)


def model_of(asked: dict[str, Any]) -> LocalCompletionsAPI:
    """A model behind the server of `captune use`. Prompts begin with what the tokenizer puts before a text by itself."""
    return LocalCompletionsAPI(
        base_url=asked["url"], model=asked["model"], tokenizer_backend="huggingface", tokenizer=asked["tokenizer"], add_bos_token=True,
        max_length=asked["longest"], num_concurrent=AT_ONCE,
    )  # fmt: skip


def losses(asked: dict[str, Any]) -> dict[str, Any]:
    """Tokens and summed negative log-likelihood of each text: as in training, in windows that each follow the start token."""
    model, length = model_of(asked), asked["length"]
    start, requests, texts = model.prefix_token_id, [], []
    for place, text in enumerate(asked["texts"]):
        tokens = model.tok_encode(text)
        tokens = tokens[1:] if tokens[:1] == [start] else tokens
        texts.append({"tokens": len(tokens), "nats": 0.0})
        requests += [(place, [start], tokens[begin : begin + length]) for begin in range(0, len(tokens), length)]
    begun = time.monotonic()
    for (likelihood, _), (place, *_) in zip(model._loglikelihood_tokens(requests), requests, strict=True):
        texts[place]["nats"] -= likelihood
    return {"texts": texts, "seconds": time.monotonic() - begun}


def scores(model: Any, asked: dict[str, Any], cache: str | None) -> list[dict[str, Any]]:
    """Each item of the tasks with its score: the accuracy where there is one, else the task's first measure."""
    tasks, limit, shots = (asked[key] for key in ("tasks", "limit", "shots"))
    found = simple_evaluate(
        model=model, tasks=tasks, limit=limit, num_fewshot=shots, use_cache=cache, bootstrap_iters=0
    )
    rows = []
    for task, samples in found["samples"].items():
        for one in (sample for sample in samples if sample["filter"] == samples[0]["filter"]):
            measure = "acc" if "acc" in one["metrics"] else one["metrics"][0]
            subject = one["doc"].get("subject") or one["doc"].get("subject_name") or ""
            row = {"task": task, "item": one["doc_id"], "hash": one["doc_hash"], "subject": str(subject)}
            rows.append({**row, "measure": measure, "score": float(one[measure])})
    return rows


def answer(asked: dict[str, Any]) -> Any:
    """By `action`: the losses of some texts, the scores of a model, or the items and requests of the tasks."""
    if asked["action"] == "losses":
        return losses(asked)
    if asked["action"] == "scores":
        return scores(model_of(asked), asked, asked["cache"])
    counter = Counter(asked["caches"])
    return {"items": scores(counter, asked, None), **counter.found}


if __name__ == "__main__":
    print(json.dumps(answer(json.load(sys.stdin))))
