"""`captune dev mutate`: changes both state machines, one change at a time, and lists the changes that no test notices."""

import gc
import operator
import os
import re
import signal
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import pytest
import typer
from _pytest.runner import runtestprotocol

from captune.flags import Out
from rehearsal.programs import PROJECT
from stacks import definitions as sources

MACHINES = [Path(sources.__file__).with_name(f"{name}.asl.yaml") for name in ("fine_tuning", "tear_down")]
SURVIVORS = Path(__file__).with_name("mutation_survivors.toml")
# What judges a change: the tests of both machines and the table of failures. They read a machine by
# stacks.definitions.load_definition. The snapshot of the templates is left out: it notices every change and says nothing about what it
# breaks.
TESTS = [str(PROJECT / "tests" / one) for one in ("stacks/machines", "scenarios/test_rows.py")] + [
    "-k",
    "not at_synthesis",
]
NOT_NOTICED = "NOT NOTICED"
Change = tuple[str, Callable[[], None]]  # its name, and what makes it in the definition that it is of

# Step Functions refuses to deploy a machine without these, so that a missing one reaches no account.
_REQUIRED = {
    "Type", "Resource", "StartAt", "States", "Next", "Default", "Choices", "Condition", "ErrorEquals", "Seconds", "Branches",
    "Arguments", "Comment",
}  # fmt: skip
# What a request or an output holds is not left out.
_WHOLE = {"Arguments", "Output"}
# A message.
_TOLD = {"Cause", "Message", "Subject"}
_WILDCARDS = {"States.ALL": "States.TaskFailed", "States.TaskFailed": "States.ALL"}
# The words of a JSONata expression, and what could stand there by mistake.
_WORD = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<regex>(?<=,\ )/(?:[^/\\]|\\.)+/i?)
    |(?P<number>-?\d+)
    |(?P<other>\$?[A-Za-z]\w*|<=|>=|!=|:=|[<>=?:+\-*/%&(){}\[\],;.]|\s+)""",
    re.VERBOSE,
)
_OTHER_WORDS = {
    "=": ["!="], "!=": ["="], "<": ["<=", ">"], "<=": ["<"], ">": [">=", "<"], ">=": [">"], "+": ["-"], "-": ["+"],
    "*": ["+"], "/": ["*"], "%": ["+"], "and": ["or"], "or": ["and"], "true": ["false"], "false": ["true"],
    "?": ["or true ?", "and false ?"], "$exists": ["false = $exists"], "$contains": ["false = $contains"],
}  # fmt: skip


class Walk:
    """Goes through a definition, and knows its names: one of them may stand by mistake where another one should."""

    def __init__(self, definition: dict[str, Any]) -> None:
        text = sources.as_text(definition)
        self._placeholders = sorted(set(re.findall(r'"(\$\{\w+\})"', text)))
        self._resources = sorted(set(re.findall(r'"Resource":"([^"]+)"', text)))
        self._visited = set[int]()  # an anchor of the file is one place, however often it is referred to

    def changes(
        self, node: Any, path: str, states: dict[str, Any], state: str = "", whole: bool = False
    ) -> Iterator[Change]:
        """Every change below a node. `state` is the one around the node, `states` are those beside it; of what is `whole` nothing is dropped."""
        if not isinstance(node, dict | list) or id(node) in self._visited:
            return
        self._visited.add(id(node))
        is_list, holder = isinstance(node, list), cast(Any, node)
        for key, value in list(enumerate(node) if is_list else holder.items()):
            here = path if key == "States" else f"{path}[{key}]" if is_list else f"{path}.{key}".replace(" .", " ")
            around = key if node is states else state
            may_go = len(node) > 1 if is_list else key not in _REQUIRED | _WHOLE | _TOLD and node is not states
            if may_go and not whole:
                yield f"{here} dropped", partial(operator.delitem, holder, key)
            if is_list and key and _could_come_first(value):
                swapped = [value, holder[key - 1]]
                yield f"{here} before [{key - 1}]", partial(operator.setitem, holder, slice(key - 1, key + 1), swapped)
            if key != "Comment":
                for words, other in self._others(here, key, value, states, around):
                    yield f"{here}: {words}", partial(operator.setitem, holder, key, other)
                yield from self.changes(
                    value, here, value if key == "States" else states, around, whole or key in _WHOLE
                )

    def _others(self, path: str, key: Any, value: Any, states: dict[str, Any], state: str) -> Iterator[tuple[str, Any]]:
        """What could stand at a place instead, and the words for it."""
        found: list[Any] = []
        if isinstance(value, bool):
            found = [not value]
        elif isinstance(value, int | float):
            found = [value + 1, *([value - 1] if value > 0 else []), value * 10 or 10]
        elif not isinstance(value, str) or key == "Type":
            return
        elif value.startswith("{%"):
            expression = value.removeprefix("{%").removesuffix("%}").strip()
            for words, other in expression_changes(expression, key == "Condition"):
                yield words, "{% " + other + " %}"
        elif key in ("Next", "Default", "StartAt"):
            ends = [name for name, one in states.items() if one["Type"] in ("Succeed", "Fail")]
            beyond = states.get(value, {})
            found = [state, beyond.get("Next"), beyond.get("Default"), *ends]
        elif ".ErrorEquals[" in path:
            found = [_WILDCARDS.get(value, "Never.Heard")]
        elif alike := next((names for names in (self._placeholders, self._resources) if value in names), None):
            found = [_next(value, alike)]
        for other in dict.fromkeys(found):
            if other not in (None, "", value):
                yield f"{value} → {other}", other


def _could_come_first(rule: Any) -> bool:
    """Whether a rule might take what the rule before it takes: a choice, or a rule for errors of any name."""
    words = [*rule, *rule.get("ErrorEquals", [])] if isinstance(rule, dict) else []
    return not {"Condition", "States.ALL", "States.TaskFailed"}.isdisjoint(words)


def _next(one: str, others: Sequence[str]) -> str:
    return others[(others.index(one) + 1) % len(others)]


def expression_changes(expression: str, is_condition: bool) -> Iterator[tuple[str, str]]:
    """Every change of a JSONata expression and the words for it. Raises ValueError for one that is not understood."""
    yield from [("always", "true"), ("never", "false")] if is_condition else []
    found = list(_WORD.finditer(expression))
    if "".join(word[0] for word in found) != expression:
        raise ValueError(f"not understood: {expression}")
    for word in found:
        before, after = expression[: word.start()], expression[word.end() :]
        for other in _other_words(str(word.lastgroup), word[0]):
            yield f"{before[-24:]}[{word[0]} → {other}]{after[:12]}", before + other + after


def _other_words(kind: str, word: str) -> list[str]:
    if kind == "number":
        return [str(int(word) + 1), *([str(int(word) - 1), f"{word}0"] if int(word) else [])]
    if kind == "regex":
        body, flags = word[1:].rsplit("/", 1)
        ways = [body] if "(" in body else body.split("|")
        fewer = ["|".join(ways[:at] + ways[at + 1 :]) or "nothing of the kind" for at in range(len(ways))]
        return [f"/{other}/{flags}" for other in [*fewer, body.removeprefix("^")] if other != body]
    return _OTHER_WORDS.get(word, [])


class Judge:
    """A pytest plugin: runs every test once, then again after each change, in a separate process, until one notices it."""

    def __init__(self, chosen: Sequence[Change]) -> None:
        self._chosen = chosen
        self.found: dict[str, str] = {}  # the test that noticed a change, or NOT_NOTICED, by the name of the change
        self._seconds: dict[str, float] = {}  # that a test takes
        self._counts = Counter[tuple[str, str]]()  # how often a test noticed a change of a state, and of any state ("")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Runs in place of pytest's own loop over the tests."""
        for item in session.items:
            began = time.monotonic()
            session.testsfailed += _fails(item)
            self._seconds[item.nodeid] = time.monotonic() - began
        if not session.testsfailed:
            gc.freeze()  # what is loaded stays shared between the processes
            self.found = {name: self._noticed_by(name, make, session.items) for name, make in self._chosen}
        return True

    def _noticed_by(self, name: str, make: Callable[[], None], items: list[pytest.Item]) -> str:
        """The test that fails with a change."""
        state = name.split(".")[0]
        ranked = sorted(items, key=lambda item: self._rank(state, item.nodeid))
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                signal.alarm(300)  # a change with which the tests do not end is noticed
                make()
                os.write(writing, next((item.nodeid for item in ranked if _fails(item)), NOT_NOTICED).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            test = answer.read() or "(its process ended)"
        os.waitpid(child, 0)
        print(f"{test}  {name}", flush=True)
        self._counts.update([(state, test), ("", test)])
        return test

    def _rank(self, state: str, test: str) -> tuple[int, float]:
        return -self._counts[state, test], -(self._counts["", test] + 0.1) / (self._seconds[test] + 0.01)


def _fails(item: pytest.Item) -> bool:
    return any(outcome.failed for outcome in runtestprotocol(item, log=False))


def report(what: str, found: Mapping[str, str], reasons: Mapping[str, str]) -> tuple[str, bool]:
    """The counts, what no test notices with its reason, and what is wrong; and whether nothing is."""
    unnoticed, wrong = [name for name, test in found.items() if test == NOT_NOTICED], list[str]()
    noticed = len(found) - len(unnoticed)
    lines = [f"{len(found):,} changes of {what}, {noticed:,} of them noticed by a test: {noticed / len(found):.1%}"]
    for pattern, why in reasons.items():
        explained = [name for name in unnoticed if re.fullmatch(pattern, name)]
        lines += [why, *(f"  {name}" for name in explained)]
        wrong += [] if explained else [f"no unnoticed change is called {pattern}"]
        unnoticed = [name for name in unnoticed if name not in explained]
    wrong += [f"no test notices {name}" for name in unnoticed]
    return "\n".join([*lines, *(f"FIX  {one}" for one in wrong)]), not wrong


def answer(text: str, right: bool, write: Path | None) -> int:
    """Prints a result, writes it to a file if one is given, and returns the exit code."""
    print(text)
    if write:
        write.write_text(f"```text\n{text}\n```\n", "utf-8")
    return 0 if right else 1


def command(
    only: Annotated[str, typer.Option(metavar="REGEX", help="Try only the changes whose names match.", show_default=False)] = "",
    out: Out = None,
) -> int:  # fmt: skip
    """Judges the changes that were chosen; answers the exit code.

    It changes conditions and the other operators of expressions, next states, retries, catches, times and other numbers, and the names
    of resources and roles. It does not change the texts of requests and messages, or the paths in expressions: AWS's models of the
    services and the runs of a rehearsal read those.

    A change that no test notices needs a reason in mutation_survivors.toml. The exit code is 1 if one has none, if a reason has no
    such change, or if a test fails without any change.
    """
    definitions = {path: sources.load_definition(path) for path in MACHINES}
    sources.load_definition = lambda path: definitions[path]
    walks = [Walk(one).changes(one, f"{path.name.split('.')[0]}: ", {}) for path, one in definitions.items()]
    chosen = [change for walk in walks for change in walk if re.search(only, change[0])]
    if not chosen:
        raise typer.BadParameter(f"the name of no change matches {only}")
    judge = Judge(chosen)
    pytest.main(["-q", "-p", "no:cacheprovider", "--assert=plain", "--tb=native", *TESTS], plugins=[judge])
    if not judge.found:
        return 1
    reasons = tomllib.loads(SURVIVORS.read_text("utf-8"))["machines"]
    if only:  # of the other changes nothing is known now
        reasons = {like: why for like, why in reasons.items() if any(re.fullmatch(like, name) for name in judge.found)}
    text, right = report("the state machines", judge.found, reasons)
    print()
    return answer(text, right, out)
