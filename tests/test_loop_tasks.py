"""What a loop makes: tasks and futures, as asyncio's own loop makes them."""

from __future__ import annotations

import asyncio
import contextvars
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
