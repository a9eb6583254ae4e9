"""Exceptions of asyncio's tasks that nobody asks for, on plait's loop."""

import asyncio
import concurrent.futures
import gc
import logging

import pytest

import plait
from plait import _lost


async def failing():
    raise ValueError("boom")


async def run_them(count):
    tasks = [asyncio.create_task(failing(), name=f"T{number}") for number in range(count)]
    await asyncio.wait(tasks)
    return tasks


def test_a_loop_that_closes_reports_the_tasks_that_are_kept(lost):
    with asyncio.Runner(loop_factory=plait.new_event_loop) as runner:
        kept, asked = runner.run(run_them(2))
        assert str(asked.exception()) == "boom"
        other = plait.new_event_loop()
        other.close()
        assert lost == []
    (args,) = lost
    assert (args.name, args.filename) == ("T0 (failing)", __file__)
    first, second = args.message.splitlines()
    assert first == "Task exception was never retrieved"
    assert second.startswith("future: <Task finished name=")
    del kept, args
    gc.collect()
    assert len(lost) == 1


@pytest.mark.parametrize("way", ["dropped", "kept", "result", "exception", "callback", "wrapped"])
def test_a_coroutine_that_another_thread_submits(lost, way):
    async def serve():
        loop = asyncio.get_running_loop()
        future = await asyncio.to_thread(asyncio.run_coroutine_threadsafe, failing(), loop)
        assert isinstance(future, concurrent.futures.Future)
        assert repr(future).startswith("<Future at ")
        if way == "callback":
            future.add_done_callback(lambda ended: ended.exception())
        elif way == "wrapped":
            with pytest.raises(ValueError, match="boom"):
                await asyncio.wrap_future(future)
        await asyncio.to_thread(concurrent.futures.wait, [future])
        if way == "result":
            with pytest.raises(ValueError, match="boom"):
                future.result()
        elif way == "exception":
            assert str(future.exception()) == "boom"
        elif way == "kept":
            assert lost == []
        return future if way == "kept" else None

    with asyncio.Runner(loop_factory=plait.new_event_loop) as runner:
        kept = runner.run(serve())
    assert len(lost) == (way == "dropped")
    del kept
    gc.collect()
    assert [args.name for args in lost] == ["failing"] * (way in ("dropped", "kept"))


class Heard(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


@pytest.fixture
def asyncio_logger():
    logger = logging.getLogger("asyncio")
    before = logger.handlers[:], logger.filters[:], logger.level, logger.propagate
    yield logger
    logger.handlers[:], logger.filters[:], _, logger.propagate = before
    logger.setLevel(before[2])


def lose_a_task():
    with asyncio.Runner(loop_factory=plait.new_event_loop) as runner:
        runner.run(run_them(1))


def reports_of(caplog):
    return [record for record in caplog.records if record.name in ("plait.lost", "asyncio")]


def test_a_lost_task_is_logged_once_with_what_asyncio_says(caplog):
    lose_a_task()
    (record,) = reports_of(caplog)
    assert record.name == "plait.lost"
    first, second, third = record.getMessage().splitlines()
    assert first.startswith("T0 (failing), submitted at ")
    assert second == "Task exception was never retrieved"
    assert third.startswith("future: <Task finished name='T0' ")


def test_handlers_of_asyncios_logger_hear_what_they_would(caplog, asyncio_logger):
    heard, quiet = Heard(), Heard()
    quiet.setLevel(logging.CRITICAL)
    asyncio_logger.handlers[:] = [heard, quiet]
    lose_a_task()
    (record,) = heard.records
    assert (record.name, record.levelno) == ("asyncio", logging.ERROR)
    assert record.getMessage().startswith("Task exception was never retrieved\nfuture: <Task ")
    assert isinstance(record.exc_info[1], ValueError)
    assert quiet.records == []
    assert [record.name for record in reports_of(caplog)] == ["plait.lost"]
    asyncio_logger.propagate = False
    lose_a_task()
    assert len(heard.records) == 2
    assert len(reports_of(caplog)) == 1


@pytest.mark.parametrize("how", ["level", "filter"])
def test_what_asyncios_logger_drops_is_not_logged(caplog, asyncio_logger, how):
    if how == "level":
        asyncio_logger.setLevel(logging.CRITICAL)
    else:
        asyncio_logger.addFilter(lambda record: "never retrieved" not in record.getMessage())
    before = _lost.count()
    lose_a_task()
    assert reports_of(caplog) == []
    assert _lost.count() == before + 1
