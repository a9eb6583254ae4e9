"""Log records of workers reach the handlers of the process that made the pool."""

import logging
import logging.handlers
import multiprocessing
import os
import threading
import warnings

import pytest

import plait

LIMIT = 60
NAME = "plait.test.logging"


class Kept(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def kept():
    logger = logging.getLogger(NAME)
    handler = Kept()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


def logged(fn, *args, **options):
    """Run a task that logs, and wait until its records have been handled."""
    with plait.ProcessPoolExecutor(1) as pool:
        return pool.submit(fn, *args, **options).result(LIMIT)


def say(text, *args, **options):
    logging.getLogger(NAME).log(options.pop("level", logging.INFO), text, *args, **options)
    return os.getpid()


def test_a_record_arrives_as_it_was_made(kept):
    pid = logged(say, "%s and %d", "text", 7)
    (record,) = kept.records
    assert record.getMessage() == "text and 7"
    assert (record.name, record.levelno, record.levelname) == (NAME, logging.INFO, "INFO")
    assert (record.process, record.funcName) == (pid, "say")
    assert record.processName.startswith("plait-worker-")
    assert record.pathname == __file__


def test_levels_of_the_parent_hold_in_the_worker(kept):
    logged(say, "too little", level=logging.DEBUG)
    assert kept.records == []


def test_the_level_of_the_parent_as_it_is_now(kept):
    with plait.ProcessPoolExecutor(1) as pool:
        logging.getLogger(NAME).setLevel(logging.ERROR)
        pool.submit(say, "was enough").result(LIMIT)
        pool.submit(say, "is enough", level=logging.ERROR).result(LIMIT)
    assert kept.messages() == ["is enough"]


def fail():
    try:
        raise KeyError("the reason")
    except KeyError:
        logging.getLogger(NAME).exception("went wrong", stack_info=True)


def test_tracebacks_travel_as_text(kept):
    logged(fail)
    (record,) = kept.records
    assert record.exc_info is None
    text = logging.Formatter("%(levelname)s %(message)s").format(record)
    assert text.startswith("ERROR went wrong\nTraceback (most recent call last):")
    assert "KeyError: 'the reason'" in text
    assert "Stack (most recent call last)" in text


class Stubborn:
    def __reduce__(self):
        raise TypeError("stays here")

    def __repr__(self):
        return "<stubborn>"


class Hopeless(Stubborn):
    def __repr__(self):
        raise ValueError("not even this")


def say_extra():
    extra = {"request": {"id": 7}, "odd": Stubborn(), "worse": Hopeless(), "lock": threading.Lock()}
    say("with %s", Stubborn(), extra=extra)


def test_what_a_record_was_given_travels_if_it_can(kept):
    logged(say_extra)
    (record,) = kept.records
    assert record.getMessage() == "with <stubborn>"
    assert record.request == {"id": 7}
    assert record.odd == "<stubborn>"
    assert "Hopeless object at" in record.worse
    assert "lock" in record.lock


def test_what_a_task_has_logged_is_handled_before_its_result_is_there(kept):
    with plait.ProcessPoolExecutor(2) as pool:
        for count in range(1, 201):
            pool.submit(say, "for the %dth time", count).result(LIMIT)
            assert len(kept.records) == count

        async def ask():
            for count in range(201, 251):
                await pool.submit(say, "for the %dth time", count)
                assert len(kept.records) == count

        plait.run(ask())


def test_a_handler_that_needs_what_the_waiter_holds_delays_it_and_no_more(kept):
    held = threading.Lock()

    class Needy(logging.Handler):
        def emit(self, record):
            with held:
                kept.emit(record)

    logger = logging.getLogger(NAME)
    needy = Needy()
    logger.handlers[:] = [needy]
    try:
        with plait.ProcessPoolExecutor(1) as pool:
            with held:
                assert pool.submit(say, "in time").result(LIMIT) in pool._pool.pids()
                assert kept.records == []
            assert pool.submit(abs, -1).result(LIMIT) == 1
        assert kept.messages() == ["in time"]
    finally:
        logger.handlers[:] = [kept]


def test_a_callback_may_ask_for_the_result(kept):
    heard = []
    with plait.ProcessPoolExecutor(1) as pool:
        for _ in range(20):
            pool.submit(say, "x").add_done_callback(lambda future: heard.append(future.result()))
    assert len(heard) == 20
    assert len(kept.records) == 20


def say_many(count, size):
    for number in range(count):
        say("%d %s", number, "x" * size)


@pytest.mark.parametrize(("count", "size"), [(5000, 0), (50, 100_000), (20, 4096 - 300)])
def test_nothing_is_lost_and_the_order_is_kept(kept, count, size):
    logged(say_many, count, size)
    assert kept.messages() == [f"{number} {'x' * size}" for number in range(count)]


def say_in_threads(count):
    threads = [threading.Thread(target=say_many, args=(count, 3000 * index)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_of_a_worker_log_side_by_side(kept):
    logged(say_in_threads, 40)
    for index in range(4):
        text = "x" * 3000 * index
        mine = [message for message in kept.messages() if message.endswith(" " + text)]
        assert len(mine) == 40
    assert len(kept.records) == 160


def fork_and_say():
    child = os.fork()
    say_many(20, 10_000)
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_of_a_task_logs_beside_it(kept):
    logged(fork_and_say)
    assert sorted(kept.messages()) == sorted(2 * [f"{n} {'x' * 10_000}" for n in range(20)])
    assert len({record.process for record in kept.records}) == 2


def test_workers_log_side_by_side(kept):
    with plait.ProcessPoolExecutor(3) as pool:
        futures = [pool.submit(say_many, 50, 2000 * n) for n in range(6)]
        for future in futures:
            future.result(LIMIT)
    assert len(kept.records) == 300


def test_what_the_last_moments_of_a_worker_log(kept):
    def register():
        import atexit

        atexit.register(say, "goodbye")

    logged(register)
    assert kept.messages() == ["goodbye"]


def say_and_die():
    say("last words")
    os.abort()


def test_what_a_worker_logged_before_it_died(kept):
    with plait.ProcessPoolExecutor(1) as pool:
        assert isinstance(pool.submit(say_and_die).exception(LIMIT), plait.WorkerDied)
    assert kept.messages() == ["last words"]


class Slow(Kept):
    """Handles nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        assert self.go.wait(LIMIT)
        super().emit(record)


def test_a_flood_waits_for_the_handlers_and_nobody_else_does(kept, tmp_path):
    slow = Slow()
    logger = logging.getLogger(NAME)
    logger.addHandler(slow)
    try:
        with plait.ProcessPoolExecutor(2) as pool:

            def flood():
                for number in range(400):
                    say("%d %s", number, "x" * 20_000)
                    (tmp_path / "count").write_text(str(number))

            flooding = pool.submit(flood)
            path = tmp_path / "count"
            last = -1
            # It comes to a halt, while the other worker goes on.
            quiet = 0
            while quiet < 300:
                pool.submit(abs, 1).result(LIMIT)
                count = int(path.read_text() or -1) if path.exists() else -1
                quiet = quiet + 1 if count == last and count > 0 else 0
                last = count
            assert last < 200
            assert not flooding.done()
            slow.go.set()
            flooding.result(LIMIT)
    finally:
        slow.go.set()
        logger.removeHandler(slow)
    assert len(slow.records) == 400


def configure_own(queue_path):
    logging.getLogger().addHandler(logging.FileHandler(queue_path))


def test_handlers_of_the_workers_own_are_called_instead(kept, tmp_path):
    with plait.ProcessPoolExecutor(
        1, initializer=configure_own, initargs=(tmp_path / "log",)
    ) as pool:
        pool.submit(say, "mine").result(LIMIT)
    assert kept.records == []
    assert (tmp_path / "log").read_text() == "mine\n"


def test_a_handler_that_fails_is_reported_and_the_next_record_comes(kept, capsys):
    class Failing(logging.Handler):
        def emit(self, record):
            raise RuntimeError("broken handler")

    logger = logging.getLogger(NAME)
    failing = Failing()
    failing.handle = failing.emit  # as a handler that does not catch its own
    logger.handlers.insert(0, failing)
    caught = []
    import sys

    before, sys.unraisablehook = sys.unraisablehook, caught.append
    try:
        logged(say_many, 2, 0)
    finally:
        sys.unraisablehook = before
        logger.removeHandler(failing)
    assert [str(each.exc_value) for each in caught] == ["broken handler"] * 2


def warn():
    warnings.warn("mind the gap", RuntimeWarning, stacklevel=1)


def test_warnings_that_are_logged_here_are_logged_there():
    handler = Kept()
    logging.getLogger().addHandler(handler)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        try:
            with plait.ProcessPoolExecutor(1) as pool:
                pool.submit(warn).result(LIMIT)
        finally:
            logging.captureWarnings(False)
            logging.getLogger().removeHandler(handler)
    (message,) = handler.messages()
    assert "mind the gap" in message


def test_the_name_of_the_process_is_the_workers(kept):
    def name():
        say("here")
        return multiprocessing.current_process().name

    expected = logged(name)
    assert [record.processName for record in kept.records] == [expected]


def test_what_else_is_written_to_the_pipe_is_told_and_takes_nothing_else_along(kept, caplog):
    with plait.ProcessPoolExecutor(1) as pool:
        pool.submit(write_noise).result(LIMIT)
    assert kept.messages() == ["before", "after"]
    told = [record for record in caplog.records if record.name == "plait"]
    assert [record.levelname for record in told] == ["ERROR"]
    assert told[0].getMessage().startswith("1000 bytes in the pipe for log records")


def write_noise():
    from plait._worker.records import Sender

    logging.getLogger(NAME).warning("before")
    [sender] = [handler for handler in logging.root.handlers if isinstance(handler, Sender)]
    os.write(sender._pipe, b"x" * 1000)
    logging.getLogger(NAME).warning("after")
