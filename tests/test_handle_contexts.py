"""The contexts that callbacks run in: each its own, as asyncio gives them.

plait shares what is equal; every case runs under asyncio's own loop too.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import threading
import weakref
from typing import TYPE_CHECKING

import greenlet
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VARIABLE = contextvars.ContextVar("VARIABLE", default="outside")


def run_once(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon(loop.stop)
    loop.run_forever()


def test_what_a_callback_sets_no_other_sees(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[str] = []

    def look_and_set(name: str) -> None:
        seen.append(VARIABLE.get())
        VARIABLE.set(name)
        # What it schedules now has what it has set.
        loop.call_soon(lambda: seen.append(VARIABLE.get()))

    for name in ("one", "two"):
        loop.call_soon(look_and_set, name)
        loop.call_soon(lambda: seen.append(VARIABLE.get()))
    run_once(loop)
    run_once(loop)
    assert seen == ["outside"] * 4 + ["one", "two"]
    assert VARIABLE.get() == "outside"


def test_what_is_set_between_two_calls_only_the_second_sees(
    loop: asyncio.AbstractEventLoop,
) -> None:
    seen: list[str] = []

    def schedule() -> None:
        for name in ("one", "two"):
            loop.call_soon(lambda: seen.append(VARIABLE.get()))
            VARIABLE.set(name)
        loop.call_later(0, lambda: seen.append(VARIABLE.get()))
        loop.call_later(0, loop.stop)

    loop.call_soon(schedule)
    loop.run_forever()
    assert seen == ["outside", "one", "two"]


def test_a_chain_of_callbacks_inherits_what_each_sets(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[str] = []

    def step(left: int) -> None:
        seen.append(VARIABLE.get())
        if left % 2:
            VARIABLE.set(f"set at {left}")
        if left:
            loop.call_soon(step, left - 1)
        else:
            loop.stop()

    loop.call_soon(step, 6)
    loop.run_forever()
    assert seen == ["outside"] * 2 + ["set at 5"] * 2 + ["set at 3"] * 2 + ["set at 1"]


def test_a_token_is_of_one_callback(loop: asyncio.AbstractEventLoop) -> None:
    tokens: list[contextvars.Token[str]] = []
    refused: list[BaseException | None] = []
    loop.set_exception_handler(lambda _, context: refused.append(context.get("exception")))
    # The same object as before: the variables are the very same ones then.
    value = VARIABLE.get()
    outer = VARIABLE.set(value)
    try:
        loop.call_soon(lambda: tokens.append(VARIABLE.set(value)))
        loop.call_soon(lambda: VARIABLE.reset(tokens[0]))
        loop.call_soon(bool)
        run_once(loop)
    finally:
        VARIABLE.reset(outer)
    assert [type(error) for error in refused] == [ValueError]


def test_a_handle_shows_the_context_of_its_callback(loop: asyncio.AbstractEventLoop) -> None:
    handles: list[asyncio.Handle] = []
    contexts: list[contextvars.Context] = []

    def callback() -> None:
        contexts.append(get_context(handles[1]))
        VARIABLE.set("inside")

    handles += [loop.call_soon(callback) for _ in range(2)]
    before = get_context(handles[0])
    run_once(loop)
    during = contexts[0]
    assert get_context(handles[0]) is before
    assert before[VARIABLE] == "inside"
    assert during is get_context(handles[1]) is contexts[1]
    assert during[VARIABLE] == "inside"
    assert before is not during
    assert VARIABLE not in contextvars.copy_context()


def test_a_context_shown_is_the_one_that_is_entered(loop: asyncio.AbstractEventLoop) -> None:
    handles = [loop.call_soon(VARIABLE.set, str(number)) for number in range(3)]
    get_context(handles[1]).run(VARIABLE.set, "outside of it")
    assert get_context(handles[1])[VARIABLE] == "outside of it"
    run_once(loop)
    assert [get_context(handle)[VARIABLE] for handle in handles] == ["0", "1", "2"]


def test_a_reader_keeps_what_it_sets(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[str] = []
    first, second = os.pipe()

    def readable() -> None:
        seen.append(VARIABLE.get())
        if len(seen) == 2:
            VARIABLE.set("set by the reader")
        if len(seen) == 4:
            loop.remove_reader(first)
            loop.stop()

    try:
        os.write(second, b"ready for ever")
        loop.add_reader(first, readable)
        loop.run_forever()
    finally:
        os.close(first)
        os.close(second)
    assert seen == ["outside", "outside", "set by the reader", "set by the reader"]


def test_another_thread_brings_its_own_variables(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[str] = []

    def other() -> None:
        loop.call_soon_threadsafe(lambda: seen.append(VARIABLE.get()))
        VARIABLE.set("other thread")
        loop.call_soon_threadsafe(lambda: seen.append(VARIABLE.get()))

    def main() -> None:
        VARIABLE.set("main")
        loop.call_soon(lambda: seen.append(VARIABLE.get()))
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        loop.call_soon(lambda: seen.append(VARIABLE.get()))
        loop.call_soon(loop.stop)

    loop.call_soon(main)
    loop.run_forever()
    assert seen == ["main", "outside", "other thread", "main"]


def test_a_context_run_inside_a_callback_counts(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[str] = []

    def look() -> None:
        seen.append(VARIABLE.get())

    def callback() -> None:
        context = contextvars.copy_context()
        context.run(VARIABLE.set, "inner")
        loop.call_soon(look)
        context.run(loop.call_soon, look)
        loop.call_soon(look)
        loop.call_soon(loop.stop)

    loop.call_soon(callback)
    loop.run_forever()
    assert seen == ["outside", "inner", "outside"]


def test_an_error_is_handled_outside_of_the_callbacks_variables(
    loop: asyncio.AbstractEventLoop,
) -> None:
    seen: list[str] = []

    def fail() -> None:
        VARIABLE.set("failing")
        raise RuntimeError("on purpose")

    def handler(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        handle = context["handle"]
        assert isinstance(handle, asyncio.Handle)
        seen.append(get_context(handle)[VARIABLE])

    loop.set_exception_handler(handler)
    loop.call_soon(fail)
    loop.call_soon(lambda: seen.append(VARIABLE.get()))
    run_once(loop)
    assert seen == ["failing", "outside"]


@pytest.mark.parametrize("schedule", ["soon", "later"])
def test_values_go_with_the_last_callback_that_has_them(
    loop: asyncio.AbstractEventLoop, schedule: str
) -> None:
    class Value(str):
        handle: asyncio.Handle

    gone: list[weakref.ref[Value]] = []

    def callback() -> None:
        value = Value("inside")
        gone.append(weakref.ref(value))
        VARIABLE.set(value)
        call = loop.call_soon if schedule == "soon" else later(loop)
        for _ in range(3):
            # A cycle: the value has the handle, whose context has the value.
            value.handle = call(bool)
        call(loop.stop)

    loop.call_soon(callback)
    loop.run_forever()
    gc.collect()
    assert gone[0]() is None


def test_values_go_while_the_loop_waits(loop: asyncio.AbstractEventLoop) -> None:
    class Value(str):
        pass

    gone: list[weakref.ref[Value]] = []

    def callback() -> None:
        value = Value("inside")
        gone.append(weakref.ref(value))
        VARIABLE.set(value)
        for _ in range(3):
            loop.call_soon(bool)

    async def main() -> None:
        loop.call_soon(callback)
        await asyncio.sleep(0.001)
        gc.collect()
        assert gone[0]() is None

    loop.run_until_complete(main())


class Intruder:
    """What the collector ends at the next allocation that may call it: as good as any code."""

    def __init__(self, intrude: Callable[[], object]) -> None:
        self.cycle = self
        self.intrude = intrude

    def __del__(self) -> None:
        self.intrude()


@pytest.fixture
def contexts_are_allocated() -> Iterator[None]:
    """Have the interpreter allocate each context, and give the thresholds of the collector back."""
    thresholds = gc.get_threshold()
    kept = [contextvars.copy_context() for _ in range(300)]
    yield
    gc.enable()
    gc.set_threshold(*thresholds)
    del kept


def let_in(intrude: Callable[[], object]) -> None:
    """Have the collector come with the next allocation of an object that it knows."""
    gc.disable()
    Intruder(intrude)
    gc.set_threshold(1)


@pytest.mark.usefixtures("contexts_are_allocated")
def test_a_handle_asked_for_its_context_while_it_makes_it_has_one(
    loop: asyncio.AbstractEventLoop,
) -> None:
    handles = [loop.call_soon(bool) for _ in range(2)]
    seen: list[contextvars.Context] = []
    let_in(lambda: seen.append(get_context(handles[0])))
    gc.enable()
    # The attribute, for a call of ours would allocate first.
    context = handles[0]._context  # type: ignore[attr-defined]
    gc.collect()
    assert len(seen) == 1
    assert context is seen[0] is get_context(handles[0])
    assert context is not get_context(handles[1])
    run_once(loop)


@pytest.mark.usefixtures("contexts_are_allocated")
def test_a_handle_asked_while_its_working_context_is_made_runs_in_the_one_it_showed(
    loop: asyncio.AbstractEventLoop,
) -> None:
    handles: list[asyncio.Handle] = []
    seen: list[contextvars.Context] = []
    ran: list[str] = []

    def arm() -> None:
        # Its own from here on, so that the next callback needs a new one.
        VARIABLE.set("armed")
        let_in(lambda: seen.append(get_context(handles[1])))
        gc.enable()

    def callback() -> None:
        ran.append(VARIABLE.get())
        VARIABLE.set("set by the callback")

    handles += [loop.call_soon(arm), loop.call_soon(callback), loop.call_soon(bool)]
    run_once(loop)
    gc.collect()
    assert len(seen) == 1
    assert get_context(handles[1]) is seen[0]
    assert seen[0][VARIABLE] == "set by the callback"
    assert ran == ["outside"]
    # Released once too often, it would be gone, or another's by now.
    assert VARIABLE not in get_context(handles[2])
    assert get_context(handles[0])[VARIABLE] == "armed"


def test_a_context_that_was_not_left_serves_no_other_callback(
    loop: asyncio.AbstractEventLoop,
) -> None:
    ran: list[int] = []
    # What is reported, and where, differs from version to version.
    loop.set_exception_handler(lambda *_: None)
    thread = greenlet.getcurrent()

    def callback(number: int) -> None:
        ran.append(number)
        if number == 1:
            thread.gr_context = contextvars.Context()

    for number in range(4):
        loop.call_soon(callback, number)
    loop.call_soon(loop.stop, context=contextvars.Context())
    loop.run_forever()
    thread.gr_context = None
    assert ran == [0, 1, 2, 3]


def get_context(handle: asyncio.Handle) -> contextvars.Context:
    # A method from 3.12 on.
    return handle._context  # type: ignore[attr-defined, no-any-return]


def later(loop: asyncio.AbstractEventLoop) -> Callable[..., asyncio.TimerHandle]:
    return lambda *call: loop.call_later(0, *call)
