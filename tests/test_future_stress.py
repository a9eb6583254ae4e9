"""Many threads at one future, and at many."""

import concurrent.futures as cf
import itertools
import random
import sys
import threading

import pytest

import plait
from plait._binding import native

LIMIT = 60.0


@pytest.fixture(autouse=True)
def _switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(*functions):
    """Run the functions in threads that start together; give their errors."""
    barrier, errors = threading.Barrier(len(functions)), []

    def run(function):
        barrier.wait(LIMIT)
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def native_end(futures):
    if native.DEBUG_BUILD:
        native._finish_elsewhere(futures, lambda: "native")


@pytest.mark.parametrize("round_", range(40))
def test_everybody_agrees_on_the_end_of_one(round_):
    future = plait.Future()
    results, calls, wins = [], [], []
    all_called = threading.Condition()

    def called(number):
        with all_called:
            calls.append(number)
            all_called.notify_all()

    def wait():
        try:
            results.append(future.result(LIMIT))
        except cf.CancelledError:
            results.append("cancelled")

    def standard_wait():
        assert cf.wait([future], LIMIT).done == {future}
        wait()

    def completed():
        assert list(cf.as_completed([future], LIMIT)) == [future]
        wait()

    def call_back():
        for number in range(20):
            future.add_done_callback(lambda f, number=number: called(number))

    def finish():
        try:
            future.set_result("finished")
            wins.append("finished")
        except cf.InvalidStateError:
            pass

    def cancel():
        if future.cancel():
            wins.append("cancelled")

    ends = [finish, finish, cancel]
    if round_ % 2:
        ends.append(lambda: native_end([future]))
    others = [wait, wait, standard_wait, standard_wait, completed, completed, call_back, call_back]
    functions = ends + others
    random.Random(round_).shuffle(functions)
    at_once(*functions)
    assert len(set(results)) == 1
    assert len(wins) <= 1
    if wins:
        assert results[0] == wins[0]
    else:
        assert results[0] == "native"
    # The callbacks of a native end come from the notifier's thread.
    with all_called:
        assert all_called.wait_for(lambda: len(calls) == 40, LIMIT)
    assert sorted(calls) == sorted(list(range(20)) * 2)
    assert future._waiters == []


@pytest.mark.parametrize("when", [cf.FIRST_COMPLETED, cf.FIRST_EXCEPTION, cf.ALL_COMPLETED, "each"])
def test_no_waiter_is_forgotten(when):
    """Futures end, by several hands, while others begin to wait for them."""
    for round_ in range(15):
        futures = [plait.Future() for _ in range(60)]
        hands = {"set": futures[0::4], "raise": futures[1::4], "cancel": futures[2::4]}
        rest = futures[3::4]

        def set_results(mine=hands["set"]):
            for future in mine:
                future.set_result(1)

        def set_exceptions(mine=hands["raise"]):
            for future in mine:
                future.set_exception(ValueError())

        def cancel(mine=hands["cancel"]):
            for future in mine:
                assert future.cancel()

        def end_elsewhere(mine=rest):
            if native.DEBUG_BUILD:
                native_end(mine)
            else:
                for future in mine:
                    future.set_result(1)

        def wait(futures=futures, seed=round_):
            order = list(futures)
            random.Random(seed).shuffle(order)
            if when == "each":
                assert set(cf.as_completed(order, LIMIT)) == set(order)
                return
            left = set(order)
            while left:
                done, left = cf.wait(left, LIMIT, when)
                assert done, "woken without a reason"

        at_once(set_results, set_exceptions, cancel, end_elsewhere, wait, wait, wait)
        assert all(future.done() for future in futures)
        assert all(future._waiters == [] for future in futures)


def test_a_consumer_and_a_producer_in_the_standard_way():
    """`wait(FIRST_COMPLETED)` in a loop over a window of running futures."""
    numbers, window, seen = itertools.count(), set(), []
    to_do = []
    go_on = threading.Condition()

    def produce():
        finished = 0
        while finished < 1500:
            with go_on:
                assert go_on.wait_for(lambda: to_do, LIMIT)
                batch = [to_do.pop(0) for _ in range(len(to_do))]
            for number, future in batch:
                if number % 3 == 0:
                    native_end([future]) if native.DEBUG_BUILD else future.set_result(number)
                else:
                    future.set_result(number)
                finished += 1

    def consume():
        while len(seen) < 1500:
            while len(window) < 8 and (number := next(numbers)) < 1500:
                future = plait.Future()
                window.add(future)
                with go_on:
                    to_do.append((number, future))
                    go_on.notify()
            done, rest = cf.wait(window, LIMIT, cf.FIRST_COMPLETED)
            assert done
            seen.extend(done)
            window.intersection_update(rest)

    at_once(produce, consume)
    assert len(set(seen)) == 1500
