"""What goes wrong in a run of `faults.py`: workers die or stop, descriptors run out."""

import collections
import contextlib
import os
import resource
import signal
import time

import census

# So many descriptors this process may have, so that they can run out.
DESCRIPTORS = 400


def few_descriptors():
    """Bound the descriptors of this process, and of those that it starts."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))


class Blows:
    """Strikes at random, until it is over.

    Args:
        chance: what to choose by.
        pools: whose workers may be struck, by name; those of the pool `stopped` may be stopped
            for good.
    """

    def __init__(self, chance, pools):
        self.chance = chance
        self.pools = pools
        self.counts = collections.Counter()

    def run(self, over):
        while not over():
            time.sleep(self.chance.expovariate(5))
            self.strike()

    def strike(self):
        what = self.chance.random()
        if what < 0.4:
            self.signal(self.any_worker(), signal.SIGKILL)
        elif what < 0.5:
            self.signal(self.any_worker(), signal.SIGSEGV)
        elif what < 0.55:
            # From elsewhere: no task was asked to stop.
            self.signal(self.any_worker(), signal.SIGTERM)
        elif what < 0.7:
            worker = self.any_worker()
            self.signal(worker, signal.SIGSTOP)
            time.sleep(self.chance.random() / 5)
            self.signal(worker, self.chance.choice((signal.SIGCONT, signal.SIGKILL)))
        elif what < 0.85:
            self.signal(self.worker_of("stopped"), signal.SIGSTOP)
        elif what < 0.9:
            self.kill_template()
        else:
            self.run_out_of_descriptors()

    def any_worker(self):
        return self.worker_of(
            self.chance.choice([name for name in self.pools if name != "stopped"])
        )

    def worker_of(self, name):
        """Choose one of those that serve: too many failed starts in a row break a pool."""
        workers = self.pools[name].statistics().workers
        serving = [
            each.pid
            for each in workers
            if each.activity in ("idle", "busy", "leaving") and each.pid is not None
        ]
        return self.chance.choice(serving) if serving else None

    def signal(self, pid, number):
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            self.counts[signal.Signals(number).name] += 1

    def kill_template(self):
        templates = [
            pid
            for pid, command in census.marked().items()
            if "_worker.template" in command and census.parent(pid) == os.getpid()
        ]
        if templates:
            self.signal(self.chance.choice(templates), signal.SIGKILL)
            self.counts["template"] += 1

    def run_out_of_descriptors(self):
        held = []
        with contextlib.suppress(OSError):
            while True:
                held.append(os.dup(0))
        time.sleep(self.chance.random() / 4)
        for number in held:
            os.close(number)
        self.counts["EMFILE"] += 1
