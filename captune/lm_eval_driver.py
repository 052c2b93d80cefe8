"""What `captune benchmark` runs in lm-eval's own environment: it reads a request as JSON, and the last line that it prints is the answer.

python -P captune/lm_eval_driver.py < request.json
"""

import json
import sys
import time
from typing import Any

from lm_eval.api.model import hash_args
from lm_eval.evaluator import simple_evaluate
from lm_eval.models.dummy import DummyLM
from lm_eval.models.openai_completions import LocalCompletionsAPI
from sqlitedict import SqliteDict

AT_ONCE = 8  # requests; captune/benchmark.py lets fewer through to some engines


class Nobody(DummyLM):
    """Answers by chance."""

    tokenizer = None  # its parent's would be fetched


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


def answered(model: Any, asked: dict[str, Any], cache: str | None = None) -> list[dict[str, Any]]:
    """What a model answers to each item of the tasks. Of a task's filters only the first one counts."""
    tasks, limit, shots = (asked[key] for key in ("tasks", "limit", "shots"))
    found = simple_evaluate(
        model=model, tasks=tasks, limit=limit, num_fewshot=shots, use_cache=cache, bootstrap_iters=0
    )
    of_tasks = found["samples"].items()
    return [{**one, "task": task} for task, all_ in of_tasks for one in all_ if one["filter"] == all_[0]["filter"]]


def scores(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each item with its score: the accuracy where there is one, else the task's first measure."""
    rows = []
    for one in samples:
        measure = "acc" if "acc" in one["metrics"] else one["metrics"][0]
        subject = one["doc"].get("subject") or one["doc"].get("subject_name") or ""
        row = {"task": one["task"], "item": one["doc_id"], "hash": one["doc_hash"], "subject": str(subject)}
        rows.append({**row, "measure": measure, "score": float(one[measure])})
    return rows


def count(asked: dict[str, Any]) -> dict[str, Any]:
    """The items of the tasks with scores by chance, their requests, and how many of these each side's cache answers."""
    samples = answered(Nobody(), asked)
    requests = [arguments for one in samples for arguments in one["arguments"]]
    hashes = [hash_args("generate_until" if isinstance(one[-1], dict) else "loglikelihood", one) for one in requests]
    caches = {side: SqliteDict(f"{cache}_rank0.db") for side, cache in asked["caches"].items()}
    kept = {side: sum(one in cache for one in hashes) for side, cache in caches.items()}
    characters = sum(len("".join(map(str, one))) for one in requests)
    return {"items": scores(samples), "requests": len(requests), "characters": characters, "kept": kept}


def answer(asked: dict[str, Any]) -> Any:
    """By `action`: the losses of some texts, the scores of a model, or the items and requests of the tasks."""
    if asked["action"] == "scores":
        return scores(answered(model_of(asked), asked, asked["cache"]))
    return {"losses": losses, "count": count}[asked["action"]](asked)


if __name__ == "__main__":
    print(json.dumps(answer(json.load(sys.stdin))))
