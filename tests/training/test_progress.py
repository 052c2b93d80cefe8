"""How long the rest of the job takes, by the work that was done last."""

import math

from progress import Pace


def test_the_time_left_begins_as_a_guess_and_follows_the_work_that_is_done() -> None:
    pace = Pace()
    pace.plan(Pace.TRAIN, 1_000, 0.5)
    pace.plan(Pace.SCORE, 2_000, 0.1)
    assert pace.told() == {"seconds_left": 700}
    pace.done(Pace.TRAIN, 100, 10.0)
    assert pace.told() == {"seconds_left": 290}, "900 tokens at a tenth of a second, and the guess of the rest"
    pace.done(Pace.SCORE, 1_000, 10.0)
    assert pace.told() == {"seconds_left": 100}
    for _ in range(4):
        pace.done(Pace.TRAIN, 100, 40.0)
    assert 100 < pace.told()["seconds_left"] < 500 * 0.4 + 10, "another program has begun: the last steps count most"
    pace.plan(Pace.TRAIN, 0)
    assert pace.told() == {"seconds_left": 10}, "a training that ended early takes no more time"


def test_no_time_is_told_while_a_speed_is_unknown() -> None:
    """As on a GPU before the first step."""
    pace = Pace()
    pace.plan(Pace.TRAIN, 1_000, math.nan)
    pace.done(Pace.SCORE, 10, 1.0)
    assert pace.told() == {}
    pace.done(Pace.TRAIN, 500, 1.0)
    assert pace.told() == {"seconds_left": 1}
