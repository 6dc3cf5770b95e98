"""A clock that tests set, in place of a module's `time`."""


class Clock:
    """Starts at 0, and shows what was made of it: every look at it takes `tick` seconds."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now, self.tick = 0.0, tick

    def monotonic(self) -> float:
        shown = self.now
        self.now += self.tick
        return shown

    perf_counter = monotonic
