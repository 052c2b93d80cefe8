"""What every test finds around it, drawn anew for each run: the moment, the time zone, the locale, the order and the weights of toy models.

A test that passes only in November, only in UTC or only after another one fails in some run. One seed draws all of it:

    make test ARGS="--seed 20261201"
    make test ARGS="--at 2028-02-29T23:58 --zone Asia/Kathmandu --locale C"

The clock runs on from the moment; time.monotonic is the machine's. Processes that a test starts find the zone and the locale in
their environment and the machine's clock: the rehearsal tells its Lambda functions the moment of its account by itself.
"""

import locale
import os
import random
import signal
import time
from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
import time_machine

# At both ends of the day, and 45 and 30 minutes off the hour.
ZONES = (
    "UTC", "America/Los_Angeles", "Asia/Kathmandu", "Australia/Lord_Howe", "Europe/Berlin", "Pacific/Kiritimati", "Pacific/Marquesas",
)  # fmt: skip
# Numbers with a comma, texts that are not UTF-8 by default, an i without its dot: those of them that the machine has.
LOCALES = ("C", "C.UTF-8", "POSIX", "de_DE.UTF-8", "de_DE.ISO-8859-1", "tr_TR.UTF-8")
YEARS = range(2026, 2036)

weights_seed = 0  # with which toy models draw their weights


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options that repeat a run."""
    group = parser.getgroup("surroundings", "what is drawn at random for each run")
    group.addoption(
        "--seed", type=int, help="draws all that is not given, the order of tests and the weights of toy models"
    )
    group.addoption("--at", metavar="MOMENT", help="when the run begins, in UTC: 2028-02-29T23:58")
    group.addoption("--zone", help="the time zone: Asia/Kathmandu")
    group.addoption("--locale", help="the locale, of those installed: C.UTF-8")
    group.addoption("--no-skips", action="store_true", help="fail where a test was skipped")


def at(moment: datetime) -> time_machine.travel:
    """A context in which the clock of this process begins at a moment, for a test that is about it."""
    return time_machine.travel(moment.timestamp(), tick=True)


def drawn_moment(draw: random.Random) -> datetime:
    """Any moment of ten years, or as often one of the last minutes of a month."""
    year, month = draw.choice(YEARS), draw.randint(1, 12)
    last = monthrange(year, month)[1]
    if draw.random() < 0.5:
        return datetime(year, month, last, 23, draw.randint(50, 59), tzinfo=UTC)
    return datetime(year, month, draw.randint(1, last), tzinfo=UTC) + timedelta(minutes=draw.randrange(24 * 60))


def _exists(zone: str) -> bool:
    try:
        return bool(ZoneInfo(zone))
    except ZoneInfoNotFoundError:
        return False


def _installed(name: str) -> bool:
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, name)
    except locale.Error:
        return False
    finally:
        locale.setlocale(locale.LC_ALL, before)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Draw what was not given, and live there. Workers of pytest-xdist are given all of it with the other options."""
    global weights_seed
    option = config.option
    if option.seed is None:
        option.seed = random.SystemRandom().randrange(10**6)
    draw = random.Random(option.seed)
    moment, zone, name = (
        drawn_moment(draw), draw.choice([*filter(_exists, ZONES)]), draw.choice([*filter(_installed, LOCALES)]),
    )  # fmt: skip
    option.at = option.at or f"{moment:%Y-%m-%dT%H:%M}"
    option.zone, option.locale = option.zone or zone, option.locale or name
    try:
        begin = datetime.fromisoformat(option.at).replace(tzinfo=UTC)
    except ValueError:
        raise pytest.UsageError(f"--at takes a moment such as 2028-02-29T23:58, got {option.at}") from None
    for kind, known, given in (("zone", _exists, option.zone), ("locale", _installed, option.locale)):
        if not known(given):
            raise pytest.UsageError(f"--{kind}: this machine has no {given}")
    weights_seed = option.seed
    option.randomly_seed = option.seed
    option.hypothesis_seed = option.seed
    # A shell lets a command in the background ignore Ctrl-C, and what ignores it hands that on to its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(TZ=option.zone, LC_ALL=option.locale)
    time.tzset()
    locale.setlocale(locale.LC_ALL, option.locale)
    travel = at(begin)
    travel.start()
    config.add_cleanup(travel.stop)


def _repeat(config: pytest.Config) -> str:
    option = config.option
    return f"--seed {option.seed} --at {option.at} --zone {option.zone} --locale {option.locale}"


def pytest_report_header(config: pytest.Config) -> str:
    """What was drawn."""
    return f"surroundings: {_repeat(config)}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Say last how to repeat the run, and what was not tested."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # a worker
        return
    reporter.write_line(f'To repeat: ARGS="{_repeat(session.config)}"')
    skipped = sorted({report.longrepr[2].removeprefix("Skipped: ") for report in reporter.stats.get("skipped", [])})
    if skipped:
        reporter.write_line(f"Not tested here: {'; '.join(skipped)}")
        if session.config.option.no_skips:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
