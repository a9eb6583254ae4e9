"""Uses process pools at random while everything around them fails: `make faults`.

    SECONDS=300 SEED=7 python tests/soak/faults.py

Threads and an event loop submit tasks of every size and kind, some of which look at what is shared
or run many to a worker, and maps that they often leave early; meanwhile workers are killed and
stopped (some for good), templates are killed, descriptors run out, workers leak until they are
replaced, tasks take their worker down with them or run into their deadline, and callers cancel. At
the end every future has ended, once, with an outcome that its task can have, the log records have
been counted, and no process, descriptor, mapping or thread is left. The status is 1 otherwise.
"""

import asyncio
import collections
import concurrent.futures
import contextlib
import errno
import faulthandler
import itertools
import logging
import os
import queue
import random
import signal
import sys
import threading
import time
import traceback

import census
from fault_blows import Blows, few_descriptors
from fault_jobs import EVERYWHERE, LOGGER, any_job, echo, ending_job, leaky_job, nap
from fault_maps import Maps
from fault_sharing import Shares
from fault_together import any_that_ends, together_job

import plait

# So many tasks of one submitter wait or run at a time.
AHEAD = 60
# What has not ended so many seconds after it should have is lost.
LOST = 90.0
# What is still there so many seconds after the end is left over.
PATIENCE = 30.0
# So much private memory workers may have that leak.
MEMORY = 150_000_000


class Records(logging.Handler):
    """Counts the log records of each task."""

    def __init__(self):
        super().__init__()
        self.counts = collections.defaultdict(collections.Counter)

    def emit(self, record):
        name, number = record.getMessage().split()
        self.counts[name][int(number)] += 1


class Faults:
    """One run: the pools, what was asked of them, and what came of that."""

    def __init__(self, seed, seconds):
        self.seed = seed
        self.end = time.monotonic() + seconds
        self.pools = {
            "plain": plait.ProcessPoolExecutor(3),
            "short": plait.ProcessPoolExecutor(
                2, max_tasks_per_child=40, max_memory=MEMORY, max_pending=20
            ),
            "stopped": plait.ProcessPoolExecutor(2),
            "together": plait.ProcessPoolExecutor(2, concurrency=20),
            "Pool": plait.Pool(2, maxtasksperchild=100),
        }
        self.lock = threading.Lock()
        # By future, its job; by the number of each task, how often it has told of its end.
        self.asked = {}
        self.told = collections.Counter()
        self.numbers = itertools.count()
        # Those that somebody may have cancelled, and those where `cancel` said that it did.
        self.touched, self.cancelled = set(), set()
        self.outcomes = collections.Counter()
        self.wrong = []
        self.patience = LOST
        self.kept = collections.deque()
        self.promised, self.records = {}, Records()
        executors = {name: getattr(pool, "_executor", pool) for name, pool in self.pools.items()}
        self.blows = Blows(random.Random(seed * 100 + 98), executors)

    def over(self):
        return time.monotonic() >= self.end

    def say(self, what):
        with self.lock:
            self.wrong.append(what[:300])
        print("WRONG", what[:300], flush=True, file=sys.stderr)

    # -- one task ----------------------------------------------------------

    def submit(self, pool, job):
        future = self.pools[pool].submit(job.fn, *job.args)
        with self.lock:
            self.asked[future] = job
            number = next(self.numbers)
            self.told[number] = 0
        # Without the future: that would keep its result.
        future.add_done_callback(lambda _: self.count(number))
        return future

    def count(self, number):
        with self.lock:
            self.told[number] += 1

    def wait_for_end(self, future):
        """Wait; what has been lost once is not waited for so long again."""
        concurrent.futures.wait([future], self.patience)
        if not future.done():
            self.patience = LOST / 20
        return future.done()

    def cancel(self, future):
        self.touched.add(future)
        if cancelled := future.cancel():
            self.cancelled.add(future)
        return cancelled

    def finish(self, future):
        """Wait for the end of a task, stopping it if nobody else does, and check it."""
        job = self.asked[future]
        if job.endless:
            self.cancel(future)
        if not self.wait_for_end(future):
            self.say(f"lost: {job.kind}: {future!r}")
            # So that the run ends.
            self.cancel(future)
            if not self.wait_for_end(future):
                print("WRONG lost for good:", job.kind, future, flush=True, file=sys.stderr)
                faulthandler.dump_traceback(all_threads=True)
                os._exit(3)
        self.check(future)

    def check(self, future):
        """Compare the outcome of a future with what its task can come to; forget it."""
        with self.lock:
            job = self.asked.pop(future)
        touched, cancelled = future in self.touched, future in self.cancelled
        self.touched.discard(future)
        self.cancelled.discard(future)
        if job.records:
            self.promised[job.records[0]] = (job.records[1], False)
        try:
            value = future.result(timeout=0)
        except plait.Killed as error:
            outcome, well = "killed", touched and not future.cancelled() and error.pid is not None
        except concurrent.futures.CancelledError:
            outcome, well = "cancelled", touched and future.cancelled()
        except plait.WorkerDied as error:
            outcome, well = f"died: {error}", not job.lasting
        except BaseException as error:
            outcome, well = f"raised {type(error).__name__}: {error}", job.error(error)
            well = well and not cancelled
            if not well:
                traceback.print_exception(error)
        else:
            outcome, well = "returned", job.value(value) and not cancelled
            if job.records:
                self.promised[job.records[0]] = (job.records[1], True)
            if job.output is not None and future.output.stdout != job.output:
                self.say(f"{job.kind}: captured {future.output.stdout!r}")
            self.keep(job, value)
        with self.lock:
            self.outcomes[f"{job.kind}: {outcome.partition(':')[0]}"] += 1
        if not well:
            self.say(f"{job.kind}{', cancelled' * cancelled} {str(job.args)[:60]}: {outcome}")

    def keep(self, job, value):
        """Keep what may be a view of shared memory, for a while, and see that it stays."""
        if not job.kind.startswith("array"):
            return
        with self.lock:
            self.kept.append((job, value))
            if len(self.kept) < 300:
                return
            self.kept.rotate(random.randrange(300))
            job, value = self.kept.popleft()
        if not job.value(value):
            self.say(f"{job.kind}: a kept view has changed")

    # -- who submits -------------------------------------------------------

    def from_a_thread(self, number, pool, choose):
        chance = random.Random(self.seed * 100 + number)
        waiting = collections.deque()
        while not self.over() or waiting:
            if not self.over() and len(waiting) < AHEAD:
                waiting.append(self.submit(pool, choose(chance)))
                if chance.random() < 0.05:
                    self.cancel(chance.choice(waiting))
                continue
            self.finish(waiting.popleft())

    def from_a_loop(self):
        chance = random.Random(self.seed * 100 + 99)

        async def one():
            job, pool = any_job(chance), chance.choice(("plain", "short"))
            try:
                future = self.submit(pool, job)
            except queue.Full:
                await asyncio.sleep(0.01)
                return
            if job.endless or chance.random() < 0.1:
                self.touched.add(future)
                awaiting = asyncio.ensure_future(self.await_it(future))
                await asyncio.sleep(chance.random() / 100)
                awaiting.cancel()
            else:
                awaiting = asyncio.ensure_future(self.await_it(future))
            await asyncio.wait([awaiting], timeout=self.patience)
            await asyncio.to_thread(self.finish, future)

        async def main():
            running = set()
            while not self.over():
                running.add(asyncio.ensure_future(one()))
                while len(running) >= AHEAD:
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
            await asyncio.gather(*running)

        plait.run(main())

    async def await_it(self, future):
        with contextlib.suppress(Exception):
            await future

    def with_short_lives(self):
        """Make pools, and end them in every way."""
        chance = random.Random(self.seed * 100 + 97)
        while not self.over():
            try:
                pool = plait.ProcessPoolExecutor(2, initializer=echo, initargs=(b"x" * 100_000,))
            except OSError as error:
                # What it is made of needs descriptors.
                if error.errno != errno.EMFILE:
                    raise
                time.sleep(0.05)
                continue
            futures = [pool.submit(nap, chance.random() / 50) for _ in range(20)]
            if chance.random() < 0.5:
                concurrent.futures.wait(futures[:1], LOST)
            how = chance.choice(("shutdown", "cancel", "terminate_workers", "kill_workers", "drop"))
            if how == "drop":
                del pool
            elif how in ("shutdown", "cancel"):
                pool.shutdown(cancel_futures=how == "cancel")
            else:
                getattr(pool, how)()
            left = concurrent.futures.wait(futures, LOST).not_done
            if left:
                self.say(f"{len(left)} tasks lost by {how}")
            for future in futures:
                # None of these pools is struck.
                error = None if future.cancelled() or not future.done() else future.exception()
                if error is not None and not (
                    isinstance(error, plait.WorkerDied) and how.endswith("workers")
                ):
                    self.say(f"{how}: {error!r}")
            with self.lock:
                self.outcomes[f"pool ended: {how}"] += 1
            time.sleep(chance.random())

    # -- all of it ---------------------------------------------------------

    def run(self):
        """Do it all; what is wrong."""
        maps = Maps(self, LOST)

        def shares(pool, other):
            return Shares(self.pools[pool], other).choose

        todo = {
            "submitter-0": lambda: self.from_a_thread(0, "plain", any_job),
            "submitter-1": lambda: self.from_a_thread(1, "plain", any_job),
            "submitter-2": lambda: self.from_a_thread(2, "short", leaky_job),
            "submitter-3": lambda: self.from_a_thread(3, "stopped", ending_job),
            "submitter-4": lambda: self.from_a_thread(4, "together", together_job),
            "submitter-5": lambda: self.from_a_thread(5, "plain", shares("plain", any_job)),
            "submitter-6": lambda: self.from_a_thread(
                6, "together", shares("together", any_that_ends)
            ),
            "loop": self.from_a_loop,
            "maps": lambda: maps.of_executor(random.Random(self.seed * 100 + 96)),
            "Pool": lambda: maps.of_pool(random.Random(self.seed * 100 + 95)),
            "short lives": self.with_short_lives,
            "blows": lambda: self.blows.run(self.over),
        }
        threads = [threading.Thread(target=work, name=name) for name, work in todo.items()]
        threading.excepthook = self.thread_failed
        LOGGER.addHandler(self.records)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.end_pools()
        LOGGER.removeHandler(self.records)
        self.settle()
        return self.wrong

    def thread_failed(self, failure):
        self.say(f"thread {failure.thread.name}: {failure.exc_value!r}")
        sys.__excepthook__(failure.exc_type, failure.exc_value, failure.exc_traceback)

    def end_pools(self):
        self.pools["Pool"].close()
        for name, pool in self.pools.items():
            ending = threading.Thread(target=getattr(pool, "join", None) or pool.shutdown)
            ending.start()
            ending.join(LOST)
            if ending.is_alive():
                executor = getattr(pool, "_executor", pool)
                self.say(f"the pool {name} does not end: {executor.statistics()}")
                executor.kill_workers()
                ending.join()

    def settle(self):
        """Compare what was counted; the callbacks have been called."""
        for job in self.asked.values():
            self.say(f"never ended: {job.kind}")
        if more := sum(count != 1 for count in self.told.values()):
            self.say(f"{more} futures told of their end other than once")
        for name, (count, returned) in self.promised.items():
            found = self.records.counts.pop(name, {})
            if returned and found != dict.fromkeys(range(count), 1):
                self.say(f"{count} log records, counted {dict(found)}")
            elif any(each != 1 for each in found.values()):
                self.say(f"log records twice: {dict(found)}")
        if self.records.counts:
            self.say(f"log records of nobody: {dict(self.records.counts)}")
        for job, value in self.kept:
            if not job.value(value):
                self.say(f"{job.kind}: a kept view has changed in the end")
        self.told.clear()
        self.kept.clear()


def warm_up():
    """Have what is made once and stays: the notifier, modules (which need descriptors to come)."""
    chance = random.Random(0)
    jobs = [of(chance) for of in EVERYWHERE for _ in range(10)]
    with plait.ProcessPoolExecutor(2) as pool:
        futures = [pool.submit(job.fn, *job.args) for job in jobs if not job.endless]
        for future in futures:
            # Made here, by modules that have to be imported.
            future.exception()
        assert list(pool.map(echo, range(3))) == [0, 1, 2]
    with plait.Pool(1) as pool:
        assert pool.map(echo, [1]) == [1]
    plait.run(asyncio.to_thread(time.sleep, 0))


def main():
    seconds = float(os.environ.get("SECONDS", "300"))
    seed = int(os.environ.get("SEED", random.randrange(1_000_000)))
    census.begin()
    few_descriptors()
    print(f"faults: {seconds:.0f} s, SEED={seed}", flush=True)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    LOGGER.propagate = False
    LOGGER.addHandler(logging.NullHandler())
    out, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # what tasks print
    warm_up()
    before = census.take()
    faults = Faults(seed, seconds)
    wrong = faults.run()
    outcomes, blows = faults.outcomes, faults.blows.counts
    del faults
    deadline = time.monotonic() + PATIENCE
    while (after := census.take()) != before and time.monotonic() < deadline:
        time.sleep(0.1)
    os.dup2(out, 1)
    for name, count in sorted(outcomes.items()):
        print(f"  {count:8,}  {name}")
    print(f"  {sum(outcomes.values()):8,}  in all; blows: {dict(blows)}")
    for name, count in after.items():
        if count > before[name]:
            wrong.append(f"left over: {name}: {before[name]} before, {count} after")
            print("WRONG", wrong[-1], file=sys.stderr)
    print(f"faults: {'FAILED' if wrong else 'ok'}: {len(wrong)} wrong (SEED={seed})")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
