"""python -m verification.experiments.agreement: how often the patterns judge an answer as a reader did.

`texts/read_answers.jsonl` holds answers that the small model of the rehearsal really gave, before and after training, and
the facts that a reader found in each. The reader saw prompt, answer and the names of the facts, and no pattern. The draws
`first`, `second` and `third` are 200 answers each, at most one of a prompt, drawn by a seed. `hard` are 197 of
the 244 other answers that hold words of their fact or of its name, so that right and near ones are many. The small model did not give the
80 of `written` and `written, unseen`: they were written to be hard, half stating a fact in an odd form and half holding its
words without stating it. The judge's rules were adjusted by the first 40 of them alone.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from captune.account import PROJECT
from common.key_facts import own_answer, readings, stated

READ = Path(__file__).parent / "texts" / "read_answers.jsonl"
PROMPTS = PROJECT / "data" / "medicalprompts.jsonl"


class Verdict(NamedTuple):
    """One fact of one answer: what the reader and the pattern say of it."""

    draw: str
    prompt: str
    fact: str
    answer: str
    read: bool
    judged: bool


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    yield from map(json.loads, path.read_text("utf-8").splitlines())


def verdicts() -> Iterator[Verdict]:
    """Each fact of each answer that was read."""
    facts = {prompt["id"]: prompt.get("facts", []) for prompt in _lines(PROMPTS)}
    for row in _lines(READ):
        texts = readings(own_answer(row["answer"]))
        for fact in facts[row["id"]]:
            judged = bool(stated(re.compile(fact["pattern"], re.IGNORECASE), texts))
            yield Verdict(row["draw"], row["id"], fact["name"], row["answer"], fact["name"] in row["stated"], judged)


def figures(found: Iterable[Verdict]) -> dict[str, tuple[int, int, int, int, int]]:
    """Of each draw: facts, agreements, facts the reader found, and those taken wrongly and refused wrongly."""
    draws: dict[str, list[Verdict]] = {}
    for one in found:
        draws.setdefault(one.draw, []).append(one)
    return {
        draw: (
            len(all_of),
            sum(one.read == one.judged for one in all_of),
            sum(one.read for one in all_of),
            sum(one.judged and not one.read for one in all_of),
            sum(one.read and not one.judged for one in all_of),
        )
        for draw, all_of in draws.items()
    }


def main() -> None:
    """Prints the figures of each draw, and every verdict that differs."""
    found = list(verdicts())
    print("| draw | facts judged | agreement | accepted wrongly | rejected wrongly |\n|---|--:|--:|--:|--:|")
    for draw, (facts, agreed, read, taken, refused) in figures(found).items():
        shares = f"{taken} of {facts - read} | {refused} of {read}"
        print(f"| {draw} | {facts} | {agreed / facts:.1%} | {shares} |")
    for one in found:
        if one.read != one.judged:
            print(
                f"\n{one.draw}, {one.prompt}, {one.fact}: {'taken' if one.judged else 'refused'} wrongly\n  {one.answer!r}"
            )


if __name__ == "__main__":
    main()
