"""What `faults.py` does with maps, and with the interface of `multiprocessing.Pool`."""

import multiprocessing
import os
import random
import threading

from fault_jobs import nap

import plait

# What a task of a map may come to, beside its result.
ACCIDENTS = plait.WorkerDied


def square(n):
    return n * n


def square_or_die(n):
    if random.random() < 0.002:
        os._exit(9)
    return n * n


def add(a, b):
    return a + b


class Maps:
    """Maps of all kinds, read to their end or left early."""

    def __init__(self, faults, lost):
        self.faults = faults
        self.lost = lost

    def tell(self, kind, how):
        with self.faults.lock:
            self.faults.outcomes[f"{kind}: {how}"] += 1

    def read(self, kind, results, wanted, leave):
        """Read results up to the number `leave`, and compare them."""
        how = "read"
        try:
            for number, value in enumerate(results):
                if value != wanted(number):
                    self.faults.say(f"{kind}: {value} at {number}")
                if number == leave:
                    how = "left"
                    break
        except ACCIDENTS:
            how = "died"
        except (TimeoutError, multiprocessing.TimeoutError):
            how = "lost"
            self.faults.say(f"{kind}: no results in time")
        close = getattr(results, "close", None)
        if close is not None:
            close()
        self.tell(kind, how)

    def of_executor(self, chance):
        while not self.faults.over():
            pool = self.faults.pools[chance.choice(("plain", "short"))]
            chunksize, buffersize = chance.choice((None, 1, 10)), chance.choice((None, None, 7))
            slow = chunksize == 1 or buffersize is not None
            count = chance.randrange(1, 200 if slow else 2_000)
            leave = chance.choice((None, 0, 5, 300))
            items = range(count) if chance.random() < 0.5 else iter(range(count))
            fn = chance.choice((square, square_or_die))
            # That is for all of the results.
            options = {"timeout": 3 * self.lost, "chunksize": chunksize, "buffersize": buffersize}
            results = pool.map(fn, items, **options)
            self.read("map", results, square, leave)

    def of_pool(self, chance):
        pool = self.faults.pools["Pool"]
        while not self.faults.over():
            count = chance.randrange(1, 500)
            how = chance.randrange(5)
            if how == 0:
                results = pool.imap(square, iter(range(count)), chance.choice((1, 10)))
                self.read("imap", Patient(results, self.lost), square, chance.choice((None, 5)))
            elif how == 1:
                results = pool.imap_unordered(square_or_die, range(count))
                self.unordered(Patient(results, self.lost), count)
            elif how == 2:
                self.asynchronous(pool.map_async, square, range(count), square)
            elif how == 3:
                pairs = [(n, n) for n in range(count)]
                self.asynchronous(pool.starmap_async, add, pairs, lambda n: 2 * n)
            else:
                self.applied(pool, chance)

    def unordered(self, results, count):
        left, how = {square(n) for n in range(count)}, "read"
        while True:
            try:
                left.remove(next(results))
            except StopIteration:
                break
            except KeyError as error:
                self.faults.say(f"imap_unordered: {error} twice")
            except ACCIDENTS:
                # The iterator goes on behind it.
                how = "died"
            except multiprocessing.TimeoutError:
                self.faults.say("imap_unordered: lost")
                break
        if left and how == "read":
            self.faults.say(f"imap_unordered: {len(left)} of {count} did not come")
        self.tell("imap_unordered", how)

    def asynchronous(self, method, fn, items, wanted):
        """Compare the results, and count the callbacks."""
        called, told = [], threading.Event()

        def call(value):
            called.append(value)
            told.set()

        result = method(fn, items, callback=call, error_callback=call)
        try:
            values = result.get(self.lost)
        except ACCIDENTS as error:
            values, how = error, "died"
        else:
            how = "returned"
            if values != [wanted(n) for n in range(len(items))]:
                self.faults.say(f"{method.__name__}: not what was wanted")
        if not told.wait(self.lost) or len(called) != 1 or called[0] is not values:
            self.faults.say(f"{method.__name__}: callbacks {str(called)[:80]}")
        self.tell(method.__name__, how)

    def applied(self, pool, chance):
        results = [pool.apply_async(nap, (chance.random() / 100,)) for _ in range(10)]
        for result in results:
            try:
                result.get(self.lost)
            except ACCIDENTS:
                self.tell("apply_async", "died")
            else:
                self.tell("apply_async", "returned")


class Patient:
    """An iterator of `multiprocessing.Pool`, none of whose results is waited for for ever."""

    def __init__(self, results, limit):
        self._results = results
        self._limit = limit

    def __iter__(self):
        return self

    def __next__(self):
        return self._results.next(self._limit)
