"""A rehearsal with engines that finish at once, as a program, so that it can be sent signals.

python tests/doubles/rehearsal/conduct_with_fakes.py ASSEMBLY OUTCOME [options of the rehearsal]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

from rehearsal.account.assembly import Assembly
from rehearsal.conductor.conductor import Conductor
from rehearsal.conductor.display import Display
from rehearsal.conductor.options import parse
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining, TrainingPlan


def main() -> int:
    """Rehearse."""
    assembly, outcome, *arguments = sys.argv[1:]
    options = parse(arguments)
    plan = TrainingPlan(outcome=cast(Any, outcome))
    conductor = Conductor(
        options,
        Display(plain=options.plain),
        engines={"training": FakeTraining(plan), "hosting": FakeHosting()},
        time_scale=500,
        assembly=Assembly(Path(assembly)),
    )
    return conductor.run()


if __name__ == "__main__":
    sys.exit(main())
