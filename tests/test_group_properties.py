"""What holds of any task group: every child is accounted for once, and nothing is left running."""

import asyncio
import os
import signal
import sys
import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tasks import LIMIT, until

import plait

GRACE = 0.05

KINDS = {
    "coroutine": ["return", "raise", "sleep", "swallow"],
    "thread": ["return", "raise", "sleep", "spin"],
    "process": ["return", "raise", "spin", "die"],
    "serial": ["return", "raise"],
}
children = st.one_of(
    *(st.tuples(st.just(kind), st.sampled_from(hows)) for kind, hows in KINDS.items())
)
# A list is a group in the group.
trees = st.recursive(
    st.lists(children, max_size=4),
    lambda inner: st.lists(st.one_of(children, inner), min_size=1, max_size=3),
    max_leaves=6,
)
# How a group with a child that does not end by itself comes to an end.
ends = st.tuples(st.sampled_from(["deadline", "cancel", "failure"]), st.floats(0, 0.2))


class Failed(Exception):
    """What children raise."""


class Ledger:
    """Which coroutines have begun, and which have ended."""

    def __init__(self):
        self.begun = self.ended = 0

    def __enter__(self):
        self.begun += 1

    def __exit__(self, *_):
        self.ended += 1


async def coroutine(ledger, how):
    with ledger:
        if how == "raise":
            raise Failed
        if how == "sleep":
            await asyncio.Event().wait()
        if how == "swallow":
            end = time.monotonic() + 3 * GRACE
            while time.monotonic() < end:
                try:
                    await asyncio.sleep(GRACE / 4)
                except asyncio.CancelledError:
                    continue
        return "value"


def in_thread(how):
    if how == "raise":
        raise Failed
    if how == "sleep":
        time.sleep(2 * GRACE)
    while how == "spin":
        pass
    return "value"


def runs_in_thread():
    """Whether that runs anywhere. It cannot tell by itself: it may be stopped at any bytecode."""
    for frame in sys._current_frames().values():
        while frame is not None:
            if frame.f_code is in_thread.__code__:
                return True
            frame = frame.f_back
    return False


def in_process(how):
    if how == "raise":
        raise Failed
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    while how == "spin":
        pass
    return "value"


def flat(tree):
    for child in tree:
        if isinstance(child, list):
            yield from flat(child)
        else:
            yield child


def leaves(error):
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from leaves(member)
    else:
        yield error


def submit(group, kind, how):
    if kind == "thread":
        return group.submit(in_thread, how, on="thread")
    if kind == "process":
        return group.submit(in_process, how, on="process")
    return group.submit(in_thread, how, on="serial")


def check(futures, caught, tree):
    """Every child has ended, once, and what left the group is theirs."""
    expected = {Failed, plait.TaskTimeout, plait.WorkerDied}
    for future in futures:
        assert future.done()
        if isinstance(future, asyncio.Task) or future.cancelled():
            continue
        error = future.exception()
        assert error is None or type(error) in expected | {plait.Killed}
    found = list(leaves(caught)) if caught is not None else []
    assert {type(error) for error in found} <= expected
    assert len({id(error) for error in found}) == len(found)
    failing = [how for _, how in flat(tree) if how in ("raise", "die")]
    hanging = [how for _, how in flat(tree) if how in ("spin", "sleep", "swallow")]
    if not failing and not hanging:
        assert caught is None
        assert all(future.result() == "value" for future in futures)
    # Those that fail and have not been stopped before are all there.
    own = [
        future.exception()
        for future in futures
        if not future.cancelled() and isinstance(future.exception(), Failed | plait.WorkerDied)
    ]
    assert {id(error) for error in own} <= {id(error) for error in found}


@settings(
    max_examples=int(os.environ.get("PLAIT_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(tree=trees, end=ends)
def test_any_tree_with_a_loop(tree, end):
    ledger, futures = Ledger(), []
    how, seconds = end

    async def enter(tree, limit):
        async with plait.TaskGroup(timeout=limit, grace=GRACE) as group:
            for child in tree:
                if isinstance(child, list):
                    futures.append(group.create_task(enter(child, None)))
                elif child[0] == "coroutine":
                    futures.append(group.create_task(coroutine(ledger, child[1])))
                else:
                    futures.append(submit(group, *child))

    async def main():
        try:
            if how == "cancel":
                # What runs into that is cancelled from outside.
                async with asyncio.timeout(seconds):
                    await enter(tree, LIMIT)
            elif how == "failure":
                async with plait.TaskGroup(grace=GRACE) as group:
                    group.create_task(enter(tree, None))
                    await asyncio.sleep(seconds)
                    raise Failed
            else:
                await enter(tree, seconds)
        except TimeoutError as error:
            return error if isinstance(error, plait.TaskTimeout) else None
        except BaseExceptionGroup as error:
            return error
        return None

    begun = time.monotonic()
    caught = plait.run(main())
    assert time.monotonic() - begun < LIMIT
    assert ledger.begun == ledger.ended
    until(lambda: not runs_in_thread(), "the end of all threads' calls")
    for future in futures:
        assert future.done()
    if how == "failure":
        assert any(isinstance(error, Failed) for error in leaves(caught))
    kinds = {type(error) for error in leaves(caught)} if caught is not None else set()
    assert kinds <= {Failed, plait.TaskTimeout, plait.WorkerDied}


@settings(
    max_examples=int(os.environ.get("PLAIT_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    tree=st.lists(children.filter(lambda child: child[0] != "coroutine"), max_size=5),
    seconds=st.floats(0, 0.2),
)
def test_any_group_in_sync_code(tree, seconds):
    futures, caught = [], None
    try:
        with plait.TaskGroup(timeout=seconds, grace=GRACE) as group:
            for child in tree:
                try:
                    futures.append(submit(group, *child))
                except RuntimeError as error:
                    assert "is ending" in str(error)  # noqa: PT017 - it may come or not
    except (TimeoutError, BaseExceptionGroup) as error:
        caught = error
    until(lambda: not runs_in_thread(), "the end of all threads' calls")
    check(futures, caught, tree if len(futures) == len(tree) and caught is None else [("", "spin")])


def test_nothing_is_left_in_the_default_pools():
    """What the groups above have stopped has left the pools as they were."""
    assert plait.submit(pow, 2, 5, on="process").result(LIMIT) == 32
    assert plait.submit(pow, 2, 5, on="thread").result(LIMIT) == 32
