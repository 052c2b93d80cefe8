"""What chance does to a random month beside its runs: outages, refused calls, damage, late calls, and what people do meanwhile.

Single faults are rows and outages of their own. Here they come together, at any moment of the calendar.
"""

import random
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any
from unittest.mock import patch

from botocore.exceptions import ClientError

from captune import serving
from captune.account import Refused
from captune.ledger import accepted
from common.clock import month_of, start_after
from common.errors import CaptuneError
from common.ledger import keys
from common.ledger.seal import SEAL
from verification.simulation.account import SWEEP_SECONDS, Account
from verification.simulation.faults import Fault, outage, throttling
from verification.simulation.lambdas import UNNAMED
from verification.simulation.outages import NEEDED, TOGETHER
from verification.simulation.services.orchestration import MACHINE, TEAR_DOWN
from verification.simulation.services.sagemaker import ACCOUNT
from verification.simulation.services.supplies import BUCKET
from verification.simulation.world import SERVICES, Process, World, at_once

# A person reads the alarm and puts right what is damaged. Longer repairs would take the proof more time and find nothing more.
LONGEST_REPAIR_SECONDS = 10_800
# Services of which any one may be away without that a run costs more than it reserved.
HELD = tuple(name for name in SERVICES.values() if name not in NEEDED)
# Calls that AWS may refuse for hours while the rest of their service answers.
REFUSED = ("describe_execution", "list_tags", "describe_endpoint", "list_executions", "describe_training_job")


def spawn(account: Account, starts: list[datetime]) -> None:
    """Lets some of it happen in a month whose runs start at these moments."""
    world, dice = account.world, account.world.random

    def moment(most: float = 20_000) -> float:
        return max(0.0, world.seconds_until(dice.choice(starts)) + dice.choice([60, 2000, most]) * dice.random())

    world.call_seconds = dice.choice([0.0, 0.3, 3.0])
    late = [start for start in starts if month_of(start + timedelta(hours=8)) != month_of(start + timedelta(hours=12))]
    stands_still = bool(late) and dice.random() < 0.8
    damages = not stands_still and dice.random() < 0.15
    if not stands_still and dice.random() < 0.3:
        world.faults += _outages(world, [world.now + timedelta(seconds=moment()) for _ in range(2)], damages)
        # While TearDown's function is away the sweeper removes, as often as it is deployed to.
        account.sweep_seconds = min(account.sweep_seconds, SWEEP_SECONDS)
    # What a late call makes while TearDown's function is away costs more than was reserved (docs/cap.md).
    if all(one.place != "TearDown's function" for one in world.faults):
        account.late_calls = dice.choice([0.0, 0.5])
    if stands_still:
        world.lost_events = world.late_events = 0.0
        world.cap_cents = max(world.cap_cents, 4000)  # so that a run is planned at all
        world.spawn(_stands_still_once_planned(account), world.seconds_until(dice.choice(late)))
    elif not (damages or world.faults) and dice.random() < 0.06:
        world.spawn(_nobody_tells(account), moment())
    if dice.random() < 0.1:
        begin = world.now + timedelta(seconds=moment())
        for operation in dice.sample(REFUSED, dice.randint(1, 2)):
            world.faults.append(throttling(operation, begin, begin + timedelta(seconds=dice.uniform(60, 20_000))))
    world.spawn(_stop_or_extend(account), moment(60))
    # By dice of its own, so that nothing else of the month depends on it.
    if (own := random.Random(str(starts))).random() < 0.2:
        world.spawn(_restore(account, starts), own.uniform(0, world.seconds_until(starts[-1])))
    for act, share in (
        (_damage, float(damages) / 2),
        (_delete_months, 0.15),
        (_stop_or_extend, 0.3),
        (_another_tag, 0.1),
        (_foreign_tear_down, 0.2),
    ):
        while dice.random() < share:
            world.spawn(act(account), moment())


def _outages(world: World, begins: list[datetime], damages: bool) -> list[Fault]:
    """One outage, or two of different services and lengths, but for those that cost something together. A damaged item is as a ledger
    that is away."""
    dice = world.random
    services = dice.sample(HELD, dice.choice([1, 1, 2]))
    pairs = combinations({*services, "EventBridge", *(["ledger"] if damages else [])}, 2)
    costly = [pair for pair in pairs if " + ".join(sorted(pair, key=str.lower)) in TOGETHER]
    if any("EventBridge" not in pair or "EventBridge" in services for pair in costly):
        services = ["SNS"]
    elif costly:
        world.lost_events = world.late_events = 0.0
    lengths = [dice.choice([600, 7200, 43_200]) * dice.uniform(0.2, 1) for _ in services]
    return [
        outage(service, begin, begin + timedelta(seconds=length), dice.random() < 0.3)
        for service, begin, length in zip(services, begins, lengths, strict=False)
    ]


def _stands_still_once_planned(account: Account) -> Process:
    """Step Functions stands still for hours between the next run's plan and its reservation, mostly beyond the end of the month."""
    world, planned, last = account.world, len(account.usd), account.world.now + timedelta(minutes=10)
    while len(account.usd) == planned and world.now < last:
        yield 0.1, False
    if len(account.usd) > planned:
        end = start_after(month_of(world.now)) + timedelta(seconds=world.random.uniform(-1800, 7200))
        world.faults.append(outage("Step Functions", world.now, end))


@at_once
def _damage(account: Account) -> None:
    """An item or two are changed by other hands than the ledger's."""
    dice, rows = account.world.random, account.table.rows
    for key in dice.sample(sorted(rows), min(len(rows), dice.choice([1, 1, 2]))):
        if key not in account.damaged:
            _harm(account, key)


@at_once
def _delete_months(account: Account) -> None:
    """Somebody deletes the items of the months."""
    for key in [key for key in account.table.rows if keys.month_in(key)]:
        del account.table.rows[key]
        account.audit.deleted_months = True


def _restore(account: Account, starts: list[datetime]) -> Process:
    """The table is put back, between two runs, as it was before some of them. Its seals are valid."""

    def waiting() -> Process:
        while account.world.now < starts[-1] and not account.is_quiet():
            yield 600.0, False

    yield from waiting()
    known, months = set(account.runs()), {key: row for key, row in account.table.rows.items() if keys.month_in(key)}
    while account.world.now < starts[-1] and (known >= account.runs().keys() or not account.is_quiet()):
        yield 600.0, False
    if account.is_quiet():
        lost = account.runs().keys() - known
        account.audit.restored({run: account.table.rows.pop(keys.of_run(run)) for run in lost})
        account.table.rows.update(months)


def _harm(account: Account, key: str) -> None:
    whole, dice = account.table.rows[key], account.world.random
    row = account.table.rows[key] = dict(whole)
    name = dice.choice(sorted(row.keys() - {"pk", SEAL}) or [SEAL])
    value: Any = row[name]
    row[name] = dice.choice(
        [{"BOOL": True}, {"S": "1"}, {"N": "0"}, {"S": "2031-01"}, {"N": str(int(value.get("N", 0)) // 2)}]
    )
    if row[name] == value or dice.random() < 0.3:
        del row[name]
    account.count("damaged items")
    account.damaged.add(key)
    account.world.log(f"{key} is damaged: {name} is {row.get(name)}")
    account.world.spawn(_repair(account, key, whole, dict(row)), 0)


def _repair(account: Account, key: str, whole: dict[str, Any], harmed: dict[str, Any]) -> Process:
    """A person puts every attribute right and accepts the item, once the ledger answers."""
    right = {name: str(next(iter(value.values()))) for name, value in whole.items() if name not in ("pk", SEAL)}
    yield account.world.random.uniform(600, LONGEST_REPAIR_SECONDS), False
    # A write that was under way when it was damaged has put it right.
    while account.table.rows.get(key) == harmed:
        wrong = dict.fromkeys(harmed.keys() - whole.keys(), "")
        try:
            accepted(account.ledger(), key, {**wrong, **right}, account.world.cap_cents)
            account.world.log(f"{key} is put right")
            break
        except CaptuneError:
            pass  # the ledger does not answer
        except (Refused, *UNNAMED) as error:
            account.audit.add(f"captune ledger --accept {key} failed with {type(error).__name__}: {error}")
            break
        yield 600.0, False
    account.damaged.discard(key)


def _stop_or_extend(account: Account) -> Process:
    """A person ends a run, keeps its endpoint for longer, or both. What `captune stop` has ended is not extended any more."""
    world, dice = account.world, account.world.random
    extends, last = dice.random() < 0.7, world.now + timedelta(hours=12)
    while extends and not _kept(account) and world.now < last:
        yield 300.0, False
    if extends and not _kept(account):
        return
    run = dice.choice(_kept(account) or sorted(account.runs()) or ["captune-none"])
    ends = dice.choice(["", "command", "tear-down", "tear-down"]) if extends else "command"
    deployment = serving.Deployment(account.clients.__getitem__, BUCKET, "ledger", MACHINE, TEAR_DOWN, world.cap_cents)
    stopped = ends == "command" and _stop(account, deployment, run)
    if ends == "tear-down":
        # As a person starts it in the console, or the kill switch: only TearDown itself tells the ledger.
        account.tear_down({"runName": run, "reason": "person"})
    for _ in range(20 if stopped or ends == "tear-down" else 1):
        yield dice.choice([2.0, 5.0, 60.0]), False
        with suppress(CaptuneError, Refused, ClientError):
            serving.extend(deployment, run, 1 if ends else dice.choice([1, 30]), world.now)
            account.count("extended")
            if stopped:
                account.audit.add(f"{run} was kept for longer after it was stopped")


def _stop(account: Account, deployment: serving.Deployment, run: str) -> bool:
    """Ends a run by `captune stop`; whether it did, and the ledger heard of it."""
    world = account.world
    answers = world.fault("ledger") is None and keys.of_run(run) not in account.damaged
    try:
        with patch.object(account.table, "trouble", (lambda operation: None) if answers else world.trouble):
            serving.stop(deployment, run, world.now)
    except (Refused, ClientError):
        return False  # it is over, or somebody else has ended it in this very second
    except (CaptuneError, *UNNAMED) as error:
        account.audit.add(f"captune stop {run} failed with {type(error).__name__}: {error}")
    account.count("stopped by command")
    return answers


def _kept(account: Account) -> list[str]:
    now = account.world.now.isoformat()
    return [run for run, row in account.runs().items() if row.get("keep_until", {}).get("S", "") > now]


@at_once
def _another_tag(account: Account) -> None:
    """Somebody's program writes its own value into the tag `project` of everything that there is."""
    for tags in account.sagemaker.control_plane.store.tags.values():
        tags["project"] = "theirs"


def _nobody_tells(account: Account) -> Process:
    """While an endpoint is there its tags change, the ledger goes away, and executions cannot be described."""
    world, hours = account.world, timedelta(hours=4)
    last = world.now + timedelta(hours=12)
    while not account.sagemaker.present and world.now < last:
        yield 120.0, False
    world.faults.append(outage("ledger", world.now, world.now + hours))
    world.faults.append(throttling("describe_execution", world.now, world.now + hours))
    yield from _another_tag(account)


@at_once
def _foreign_tear_down(account: Account) -> None:
    """A TearDown is started for an execution of the same name in another account, which ends nothing here."""
    dice = account.world.random
    running = [one.arn for one in account.executions.values() if one.status == "RUNNING"]
    if running:
        arn = dice.choice(running).replace(f":{ACCOUNT}:", ":999999999999:")
        account.tear_down({"executionArn": arn, "reason": dice.choice(["event", "schedule", "sweeper", "person"])})
