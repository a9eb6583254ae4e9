"""`native.Probe`: what a call cost the thread that made it."""

import threading
import time

import pytest

from plait._binding import native


def test_computing_is_cpu_time_of_the_thread_and_of_the_process():
    probe = native.Probe()
    probe.begin()
    until = time.thread_time() + 0.02
    while time.thread_time() < until:
        pass
    wall, cpu, queued, process_cpu, _ = probe.end()
    assert cpu >= 0.02
    # Two clocks: they agree but for the time between their readings, and for their rounding.
    assert process_cpu >= cpu * 0.9
    assert wall >= cpu * 0.9
    assert queued >= 0


def test_a_wait_is_a_pause_and_no_cpu_time():
    probe = native.Probe()
    probe.begin()
    time.sleep(0.02)
    wall, cpu, _, _, pauses = probe.end()
    assert wall >= 0.02
    assert cpu < wall
    assert pauses >= 1


def test_each_thread_has_its_own_accounts():
    spent = []

    def wait():
        probe = native.Probe()
        probe.begin()
        ready.set()
        go.wait()
        spent.append(probe.end())

    ready, go = threading.Event(), threading.Event()
    thread = threading.Thread(target=wait)
    thread.start()
    ready.wait()
    until = time.thread_time() + 0.05
    while time.thread_time() < until:
        pass
    go.set()
    thread.join()
    ((wall, cpu, _, process_cpu, _),) = spent
    assert wall >= 0.05
    assert process_cpu >= 0.045
    assert cpu < process_cpu


def test_a_probe_is_used_again_and_again():
    probe = native.Probe()
    for _ in range(3):
        probe.begin()
        assert len(probe.end()) == 5


def test_a_probe_that_did_not_begin_cannot_end():
    with pytest.raises(RuntimeError, match="before it began"):
        native.Probe().end()


def test_who_wants_a_core_beside_this_thread_is_counted():
    assert native.rivals() >= 0
