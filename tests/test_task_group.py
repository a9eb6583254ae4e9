"""`plait.TaskGroup`: children of every kind, failures, deadlines; by `async with` and by `with`."""

# ruff: noqa: PT012, SIM117 - what raises is the end of a group's block

import asyncio
import concurrent.futures
import logging
import random
import sys
import threading
import time

import pytest
from tasks import block_signals, hang, timeouts, until

import plait

LIMIT = 60


def spin(begun=None):
    if begun is not None:
        begun.set()
    while True:
        pass


def hold(begun, go):
    begun.set()
    go.wait(LIMIT)


async def doze(begun=None):
    if begun is not None:
        begun.set()
    await asyncio.Event().wait()


async def add(a, b):
    await asyncio.sleep(0)
    return a + b


def fail(message):
    raise ValueError(message)


def notes(error):
    return "".join(getattr(error, "__notes__", ()))


# -- async with -------------------------------------------------------------


def test_children_of_every_kind():
    async def main():
        async with plait.TaskGroup() as group:
            task = group.create_task(add(1, 2))
            futures = [
                group.submit(add, 3, 4),
                group.submit(pow, 2, 3),
                group.submit(pow, 2, 4, on="process"),
                group.submit(pow, 2, 5, on="serial"),
                group.submit(add, 5, 6, on="process"),
            ]
            assert await futures[0] == 7
        assert isinstance(group, asyncio.TaskGroup)
        assert task.result() == 3
        return [future.result() for future in futures]

    assert plait.run(main()) == [7, 8, 16, 32, 11]
    assert asyncio.run(main()) == [7, 8, 16, 32, 11]


def test_an_empty_group():
    async def main():
        async with plait.TaskGroup(timeout=LIMIT):
            pass
        async with plait.TaskGroup(timeout=0):
            pass

    plait.run(main())
    with plait.TaskGroup(timeout=LIMIT):
        pass


@pytest.mark.parametrize("on", ["thread", "process", "serial"])
def test_the_first_failure_cancels_the_others(on):
    async def main():
        begun = threading.Event()
        with pytest.raises(ExceptionGroup) as caught:
            async with plait.TaskGroup() as group:
                coroutine = group.create_task(doze())
                thread = group.submit(spin, begun)
                while not begun.is_set():
                    await asyncio.sleep(0.001)
                group.submit(plait.task(fail, name="breaker"), "bad", on=on)
                await asyncio.Event().wait()
        (error,) = caught.value.exceptions
        assert (type(error), str(error)) == (ValueError, "bad")
        assert "In breaker, in a task group" in notes(error)
        if on == "process":
            assert "In worker process" in notes(error)
        assert coroutine.cancelled()
        assert type(thread.exception()) is plait.Killed

    plait.run(main())


def test_a_failure_that_the_block_awaits_too_is_one_error():
    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            async with plait.TaskGroup() as group:
                await group.submit(fail, "once")
        assert [str(error) for error in caught.value.exceptions] == ["once"]

    plait.run(main())


@pytest.mark.parametrize("on", ["thread", "process", "loop"])
def test_a_call_is_stopped_also_when_nothing_has_awaited_it(on):
    """A task that is cancelled before its first step never runs its coroutine."""
    calls = []

    async def main():
        async with plait.TaskGroup() as group:
            calls.append(group.submit(doze if on == "loop" else spin, on=on))
            raise LookupError("the block")

    with pytest.raises(ExceptionGroup) as caught:
        plait.run(main())
    assert [type(error) for error in caught.value.exceptions] == [LookupError]
    assert calls[0].done()
    with pytest.raises(concurrent.futures.CancelledError):
        calls[0].result()


def test_a_failure_of_the_block():
    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            async with plait.TaskGroup() as group:
                thread = group.submit(spin)
                while not thread.running():
                    await asyncio.sleep(0.001)
                raise KeyError("block")
        assert [type(error) for error in caught.value.exceptions] == [KeyError]
        assert type(thread.exception()) is plait.Killed

    plait.run(main())


def test_a_deadline_stops_every_kind_of_child(tmp_path):
    async def main(seconds):
        begun, files = [threading.Event(), threading.Event()], [tmp_path / "one", tmp_path / "two"]
        started = time.monotonic()
        with pytest.raises(plait.TaskTimeout) as caught:
            async with plait.TaskGroup(timeout=seconds, grace=seconds / 3) as group:
                coroutine = group.create_task(doze(), name="dozer")
                futures = [
                    group.submit(spin, begun[0], on=threads),
                    group.submit(hold, begun[1], go, on=threads),
                    group.submit(hang, files[0], on=processes),
                    group.submit(block_signals, files[1], on=processes),
                ]
        assert time.monotonic() - started >= seconds
        if not all(event.is_set() for event in begun) or not all(file.exists() for file in files):
            return None
        assert coroutine.cancelled()
        for name in ("dozer", "spin", "hold", "hang", "block_signals"):
            assert name in str(caught.value)
        errors = [future.exception(0) for future in futures]
        assert [type(error) for error in errors] == [plait.Killed] * 4
        return [(error.abandoned, error.worker_killed) for error in errors]

    expected = [(False, False), (True, False), (False, False), (False, True)]
    for seconds in timeouts(0.6):
        go = threading.Event()
        with plait.ProcessPoolExecutor(2) as processes, plait.ThreadPoolExecutor(2) as threads:
            for pool in (processes, threads):
                concurrent.futures.wait([pool.submit(pow, 2, 3) for _ in range(4)])
            found = plait.run(main(seconds))
            go.set()
        for file in (tmp_path / "one", tmp_path / "two"):
            file.unlink(missing_ok=True)
        # On a busy machine they had not begun, or not stopped within their grace.
        if found == expected:
            break


def test_a_deadline_in_a_group_that_fails_is_one_of_its_errors():
    async def main():
        async def fail_at_the_end():
            try:
                await doze()
            finally:
                raise ValueError("while stopped")

        with pytest.raises(ExceptionGroup) as caught:
            async with plait.TaskGroup(timeout=0.05) as group:
                group.create_task(fail_at_the_end())
        assert {type(error) for error in caught.value.exceptions} == {plait.TaskTimeout, ValueError}

    plait.run(main())


def test_a_deadline_interrupts_the_block():
    async def main():
        with pytest.raises(plait.TaskTimeout, match=r"timeout of 0.05 s passed"):
            async with plait.TaskGroup(timeout=0.05):
                await doze()
        # Nothing of it is left in the task.
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)

    plait.run(main())


def test_what_swallows_its_cancellation_is_named_and_cancelled_again(caplog):
    seen = []

    async def mule():
        while len(seen) < 3:
            try:
                await doze()
            except asyncio.CancelledError as error:
                seen.append(error)

    async def main():
        with pytest.raises(plait.TaskTimeout, match="timeout") as caught:
            async with plait.TaskGroup(timeout=0.02, grace=0.02) as group:
                group.create_task(mule(), name="mule")
        assert "mule" in notes(caught.value)

    with caplog.at_level(logging.WARNING, "plait"):
        plait.run(main())
    assert len(seen) == 3
    assert len([record for record in caplog.records if "mule" in record.message]) == 1


def test_a_cancel_from_outside_stops_the_children():
    async def main():
        begun = threading.Event()
        kept = []

        async def use():
            async with plait.TaskGroup() as group:
                kept.append(group.submit(spin, begun))

        task = asyncio.create_task(use())
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert type(kept[0].exception(0)) is plait.Killed

    plait.run(main())


def test_a_child_that_somebody_cancels_has_not_failed():
    async def main():
        async with plait.TaskGroup() as group:
            thread = group.submit(spin)
            while not thread.running():
                await asyncio.sleep(0.001)
            assert thread.cancel()
            other = group.submit(pow, 2, 3)
        assert type(thread.exception()) is plait.Killed
        assert other.result() == 8

    plait.run(main())


def test_a_foreign_executor_cannot_hold_up_the_end():
    go = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:

        async def main():
            with pytest.raises(plait.TaskTimeout):
                async with plait.TaskGroup(timeout=0.05, grace=0.05) as group:
                    return group.submit(go.wait, LIMIT, on=executor)

        begun = time.monotonic()
        plait.run(main())
        with pytest.raises(plait.TaskTimeout), plait.TaskGroup(timeout=0.05, grace=0.05) as group:
            future = group.submit(go.wait, LIMIT, on=executor)
        assert time.monotonic() - begun < LIMIT / 2
        go.set()
        assert future.cancelled() or future.result(LIMIT)


def test_groups_in_groups():
    async def outer_first():
        with pytest.raises(plait.TaskTimeout, match=r"timeout of 0.05 s"):
            async with plait.TaskGroup(timeout=0.05), plait.TaskGroup(timeout=LIMIT) as inner:
                inner.submit(doze)

    async def wrapped():
        with pytest.raises(ExceptionGroup) as caught:
            await main_wrapped()
        return caught.value

    async def main_wrapped():
        async with plait.TaskGroup(), plait.TaskGroup(timeout=0.05) as inner:
            inner.submit(doze)

    plait.run(outer_first())
    assert isinstance(plait.run(wrapped()).exceptions[0], plait.TaskTimeout)


def test_what_a_group_refuses():
    async def main():
        group = plait.TaskGroup()
        with pytest.raises(RuntimeError, match="enter the group"):
            group.submit(pow, 2, 3)
        async with group:
            with pytest.raises(TypeError, match="coroutine function"):
                group.submit(add, 1, 2, on="thread")
            with pytest.raises(TypeError, match="submit takes"):
                made = add(1, 2)
                try:
                    group.submit(made)
                finally:
                    made.close()
            refused = plait.submit(lambda: group.submit(pow, 2, 3))
            with pytest.raises(RuntimeError, match="in the thread of its event loop"):
                await refused
        with pytest.raises(RuntimeError):
            group.submit(pow, 2, 3)
        with pytest.raises(RuntimeError, match="async with"), plait.TaskGroup():
            pass

    plait.run(main())
    for wrong in ({"timeout": -1}, {"grace": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            plait.TaskGroup(**wrong)


# -- with ---------------------------------------------------------------------


def test_a_group_of_sync_code():
    with plait.TaskGroup(timeout=LIMIT) as group:
        futures = [
            group.submit(add, 1, 2),
            group.submit(pow, 2, 3),
            group.submit(pow, 2, 4, on="process"),
        ]
        assert futures[1].result(LIMIT) == 8
    assert [future.result(0) for future in futures] == [3, 8, 16]
    with pytest.raises(RuntimeError, match="takes no more"):
        group.submit(pow, 2, 3)
    with plait.TaskGroup() as group:
        made = add(1, 2)
        with pytest.raises(RuntimeError, match="submit the coroutine function"):
            group.create_task(made)


def test_a_failure_in_a_group_of_sync_code():
    begun = threading.Event()
    with pytest.raises(ExceptionGroup) as caught, plait.TaskGroup() as group:
        thread = group.submit(spin, begun)
        coroutine = group.submit(doze)
        assert begun.wait(LIMIT)
        group.submit(fail, "bad")
        with pytest.raises(concurrent.futures.CancelledError):
            thread.result(LIMIT)
    (error,) = caught.value.exceptions
    assert str(error) == "bad"
    assert "fail, in a task group" in notes(error)
    assert coroutine.done()


def test_a_deadline_in_a_group_of_sync_code(tmp_path):
    for timeout in timeouts(0.5):
        go = threading.Event()
        with pytest.raises(plait.TaskTimeout, match=rf"timeout of {timeout:g} s passed"):
            with plait.TaskGroup(timeout=timeout, grace=0.1) as group:
                futures = [
                    group.submit(spin),
                    group.submit(hold, threading.Event(), go),
                    group.submit(hang, tmp_path / "one", on="process"),
                    group.submit(doze),
                ]
                futures[0].result()
        assert all(future.done() for future in futures)
        go.set()
        # What is cancelled had not begun: the machine was busy.
        if not any(future.cancelled() for future in futures):
            break
    assert {type(future.exception()) for future in futures} == {plait.Killed}


def test_an_error_of_the_body_of_sync_code():
    with pytest.raises(ExceptionGroup) as caught, plait.TaskGroup() as group:
        thread = group.submit(spin)
        until(thread.running)
        raise KeyError("block")
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    assert type(thread.exception(0)) is plait.Killed
    with pytest.raises(KeyboardInterrupt), plait.TaskGroup() as group:
        thread = group.submit(spin)
        until(thread.running)
        raise KeyboardInterrupt
    assert type(thread.exception(0)) is plait.Killed


# -- any group ------------------------------------------------------------------


class Tree:
    """A tree of children of all kinds, of which each says how it began and ended."""

    def __init__(self, seed, path):
        self.random = random.Random(seed)
        self.path = path
        self.children = []

    async def grow(self, depth):
        draw = self.random
        timeout = draw.choice([None if depth else 0.5, 0.05, 0.2])
        async with plait.TaskGroup(timeout=timeout, grace=0.05) as group:
            for _ in range(draw.randrange(5)):
                kind = draw.choice(KINDS)
                if kind == "tree" and depth < 2:
                    self.children.append(group.create_task(self.grow(depth + 1)))
                elif kind == "spin":
                    self.children.append(group.submit(spin_for, draw.choice([0.01, LIMIT])))
                elif kind == "value":
                    self.children.append(group.submit(pow, 2, 3, on=draw.choice(PLACES)))
                elif kind == "raise":
                    self.children.append(group.submit(fail, "no", on=draw.choice(PLACES)))
                elif kind == "sleep":
                    self.children.append(group.submit(nap, draw.choice([0, 0.01, 0.3])))
                elif kind == "hang":
                    self.children.append(group.submit(spin_for, 0.3, on="process"))
                elif kind == "die":
                    self.children.append(group.submit(die, on="process"))
                else:
                    self.children.append(group.create_task(add(1, 2)))
                if draw.random() < 0.2 and self.children:
                    draw.choice(self.children).cancel()
                if draw.random() < 0.3:
                    await asyncio.sleep(0.01)


KINDS = ("sleep", "spin", "value", "raise", "hang", "die", "tree", "add")
PLACES = ("thread", "process", "serial")


def spin_for(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return seconds


async def nap(seconds):
    await asyncio.sleep(seconds)
    return seconds


def die():
    import os

    os._exit(3)


@pytest.mark.parametrize("seed", range(12))
def test_every_child_of_any_tree_is_accounted_for(seed, tmp_path):
    tree = Tree(seed, tmp_path)

    async def main():
        task = asyncio.create_task(tree.grow(0))
        if seed % 3 == 0:
            asyncio.get_running_loop().call_later(0.1, task.cancel)
        await asyncio.wait([task], timeout=LIMIT)
        assert task.done()
        if not task.cancelled():
            error = task.exception()
            assert error is None or isinstance(error, ExceptionGroup | plait.TaskTimeout)
        # At its end, nothing is under way.
        assert all(child.done() for child in tree.children)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    plait.run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no task is started eagerly")
def test_children_that_are_started_eagerly():
    async def now(value):
        return value

    async def fail(group=None):
        if group is not None:
            group.create_task(fail(), name="inner")
            await asyncio.sleep(LIMIT)
        raise ValueError

    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        async with plait.TaskGroup() as group:
            task = group.create_task(now(1))
            assert task.done()
            future = group.submit(now, 2)
        assert (task.result(), future.result()) == (1, 2)
        with pytest.raises(ExceptionGroup) as raised:
            async with plait.TaskGroup() as group:
                group.create_task(fail(), name="doomed")
        (error,) = raised.value.exceptions
        assert type(error) is ValueError
        assert any("doomed" in note for note in error.__notes__)
        # One whose own child ends the group, before it is a child itself.
        with pytest.raises(ExceptionGroup) as raised:
            async with plait.TaskGroup() as group:
                group.create_task(fail(group), name="outer").cancel()
        (error,) = raised.value.exceptions
        assert any("inner" in note for note in error.__notes__)

    plait.run(main())
