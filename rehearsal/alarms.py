"""python -m rehearsal.alarms     sets off every alarm on this machine, one after the other, and prints what a person reads.

Stacks, state machines and Lambdas are those that would be deployed; training and hosting are played and end at once. Before
each cause the account is emptied, and after a sound run no alarm may be on. Ends with 1 where an alarm stays silent.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rich.markup import escape

from . import alarm_causes
from .account.assembly import synthesize
from .account.cloud import Cloud
from .alarm_causes import CAUSES
from .conductor.display import Display
from .conductor.options import PROJECT
from .sagemaker.fake import FakeHosting, FakeTraining

_TIME_SCALE = 5000


def main() -> int:
    """Deploy, set off each alarm, and print its message."""
    with Display(plain=True) as display, tempfile.TemporaryDirectory(prefix="captune-alarms-") as folder:
        with display.step("Synthesizing the stacks"):
            assembly = synthesize(PROJECT, Path(folder) / "cdk.out", {"accept_eula": "true"})
        with Cloud(
            Path(folder) / "account", training=FakeTraining(), hosting=FakeHosting(), time_scale=_TIME_SCALE
        ) as cloud:
            with display.step("Deploying them into an account on this machine"):
                cloud.deploy(assembly)
            return show(cloud, display)


def show(cloud: Cloud, display: Display) -> int:
    """Go through a sound run and every cause in a deployed account; return the exit code."""
    watch = alarm_causes.begin(cloud)
    alarm_causes.sound_run(cloud)
    false = watch.look()
    said = f"[red]{', '.join(false)} went off[/]" if false else f"none of {watch.count()} alarms went off"
    display.say(f"\nA run that goes well, and two sweeps: {said}.")
    silent = []
    for name, cause in CAUSES.items():
        watch = alarm_causes.begin(cloud)
        cause(cloud)
        watch.look()
        display.say(f"\n[bold]{' '.join((cause.__doc__ or '').split())}[/]")
        told = alarm_causes.told(cloud)
        for subject, message in told:
            display.say(f"  {escape(subject)}")
            if message["AlarmName"] == name:
                display.say(f"  [dim]{escape(message['NewStateReason'])}[/]")
                display.say(f"  {escape(message['AlarmDescription'])}")
        if name not in [message["AlarmName"] for _, message in told]:
            silent.append(name)
            display.say(f"  [red]{name} stayed silent[/]")
    display.say(f"\n{len(CAUSES) - len(silent)} of {watch.count()} alarms went off and reached the warnings topic.")
    return 1 if silent or false or len(CAUSES) != watch.count() else 0


if __name__ == "__main__":
    sys.exit(main())
