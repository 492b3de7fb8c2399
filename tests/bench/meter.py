"""meter: adds up a server's CPU time and the client's waiting over the measured pieces of one sample.

    meter = Meter(server)
    while meter.wants_more():
        prepare()                 # costs nothing
        with meter:
            count = work()        # measured, down to the last thing the server does after its answer
        meter.done(count)
"""
import time

ENOUGH_CPU_S = 0.25  # twenty-five ticks of the clock
ENOUGH_WALL_S = 3.0


class Meter:
    def __init__(self, server):
        self.server = server
        self.cpu_s = self.wall_s = self.operations = 0
        self.facts = {}  # what a row has to say beyond the times
        self.began = time.monotonic()

    def __enter__(self):
        self.cpu_before = self.server.cpu_seconds()
        self.wall_before = time.monotonic()

    def __exit__(self, *_):
        self.wall_s += time.monotonic() - self.wall_before
        self.cpu_s += self.server.cpu_seconds() - self.cpu_before

    def done(self, operations):
        self.operations += operations

    def wants_more(self):
        """False once the sample is long enough for a clock that ticks each 10 ms, or takes too long."""
        return not self.operations or (self.cpu_s < ENOUGH_CPU_S and time.monotonic() - self.began < ENOUGH_WALL_S)

    def sample(self):
        return {"cpu_s": round(self.cpu_s, 3), "wall_s": round(self.wall_s, 4), "operations": self.operations,
                **self.facts}
