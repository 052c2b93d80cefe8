"""What the parts check: a contract with its count and problems, the table of all of them, and the faults that are planted to test a part."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_HEAD = "contract"
_SHOWN_PROBLEMS = 20
_MACHINES = "*FineTuning.template.json"  # the template with both state machines and the roles of the runs


@dataclass(frozen=True)
class Setting:
    """What every part is given: the folder of the synthesized project, the name of a planted fault, what prints progress, and the
    version of vLLM (`deployed` or `newest`)."""

    assembly: Path
    plant: str | None
    say: Callable[[str], None]
    vllm: str = "deployed"


@dataclass(frozen=True)
class Contract:
    """What one check showed.

    `count` is how many things were compared (answers, expressions, calls), `against` the real part with its version, and
    `problems` one sentence for each that did not hold. `figures` are measured shares or times, printed beside it.
    """

    name: str
    count: int
    against: str
    problems: Sequence[str] = ()
    figures: str = ""

    @property
    def holds(self) -> bool:
        """Whether something was compared and nothing broke: a check that compared nothing has shown nothing."""
        return self.count > 0 and not self.problems


def table(contracts: Sequence[Contract], not_run: Mapping[str, str]) -> str:
    """Every contract with its count, verdict, counterpart, figures and problems, then the parts that did not run with their reasons."""
    width = max(len(name) for name in (_HEAD, *(contract.name for contract in contracts)))
    lines = [f"{_HEAD:<{width}}  {'count':>7}  {'':<6}  checked against"]
    for contract in contracts:
        verdict = "holds" if contract.holds else "BROKEN"
        lines.append(f"{contract.name:<{width}}  {contract.count:>7,}  {verdict:<6}  {contract.against}")
        lines += [f"    {contract.figures}"] if contract.figures else []
        problems = contract.problems or (() if contract.holds else ("nothing was compared",))
        lines += [f"    BROKEN  {problem}" for problem in problems[:_SHOWN_PROBLEMS]]
        lines += [f"    BROKEN  and {len(problems) - _SHOWN_PROBLEMS} more"] if len(problems) > _SHOWN_PROBLEMS else []
    return "\n".join([*lines, *(f"{part}: not run: {reason}" for part, reason in not_run.items())])


@dataclass(frozen=True)
class Plant:
    """A fault: which part has to notice it, what it is, and which text of which files it replaces, once or everywhere."""

    part: str
    description: str
    files: str
    old: str
    new: str
    everywhere: bool = False

    def into(self, assembly: Path) -> None:
        """Put the fault into a cloud assembly (a folder).

        Raises:
            ValueError: there is no such text, so that nothing was planted.
        """
        for path in sorted(assembly.glob(self.files)):
            text = path.read_text(encoding="utf-8")
            if self.old in text:
                path.write_text(text.replace(self.old, self.new, -1 if self.everywhere else 1), encoding="utf-8")
                return
        raise ValueError(f"no {self.files} holds {self.old}: this fault has to be planted elsewhere")


PLANTS = {
    "expression": Plant("expressions", "a state machine calls $exist( instead of $exists(", _MACHINES, "$exists(", "$exist("),
    "field": Plant(
        "expressions", "a state machine reads FailureReson instead of FailureReason", _MACHINES, ".FailureReason", ".FailureReson"
    ),
    "property": Plant(
        "deploy", "the ledger's table has the property Colour, which CloudFormation does not know", "*Storage.template.json",
        '"BillingMode":', '"Colour": "blue", "BillingMode":',
    ),
    "right": Plant(
        "deploy", "no function of the runs has the right s3:PutObject", _MACHINES, "s3:PutObject", "s3:GetObjectTagging", True
    ),
    "route": Plant(
        "serving", "the deployed Ask code does not route its requests", "asset.*/ask/questions.py", '"route=/v1/completions"', '"nowhere"'
    ),
    # As it stands in the template: a JSON text inside the JSON text of the definition.
    "adapter": Plant(
        "serving", "the container's environment names another adapter", _MACHINES,
        r"\\\"name\\\":\\\"${Domain}\\\"", r"\\\"name\\\":\\\"another\\\"", True,
    ),
}  # fmt: skip
