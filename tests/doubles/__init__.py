"""What tests of several parts work with in place of AWS: clients that remember, and sites on which one Lambda is asked to work."""

# Until a test gives up waiting. A wait ends when what it waits for happens; only a process that is dead or hangs lets it last so long.
PATIENCE_SECONDS = 600


class MovedTime:
    """A `time` module that moves where a test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Seconds, from wherever the test begins."""
        return self.now
