"""What a loop makes: tasks and futures, as asyncio's own loop makes them."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from typing import TYPE_CHECKING, Any

import pytest

import plait

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = contextvars.ContextVar("VARIABLE", default="outside")


async def nothing() -> None:
    pass


async def value() -> str:
    return VARIABLE.get()


def test_a_task_has_the_name_that_it_is_given(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> None:
        tasks = [
            loop.create_task(nothing(), name="name"),
            loop.create_task(nothing(), **{"na" + "me": 5}),  # type: ignore[arg-type]
            loop.create_task(nothing(), name=None),
            loop.create_task(nothing()),
        ]
        names = [task.get_name() for task in tasks]
        assert names[:2] == ["name", "5"]
        assert [name.startswith("Task-") for name in names[2:]] == [True, True]
        assert {type(task) for task in tasks} == {asyncio.Task}
        assert {task.get_loop() for task in tasks} == {loop}
        await asyncio.gather(*tasks)

    loop.run_until_complete(main())


def test_a_task_has_the_context_that_it_is_given(loop: asyncio.AbstractEventLoop) -> None:
    context = contextvars.copy_context()
    context.run(VARIABLE.set, "inside")

    async def main() -> None:
        task = loop.create_task(value(), context=context)
        assert await task == "inside"
        assert await loop.create_task(value(), name="name", context=None) == "outside"

    loop.run_until_complete(main())


def test_a_factory_gets_what_was_given(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[tuple[object, dict[str, Any]]] = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        seen.append((loop, options))
        return asyncio.Task(coro, loop=loop, **options)

    async def main() -> None:
        loop.set_task_factory(factory)
        await loop.create_task(nothing())
        await loop.create_task(nothing(), context=contextvars.copy_context())
        loop.set_task_factory(None)
        await loop.create_task(nothing())

    loop.run_until_complete(main())
    assert [with_loop is loop for with_loop, _ in seen] == [True, True]
    assert [set(options) - {"name"} for _, options in seen] == [set(), {"context"}]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda loop, coro: loop.create_task(),
        lambda loop, coro: loop.create_task(coro, "name"),
        lambda loop, coro: loop.create_task(coro, strange=1),
        lambda loop, coro: loop.create_task(lambda: coro),
        lambda loop, coro: loop.create_future(1),
    ],
)
def test_wrong_calls_are_type_errors(
    loop: asyncio.AbstractEventLoop, wrong: Callable[[Any, Any], object]
) -> None:
    coro = nothing()
    with pytest.raises(TypeError):
        wrong(loop, coro)
    coro.close()


def test_a_closed_loop_makes_no_task(loop: asyncio.AbstractEventLoop) -> None:
    loop.close()
    coro = nothing()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.create_task(coro)
    coro.close()


def test_debug_mode_notes_where_a_task_was_made(loop: asyncio.AbstractEventLoop) -> None:
    loop.set_debug(True)
    assert loop.get_debug() is True
    task = loop.create_task(nothing())
    # Not the frame of `create_task` itself.
    assert task._source_traceback[-1].filename == __file__  # type: ignore[attr-defined]
    loop.run_until_complete(task)
    loop.set_debug(False)
    assert loop.get_debug() is False
    task = loop.create_task(nothing())
    assert task._source_traceback is None  # type: ignore[attr-defined]
    loop.run_until_complete(task)


def test_replaced_classes_are_used(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Task(asyncio.Task[Any]):
        pass

    class Future(asyncio.Future[Any]):
        pass

    monkeypatch.setattr("asyncio.tasks.Task", Task)
    monkeypatch.setattr("asyncio.futures.Future", Future)
    task = loop.create_task(nothing())
    assert type(task) is Task
    assert type(loop.create_future()) is Future
    loop.run_until_complete(task)


def test_a_subclass_may_extend_what_makes_a_task() -> None:
    class Loop(plait.EventLoop):
        made = 0

        def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
            self.made += 1
            return super().create_task(coro, **options)

    async def main() -> str:
        return await asyncio.create_task(value(), name="name")

    with asyncio.Runner(loop_factory=Loop) as runner:
        assert runner.run(main()) == "outside"
        loop = runner.get_loop()
        assert isinstance(loop, Loop)
        assert loop.made == 2


needs_eager_tasks = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="asyncio has eager tasks from 3.12 on"
)


@needs_eager_tasks
def test_eager_tasks_begin_at_once(loop: asyncio.AbstractEventLoop) -> None:
    loop.set_task_factory(asyncio.eager_task_factory)
    seen: list[str] = []
    first: asyncio.Task[Any] | None = None

    async def blocks(name: str) -> str:
        assert asyncio.current_task() is not first
        seen.append(f"{name} began")
        await asyncio.sleep(0)
        seen.append(f"{name} went on")
        return name

    async def main() -> None:
        nonlocal first
        first = asyncio.current_task()
        assert first is not None
        done = loop.create_task(value())
        # It waits for nothing, so it was never scheduled.
        assert done.done()
        assert done.result() == "outside"
        task = loop.create_task(blocks("a"), name="first")
        assert seen == ["a began"]
        assert asyncio.current_task() is first
        assert task.get_name() == "first"
        assert asyncio.all_tasks() >= {task}
        other = asyncio.create_task(blocks("b"), name="second")
        assert await asyncio.gather(task, other) == ["a", "b"]
        assert seen[1:] == ["b began", "a went on", "b went on"]

    loop.run_until_complete(main())


@needs_eager_tasks
def test_eager_tasks_have_their_context_and_their_errors(loop: asyncio.AbstractEventLoop) -> None:
    loop.set_task_factory(asyncio.eager_task_factory)
    context = contextvars.copy_context()
    context.run(VARIABLE.set, "inside")

    async def change() -> str:
        before = VARIABLE.get()
        VARIABLE.set("changed")
        return before

    async def fail() -> None:
        raise LookupError

    async def stop(group: asyncio.TaskGroup) -> None:
        group.create_task(asyncio.sleep(1000))
        group.create_task(fail())

    async def main() -> None:
        assert loop.create_task(value(), context=context).result() == "inside"
        # In a context of its own, where none is given.
        assert loop.create_task(change()).result() == "outside"
        assert VARIABLE.get() == "outside"
        failed = loop.create_task(fail())
        assert isinstance(failed.exception(), LookupError)
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(stop(group))
        assert caught.group_contains(LookupError)
        task = loop.create_task(asyncio.sleep(1000))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    loop.run_until_complete(main())


@needs_eager_tasks
def test_a_class_of_ones_own_may_be_eager(loop: asyncio.AbstractEventLoop) -> None:
    class Task(asyncio.Task[Any]):
        pass

    loop.set_task_factory(asyncio.create_eager_task_factory(Task))

    async def main() -> None:
        task = asyncio.create_task(value())
        assert type(task) is Task
        assert task.done()

    loop.run_until_complete(main())
