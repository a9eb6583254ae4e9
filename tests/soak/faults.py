"""Uses the process pool at random while everything around it fails: `make faults`.

    SECONDS=300 SEED=7 python tests/soak/faults.py

Threads and an event loop submit tasks of every size and kind; meanwhile workers are killed and
stopped, the template is killed, tasks take their worker down with them, and callers cancel. At
the end every future has ended, once, with an outcome that its task can have, and no process,
descriptor, mapping or thread is left. The status is 1 otherwise.
"""

import asyncio
import collections
import concurrent.futures
import contextlib
import ctypes
import faulthandler
import gc
import os
import random
import signal
import sys
import threading
import time
import uuid
from pathlib import Path

import plait

WORKERS = 3
SUBMITTERS = 3
# So many tasks of one submitter wait or run at a time.
AHEAD = 60
MARK = "PLAIT_FAULTS_MARK"
# What is still there so many seconds after the end is left over.
PATIENCE = 20.0


# -- the tasks ------------------------------------------------------------------------------------


def echo(data):
    return data


def nap(seconds):
    time.sleep(seconds)
    return seconds


def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return seconds


def fail(text):
    raise LookupError(text)


class Unpicklable(Exception):
    def __reduce__(self):
        raise TypeError("not this one")


def fail_strangely():
    raise Unpicklable("strange")


def die(how):
    faulthandler.disable()
    if how == "exit":
        os._exit(7)
    if how == "segv":
        ctypes.string_at(0)
    os.kill(os.getpid(), signal.SIGKILL)


def leave_a_child():
    """Fork; the child runs on into the pool's own code, which must not answer in its name."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return "parent" if pid else "child"


def bloat(megabytes):
    return len(bytearray(megabytes << 20))


def talk(size):
    sys.stdout.write("x" * size)
    return size


# -- the run --------------------------------------------------------------------------------------


class Faults:
    """One run: the pool, what was asked of it, and what came of that."""

    def __init__(self, seed, seconds):
        self.seed = seed
        self.end = time.monotonic() + seconds
        self.pool = plait.ProcessPoolExecutor(WORKERS)
        self.lock = threading.Lock()
        # By future: what it was asked, and how often it has told of its end.
        self.asked = {}
        self.told = collections.Counter()
        self.outcomes = collections.Counter()
        self.blows = collections.Counter()
        self.wrong = []

    def over(self):
        return time.monotonic() >= self.end

    def kinds(self, chance):
        """Choose a task: its kind, its function, its arguments."""
        size = int(chance.choice((0, 10, 1_000, 60_000, 300_000, 3_000_000)) * chance.random())
        if chance.random() < 0.005:
            size = 40_000_000
        return chance.choices(
            (
                ("echo", echo, (chance.randbytes(16) * (size // 16 + 1),)),
                ("echo", echo, ({"n": size, "text": "y" * (size // 100), "list": [1, 2.5, None]},)),
                ("nap", nap, (chance.random() / 50,)),
                ("spin", spin, (chance.random() / 100,)),
                ("fail", fail, (f"no {size}",)),
                ("strange", fail_strangely, ()),
                ("die", die, (chance.choice(("exit", "segv", "kill")),)),
                ("fork", leave_a_child, ()),
                ("bloat", bloat, (chance.randrange(1, 30),)),
                ("talk", talk, (chance.randrange(1, 2_000),)),
                ("lambda", lambda value=size: value + 1, ()),
                ("hang", nap, (3_600.0,)),
            ),
            weights=(30, 20, 10, 8, 5, 2, 1, 1, 3, 5, 8, 1),
        )[0]

    def submit(self, chance):
        """Hand in a task; the future, and whether somebody has to stop it."""
        kind, fn, args = self.kinds(chance)
        future = self.pool.submit(fn, *args)
        with self.lock:
            self.asked[future] = (kind, args)
        future.add_done_callback(self.count)
        return kind, future

    def count(self, future):
        with self.lock:
            self.told[future] += 1

    def check(self, future):
        """Compare the outcome of a future with what its task can come to; forget it."""
        with self.lock:
            kind, args = self.asked.pop(future)
        try:
            value = future.result(timeout=0)
        except concurrent.futures.CancelledError:
            outcome, well = "cancelled", True
        except plait.WorkerDied:
            outcome, well = "died", True
        except LookupError as error:
            outcome, well = "raised", kind == "fail" and str(error) == args[0]
        except plait.RemoteError as error:
            outcome, well = "raised", kind == "strange" and "Unpicklable" in str(error)
        except BaseException as error:
            outcome, well = f"{type(error).__name__}: {error}", False
        else:
            outcome = "returned"
            well = {
                "echo": lambda: value == args[0],
                "nap": lambda: value == args[0],
                "spin": lambda: value == args[0],
                "fork": lambda: value == "parent",
                "bloat": lambda: value == args[0] << 20,
                "talk": lambda: value == args[0],
                "lambda": lambda: isinstance(value, int),
            }.get(kind, lambda: False)()
        self.outcomes[f"{kind} {outcome}"[:60]] += 1
        if not well:
            self.wrong.append(f"{kind} {str(args)[:60]}: {outcome}")

    def from_a_thread(self, number):
        chance = random.Random(self.seed * 100 + number)
        waiting = collections.deque()
        while not self.over() or waiting:
            if not self.over() and len(waiting) < AHEAD:
                waiting.append(self.submit(chance))
                if chance.random() < 0.05:
                    chance.choice(waiting)[1].cancel()
                continue
            kind, future = waiting.popleft()
            self.finish(kind, future)

    def finish(self, kind, future):
        if kind == "hang":
            self.stop_hanging(future)
        concurrent.futures.wait([future])
        self.check(future)

    def stop_hanging(self, future):
        """End a task that would go on for an hour."""
        while not future.done():
            if not future.cancel():
                self.strike(signal.SIGKILL)
            concurrent.futures.wait([future], timeout=0.05)

    def from_a_loop(self):
        chance = random.Random(self.seed * 100 + 99)

        async def one():
            kind, future = self.submit(chance)
            if kind == "hang":
                await asyncio.to_thread(self.stop_hanging, future)
            awaiting = asyncio.ensure_future(self.await_it(future))
            if chance.random() < 0.1:
                await asyncio.sleep(chance.random() / 100)
                awaiting.cancel()
            await asyncio.wait([awaiting])
            await asyncio.to_thread(concurrent.futures.wait, [future])
            self.check(future)

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
        try:
            return await future
        except Exception:
            return None

    # -- the faults --------------------------------------------------------

    def strike(self, number):
        """Send a signal to some worker."""
        pids = self.pool._pool.pids()
        if pids:
            pid = random.choice(pids)
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return 0
            self.blows[signal.Signals(number).name] += 1
            return pid
        return 0

    def fault(self):
        chance = random.Random(self.seed * 100 + 98)
        while not self.over():
            time.sleep(chance.expovariate(5))
            what = chance.random()
            if what < 0.5:
                self.strike(signal.SIGKILL)
            elif what < 0.65:
                self.strike(signal.SIGSEGV)
            elif what < 0.8:
                pid = self.strike(signal.SIGSTOP)
                time.sleep(chance.random() / 5)
                if pid:
                    with_luck(pid, chance.choice((signal.SIGCONT, signal.SIGKILL)))
            elif what < 0.85:
                self.kill_template()

    def kill_template(self):
        for pid, command in marked().items():
            if "_worker.template" in command and parent(pid) == os.getpid():
                with_luck(pid, signal.SIGKILL)
                self.blows["template"] += 1

    def run(self):
        """Do it all; what is wrong."""
        threads = [
            threading.Thread(target=self.from_a_thread, args=(number,), name=f"submitter-{number}")
            for number in range(SUBMITTERS)
        ]
        threads.append(threading.Thread(target=self.from_a_loop, name="loop"))
        threads.append(threading.Thread(target=self.fault, name="fault"))
        failed = []

        def hook(failure):
            failed.append(f"thread {failure.thread.name}: {failure.exc_value!r}")
            sys.__excepthook__(failure.exc_type, failure.exc_value, failure.exc_traceback)

        threading.excepthook = hook
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.pool.shutdown()
        wrong = failed + self.wrong
        with self.lock:
            wrong += [f"never ended: {kind} {args}"[:100] for kind, args in self.asked.values()]
            more = [count for count in self.told.values() if count != 1]
        # The callbacks are called by a thread of their own, before the pool's end is over.
        if more:
            wrong.append(f"{len(more)} futures told of their end other than once")
        if len(self.told) != sum(self.outcomes.values()):
            wrong.append(f"{len(self.told)} told, {sum(self.outcomes.values())} have an outcome")
        self.told.clear()
        return wrong


def with_luck(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def parent(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


# -- what is left ---------------------------------------------------------------------------------


def marked():
    """Processes, other than this one, that descend from this one."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if f"{MARK}={os.environ[MARK]}".encode() in (entry / "environ").read_bytes():
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(entry.name)] = command.decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def census():
    """Count what a pool could leave behind."""
    gc.collect()
    descriptors = []
    for number in os.listdir("/proc/self/fd"):
        try:
            descriptors.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:
            continue
    maps = Path("/proc/self/maps").read_text().splitlines()
    return {
        "processes": len(marked()),
        "descriptors": len(descriptors),
        "shared mappings": sum("memfd:plait" in line for line in maps),
        "threads": len(list(Path("/proc/self/task").iterdir())),
    }


def main():
    seconds = float(os.environ.get("SECONDS", "300"))
    seed = int(os.environ.get("SEED", random.randrange(1_000_000)))
    os.environ[MARK] = uuid.uuid4().hex
    print(f"faults: {seconds:.0f} s, SEED={seed}", flush=True)
    # What is made once and stays: the notifier, the modules.
    with plait.ProcessPoolExecutor(1) as pool:
        pool.submit(echo, 1).result()
    before = census()
    out, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # what tasks print
    faults = Faults(seed, seconds)
    wrong = faults.run()
    os.dup2(out, 1)
    os.close(out)
    os.close(nowhere)
    outcomes, blows = faults.outcomes, faults.blows
    del faults
    deadline = time.monotonic() + PATIENCE
    while (after := census()) != before and time.monotonic() < deadline:
        time.sleep(0.1)
    for name, count in sorted(outcomes.items()):
        print(f"  {count:8,}  {name}")
    print(f"  {sum(outcomes.values()):8,}  in all; blows: {dict(blows)}")
    wrong += [
        f"left over: {name}: {before[name]} before, {after[name]} after"
        for name in after
        if after[name] > before[name]
    ]
    for line in wrong[:40]:
        print(f"WRONG {line}")
    print(f"faults: {'FAILED' if wrong else 'ok'}: {len(wrong)} wrong (SEED={seed})")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
