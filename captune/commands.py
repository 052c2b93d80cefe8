"""What can be commanded: for each command its group, its purpose, and the module that does it."""

from __future__ import annotations

from dataclasses import dataclass

HERE, ACCOUNT, MONEY, PROOF = "On this machine, without an account", "Your AWS account", "Money", "Proof"


@dataclass(frozen=True)
class Command:
    """One command. Its module has `main(arguments, prog)`, which parses its own options and answers the exit code."""

    name: str
    group: str
    purpose: str
    module: str
    words: tuple[str, ...] = ()  # that the module is given before a person's own

    @property
    def prog(self) -> str:
        """What the module's help and errors call it. A module with commands of its own adds their name to it."""
        return "captune" if self.words else f"captune {self.name}"


def _operation(name: str, group: str, purpose: str) -> Command:
    return Command(name, group, purpose, "operations.__main__", (name,))


COMMANDS = (
    Command("rehearse", HERE, "The whole path with a small Llama: train, compare, report, remove.", "rehearsal.__main__"),
    _operation("data", HERE, "Count the texts and prompts in data/."),
    _operation("outside", HERE, "Fetch public abstracts, to measure on text by others."),
    Command("report", HERE, "Judge a finished run's figures again and write its report.", "verification.experiments.rewrite"),
    _operation("check", ACCOUNT, "Ask AWS what a first run would be refused for. Free."),
    _operation("idle", ACCOUNT, "Refuse while anything of this project bills or runs."),
    _operation("destroy", ACCOUNT, "Check, ask once and prepare; the stacks themselves go with make destroy."),
    _operation("empty", ACCOUNT, "Ask once and delete all data in the buckets, where they were deployed to be deleted."),
    _operation("estimate", MONEY, "What a run is expected to take and to cost, before it is started."),
    _operation("costs", MONEY, "What each kind of run may cost at most."),
    _operation("ledger", MONEY, "What is reserved and spent this month."),
    _operation("prices", MONEY, "Refresh the pinned prices from the AWS Price List."),
    _operation("release", MONEY, "Let runs spend again after the budget alarm."),
    Command("prove-cap", PROOF, "The cap against failures, random months and planted faults.", "proof.__main__"),
    Command("evidence", PROOF, "Null experiments and seeds: can the verdict be believed?", "verification.experiments.__main__"),
    Command("bench", PROOF, "The training recipe beside the usual one, on this machine.", "verification.experiments.bench.__main__"),
    Command("conformance", PROOF, "Every contract against the part that owns it.", "verification.conformance.__main__"),
)  # fmt: skip
EXAMPLES = """\
**Examples**

`captune rehearse` trains, compares and reports in some minutes, with nothing but this machine

`captune rehearse --corpus mine.txt --words 0` does so on all of a text of your own

`captune estimate --corpus mine.txt` says what the run would take and cost

`captune check --region eu-west-1` says what is missing there before anything is paid for

`captune ledger --json` prints the month's reservations and costs for a program

`captune COMMAND --help` lists the options of a command. Deploying is `make deploy`: it needs the CDK, and the licence and the e-mail address that you set in cdk.json.
"""
