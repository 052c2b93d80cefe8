"""The parts of the code that hold money, and the unit tests that hold them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
LAMBDAS = PROJECT / "lambdas"
TESTS = PROJECT / "tests" / "unit"
DOUBLES = PROJECT / "tests" / "doubles"  # what the tests work with


@dataclass(frozen=True)
class Part:
    """Some files under lambdas/, and the tests under tests/unit/ that are run against each of their mutants (glob patterns).

    `chosen` is pytest's -k: it can leave out tests that take long and kill nothing more.
    """

    name: str
    sources: tuple[str, ...]
    tests: tuple[str, ...]
    chosen: str = ""

    def source_files(self) -> list[str]:
        """The files, relative to lambdas/. Raises FileNotFoundError for a pattern that matches nothing."""
        return _matching(LAMBDAS, self.sources)

    def test_files(self) -> list[str]:
        """The tests, relative to tests/unit/. Raises FileNotFoundError for a pattern that matches nothing."""
        return _matching(TESTS, self.tests)


def _matching(folder: Path, patterns: tuple[str, ...]) -> list[str]:
    found: dict[str, None] = {}
    for pattern in patterns:
        files = sorted(path for path in folder.glob(pattern) if path.read_text("utf-8").strip())
        if not files:
            raise FileNotFoundError(f"no file is named {pattern} in {folder}")
        found |= dict.fromkeys(path.relative_to(folder).as_posix() for path in files)
    return list(found)


# A test is listed where it kills what no other one does: each mutant should take a second or two.
PARTS = {
    part.name: part
    for part in (
        # The same tests run against moto and against the proof's own table, which test_table.py holds against moto.
        Part("ledger", ("common/ledger/[a-z]*.py",), ("ledger/test_ledger*.py",), chosen="not moto"),
        Part("costs", ("common/pricing/costs.py",), ("costs/test_costs*.py",)),
        Part("money", ("preflight/money.py",), ("costs/test_money*.py", "costs/test_prices*.py")),
        Part("reserve", ("reserve/*.py",), ("costs/test_reserve*.py",)),
        Part("teardown", ("teardown/*.py",), ("teardown/test_teardown*.py",)),
        Part("settle", ("settle/*.py",), ("settle/test_settle*.py",)),
        Part("sweeper", ("sweeper/*.py",), ("sweeper/test_sweeper*.py",)),
    )
}
