"""`Handle` and `TimerHandle`: what `call_soon` and its family return."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import greenlet
import pytest

import plait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def loop() -> Iterator[plait.EventLoop]:
    loop = plait.new_event_loop()
    yield loop
    loop.close()


class Thing:
    """Something that can be watched going away."""

    held: object = None


def run_once(loop: plait.EventLoop) -> None:
    loop.call_soon(loop.stop)
    loop.run_forever()


def test_are_asyncio_handles_to_isinstance(loop: plait.EventLoop) -> None:
    soon, later = loop.call_soon(print), loop.call_later(9, print)
    assert isinstance(soon, asyncio.Handle)
    assert not isinstance(soon, asyncio.TimerHandle)
    assert isinstance(later, asyncio.TimerHandle)
    assert (type(soon).__name__, type(later).__name__) == ("Handle", "TimerHandle")


@pytest.mark.parametrize("count", range(8))
def test_pass_any_number_of_arguments(loop: plait.EventLoop, count: int) -> None:
    seen: list[tuple[int, ...]] = []
    args = tuple(range(count))
    handle = loop.call_soon(lambda *args: seen.append(args), *args)
    assert handle._args == args
    run_once(loop)
    assert seen == [args]


def test_take_their_arguments_by_name_too(loop: plait.EventLoop) -> None:
    seen: list[str] = []
    loop.call_soon(callback=lambda: seen.append("soon"))
    loop.call_later(delay=0, callback=lambda: seen.append("later"))
    loop.call_at(when=0, callback=lambda: seen.append("at"))
    run_once(loop)
    assert sorted(seen) == ["at", "later", "soon"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda loop: loop.call_soon(),
        lambda loop: loop.call_later(1),
        lambda loop: loop.call_later(None, print),
        lambda loop: loop.call_at(None, print),
        lambda loop: loop.call_later("1", print),
        lambda loop: loop.call_soon(print, key=1),
        lambda loop: loop.call_soon(print, callback=print),
        lambda loop: plait.EventLoop.call_soon(object(), print),
        lambda loop: type(loop.call_soon(print))(),
    ],
)
def test_wrong_calls_are_type_errors(loop: plait.EventLoop, wrong: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError):
        wrong(loop)


def test_the_given_context_is_the_callbacks(loop: plait.EventLoop) -> None:
    variable = contextvars.ContextVar("variable", default="outside")
    context = contextvars.copy_context()
    context.run(variable.set, "inside")
    seen: list[str] = []
    handle = loop.call_soon(lambda: seen.append(variable.get()), context=context)
    assert handle.get_context() is context
    loop.call_soon(lambda: seen.append(variable.get()), context=None)
    run_once(loop)
    assert seen == ["inside", "outside"]


def test_cancelling_lets_go_of_the_call(loop: plait.EventLoop) -> None:
    thing = Thing()
    gone = weakref.ref(thing)
    handle = loop.call_soon(print, thing)
    timer = loop.call_later(9, print, thing)
    del thing
    for each in (handle, timer):
        assert not each.cancelled()
        each.cancel()
        each.cancel()
        assert each.cancelled()
        assert "cancelled" in repr(each)
    assert gone() is None


def test_a_callback_may_cancel_its_own_handle(loop: plait.EventLoop) -> None:
    seen: list[object] = []
    handles: list[asyncio.Handle] = []

    def callback(thing: object) -> None:
        handles.pop().cancel()
        gc.collect()
        seen.append(thing)

    handles.append(loop.call_soon(callback, ["alive"]))
    run_once(loop)
    assert seen == [["alive"]]


def test_a_long_chain_of_handles_is_freed_without_recursion() -> None:
    loop = plait.new_event_loop()
    handle = None
    for _ in range(200_000):
        handle = loop.call_soon(print, handle)
    loop.close()
    last = weakref.ref(handle)
    del handle
    assert last() is None


@pytest.mark.parametrize("parked", ["thread", "greenlet"])
def test_a_destructor_that_is_held_up_keeps_no_other_handle(parked: str) -> None:
    if parked == "greenlet" and "libasan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("greenlets copy stacks, which the sanitizer takes for an error")
    loop = plait.new_event_loop()
    entered, goes_on = threading.Event(), threading.Event()

    class Waits:
        def __del__(self) -> None:
            entered.set()
            if parked == "greenlet":
                greenlet.getcurrent().parent.switch()
            else:
                goes_on.wait(30)

    handles = [loop.call_soon(print, Waits())]
    chain = weakref.ref(last := Thing())
    handle = loop.call_soon(print, last)
    for _ in range(200):
        handle = loop.call_soon(print, handle)
    loop.close()
    if parked == "greenlet":
        other = greenlet.greenlet(handles.clear)
        other.switch()
    else:
        thread = threading.Thread(target=handles.clear)
        thread.start()
    assert entered.wait(30)
    del handle, last
    gone = chain() is None
    if parked == "greenlet":
        other.switch()
    else:
        goes_on.set()
        thread.join()
    assert gone


@pytest.mark.parametrize("schedule", ["call_soon", "call_later"])
def test_a_cycle_through_a_handle_is_collected(schedule: str) -> None:
    loop = plait.new_event_loop()
    thing = Thing()
    gone = weakref.ref(thing)
    first = (9,) if schedule == "call_later" else ()
    thing.held = getattr(loop, schedule)(*first, lambda thing: None, thing)
    loop.close()
    del thing
    gc.collect()
    assert gone() is None


def test_a_thousand_of_each_leave_nothing() -> None:
    loop = plait.new_event_loop()
    things = [Thing() for _ in range(1000)]
    gone = [weakref.ref(thing) for thing in things]
    for thing in things:
        thing.held = (
            loop.call_soon(thing.__init__),  # type: ignore[misc]
            loop.call_later(9, lambda thing=thing: thing),
            loop.call_soon(print, thing, 1, 2, 3, 4).cancel(),
        )
    loop.close()
    del things, thing
    gc.collect()
    assert [ref for ref in gone if ref() is not None] == []


def test_timers_compare_by_time_and_equal_only_themselves(loop: plait.EventLoop) -> None:
    early, late = loop.call_at(1e9, print), loop.call_at(2e9, print)
    assert early < late
    assert late >= early
    assert early == early
    assert early != loop.call_at(1e9, print)
    assert hash(early) == hash(early.when())
    assert early != 1e9
    with pytest.raises(TypeError):
        assert early < 3


def test_say_what_they_call(loop: plait.EventLoop) -> None:
    assert "run_once" in repr(loop.call_soon(run_once, loop))
    assert "when=" in repr(loop.call_later(9, print))
    loop.set_debug(True)
    handle = loop.call_soon(run_once, loop)
    assert "created at" in repr(handle)
    handle.cancel()


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_show_themselves_as_asyncio_does(debug: bool) -> None:
    def show(loop: asyncio.AbstractEventLoop) -> list[str]:
        loop.set_debug(debug)
        secret = functools.partial(print, "key", end="")
        made = [loop.call_soon(run_once, "argument"), loop.call_at(1e9, run_once, 1, 2, 3, 4)]
        made.append(loop.call_soon(secret, 1))
        shown = list(map(repr, made))
        for each in made:
            each.cancel()
            each.cancel()
        shown += map(repr, made)
        loop.close()
        return shown

    theirs = show(asyncio.SelectorEventLoop())
    assert show(plait.new_event_loop()) == theirs
    assert ("argument" in "".join(theirs)) == (debug or sys.version_info < (3, 13))


def test_weak_references_hear_of_their_end(loop: plait.EventLoop) -> None:
    heard: list[object] = []
    reference = weakref.ref(loop.call_soon(bool), heard.append)
    run_once(loop)
    assert heard == [reference]


@pytest.mark.parametrize("other", [False, True])
def test_a_watch_whose_handle_was_cancelled_ends_with_its_next_event(run, pair, other):
    """The event would come again and again: nobody reads."""

    async def main():
        loop = asyncio.get_running_loop()
        ours, theirs = pair
        written = loop.create_future()
        handle = loop._add_reader(ours, pytest.fail)
        handle.cancel()
        assert loop.remove_reader(ours)
        handle = loop._add_reader(ours, pytest.fail)
        handle.cancel()
        if other:
            loop.add_writer(ours, lambda: written.done() or written.set_result(None))
        theirs.send(b"1")
        # The loop asks for events twice, at least.
        for _ in range(3):
            await asyncio.sleep(0)
        assert not loop.remove_reader(ours)
        if other:
            await written
            assert loop.remove_writer(ours)
        loop.add_reader(ours, lambda: (loop.remove_reader(ours), done.set_result(None)))
        done = loop.create_future()
        await done

    run(main())
