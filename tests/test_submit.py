"""`plait.submit`: every place, its terms, its cancels and deadlines."""

import asyncio
import concurrent.futures
import contextvars
import functools
import logging
import os
import threading
import time

import pytest
from tasks import block_signals, hang, until, wait_for_file

import plait
from plait._engines import attempts

LIMIT = 60

variable = contextvars.ContextVar("variable")
MODULE = __name__


def where():
    return os.getpid(), threading.get_ident()


async def where_on_loop():
    return os.getpid(), threading.get_ident(), asyncio.get_running_loop()


async def pid_on_loop():
    return os.getpid()


def read():
    return variable.get(None)


async def read_on_loop():
    await asyncio.sleep(0)
    return variable.get(None)


@pytest.fixture
def foreign():
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        yield executor


# -- where ----------------------------------------------------------------


def test_a_plain_function_runs_in_a_thread():
    pid, thread = plait.submit(where).result(LIMIT)
    assert pid == os.getpid()
    assert thread != threading.get_ident()
    assert plait.submit(where, on="thread").result(LIMIT)[0] == os.getpid()


def test_arguments_go_to_the_function():
    assert plait.submit(dict, [("a", 1)], b=2).result(LIMIT) == {"a": 1, "b": 2}
    assert plait.submit(int, "11", base=2, on="process").result(LIMIT) == 3


def test_a_process_is_another_one():
    assert plait.submit(where, on="process").result(LIMIT)[0] != os.getpid()
    assert plait.submit(pid_on_loop, on="process").result(LIMIT) != os.getpid()


def test_serial_is_here_and_now():
    future = plait.submit(where, on="serial")
    assert future.done()
    assert future.result() == (os.getpid(), threading.get_ident())
    assert plait.submit(read_on_loop, on="serial").result() is None
    assert type(plait.submit(divmod, 1, 0, on="serial").exception()) is ZeroDivisionError


def test_a_coroutine_function_runs_on_the_loop_that_runs():
    async def main():
        future = plait.submit(where_on_loop)
        with pytest.raises(RuntimeError, match="await the future"):
            future.result()
        with pytest.raises(RuntimeError, match="await the future"):
            future.exception()
        assert await future == (os.getpid(), threading.get_ident(), asyncio.get_running_loop())
        assert future.result() is await future

    plait.run(main())
    asyncio.run(main())


def test_without_a_loop_it_runs_on_one_in_the_background():
    first, second = plait.submit(where_on_loop), plait.submit(where_on_loop, on="loop")
    assert first.result(LIMIT) == second.result(LIMIT)
    assert isinstance(first.result()[2], plait.EventLoop)
    assert first.result()[1] != threading.get_ident()


def test_a_result_of_a_thread_can_be_waited_for_on_the_loop():
    async def main():
        return plait.submit(pow, 2, 3).result(LIMIT), plait.submit(pow, 2, 4).result(LIMIT)

    assert plait.run(main()) == (8, 16)


def test_auto():
    # More of it in test_auto.py.
    assert plait.submit(where, on="auto").result(LIMIT) == where()
    assert plait.submit(where_on_loop, on="auto").result(LIMIT)[0] == os.getpid()
    kept = plait.submit(plait.task(repr, capture=True), threading.Lock(), on="auto")
    with pytest.raises(TypeError, match="pickle"):
        kept.result(LIMIT)


def test_the_terms_say_where_and_on_has_the_last_word():
    fn = plait.task(where, on="process")
    assert plait.submit(fn).result(LIMIT)[0] != os.getpid()
    assert plait.submit(fn, on="thread").result(LIMIT)[0] == os.getpid()
    assert plait.submit(functools.partial(fn)).result(LIMIT)[0] != os.getpid()


def test_an_executor_of_ours_keeps_its_powers():
    with plait.ThreadPoolExecutor(1, "mine") as pool:
        fn = plait.task(lambda: threading.current_thread().name, on=pool, timeout=LIMIT)
        assert plait.submit(fn).result(LIMIT).startswith("mine_")
    with plait.ProcessPoolExecutor(1) as pool:
        fn = plait.task(hang, on=pool, timeout=0.05)
        assert type(plait.submit(fn).exception(LIMIT)) is plait.TaskTimeout


def test_an_executor_of_others(foreign):
    assert plait.submit(pow, 2, 3, on=foreign).result(LIMIT) == 8
    assert plait.submit(plait.task(pow, on=foreign), 2, 4).result(LIMIT) == 16
    with pytest.raises(ZeroDivisionError):
        plait.submit(divmod, 1, 0, on=foreign).result(LIMIT)


def test_what_a_foreign_executor_has_not_begun_is_withdrawn(foreign):
    go = threading.Event()
    first = plait.submit(go.wait, LIMIT, on=foreign)
    second = plait.submit(go.wait, LIMIT, on=foreign)
    until(first.running)
    assert second.cancel()
    assert second.cancelled()
    assert not first.cancel()
    go.set()
    assert first.result(LIMIT) is True


# -- what cannot be --------------------------------------------------------


async def coroutine():
    return 1


@pytest.mark.parametrize(
    ("fn", "on", "terms", "error", "words"),
    [
        (len, "loop", {}, TypeError, "no coroutine function"),
        (coroutine, "thread", {}, TypeError, "is a coroutine function"),
        (functools.partial(coroutine), "thread", {}, TypeError, "is a coroutine function"),
        (coroutine, "foreign", {}, TypeError, "is a coroutine function"),
        (len, "foreign", {"timeout": 1}, ValueError, "timeout cannot be kept"),
        (len, "serial", {"timeout": 1}, ValueError, "timeout cannot be kept"),
        (len, "thread", {"capture": True}, ValueError, "capture"),
        (len, "elsewhere", {}, ValueError, "on must be one of"),
        (len, 3, {}, TypeError, "on must be one of"),
    ],
)
def test_what_cannot_be_is_refused_at_once(foreign, fn, on, terms, error, words):
    on = foreign if on == "foreign" else on
    with pytest.raises(error, match=words):
        plait.task(fn, on=on, **terms)
    with pytest.raises(error, match=words):
        plait.submit(plait.task(fn, **terms), on=on)


def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match="callable"):
        plait.submit(3)
    made = coroutine()
    with pytest.raises(TypeError, match=r"submit\(coroutine, \.\.\.\)"):
        plait.submit(made)
    made.close()


# -- cancels and deadlines -------------------------------------------------


def test_a_thread_is_stopped_by_a_cancel():
    begun = threading.Event()

    def spin():
        begun.set()
        while True:
            pass

    future = plait.submit(spin)
    assert begun.wait(LIMIT)
    assert future.cancel()
    error = future.exception(LIMIT)
    assert type(error) is plait.Killed
    assert "spin" in str(error)


def test_cancelling_who_awaits_stops_the_call(tmp_path):
    begun = threading.Event()

    def spin():
        begun.set()
        while True:
            pass

    async def main():
        futures = [plait.submit(spin), plait.submit(hang, tmp_path / "begun", on="process")]
        tasks = [asyncio.ensure_future(_await(future)) for future in futures]
        # A task that is cancelled before its first step awaits nothing.
        await asyncio.sleep(0)
        while not (begun.is_set() and (tmp_path / "begun").exists()):
            await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with pytest.raises(asyncio.CancelledError):
                await task
        for future in futures:
            with pytest.raises(plait.Killed):
                await future

    async def _await(future):
        return await future

    plait.run(main())


@pytest.mark.parametrize("on", ["thread", "process", "loop"])
def test_a_timeout_is_kept_everywhere(on):
    fn = forever if on == "loop" else hang
    error = plait.submit(plait.task(fn, timeout=0.05), on=on).exception(LIMIT)
    assert type(error) is plait.TaskTimeout
    assert "timeout of 0.05 s" in str(error)
    assert error.elapsed >= 0.05


async def forever(begun=None):
    if begun is not None:
        begun.set()
    await asyncio.Event().wait()


def test_a_coroutine_is_stopped_by_a_cancel():
    begun = threading.Event()
    future = plait.submit(forever, begun)
    assert begun.wait(LIMIT)
    assert future.running()
    assert future.cancel()
    error = future.exception(LIMIT)
    assert type(error) is plait.Killed
    assert "in forever" in "".join(error.__notes__)
    assert not future.cancelled()
    assert not future.cancel()


def test_a_coroutine_that_has_not_begun_is_withdrawn():
    async def main():
        future = plait.submit(coroutine)
        assert future.cancel()
        assert future.cancelled()
        assert future.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            await future

    plait.run(main())


def test_a_coroutine_that_swallows_its_cancellation_is_named_and_cancelled_again(caplog):
    seen = []

    async def stubborn():
        while len(seen) < 3:
            try:
                await asyncio.sleep(LIMIT)
            except asyncio.CancelledError as error:
                seen.append(error)

    async def main():
        future = plait.submit(plait.task(stubborn, timeout=0.02, grace=0.02, name="mule"))
        with pytest.raises(plait.TaskTimeout, match=r"mule .* swallows") as caught:
            await future
        assert caught.value.abandoned
        assert "stubborn" in "".join(caught.value.__notes__)
        end = time.monotonic() + LIMIT
        while len(seen) < 3:
            assert time.monotonic() < end
            await asyncio.sleep(0.001)

    with caplog.at_level(logging.WARNING, "plait"):
        plait.run(main())
    assert len([record for record in caplog.records if "mule swallows" in record.message]) == 1


def test_a_coroutine_cancelled_by_others_is_killed():
    async def main():
        async def leave():
            asyncio.current_task().cancel()
            await asyncio.sleep(0)

        with pytest.raises(plait.Killed, match="cancelled by something on its event loop"):
            await plait.submit(leave)

    plait.run(main())


def test_what_a_closed_loop_leaves_is_told():
    for loop in (plait.new_event_loop(), asyncio.new_event_loop()):

        async def main():
            return plait.submit(forever)

        future = loop.run_until_complete(main())
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False
        loop.close()
        plait.submit(coroutine).result(LIMIT)
        with pytest.raises(plait.Killed, match="loop was closed"):
            future.result(LIMIT)


# -- retries ---------------------------------------------------------------


class Flaky:
    """Fails as often as it is told to."""

    def __init__(self, failures):
        self.calls = []
        self.failures = failures

    def __call__(self):
        self.calls.append(time.monotonic())
        if len(self.calls) <= self.failures:
            raise OSError(f"failure {len(self.calls)}")
        return len(self.calls)

    async def wait(self):
        await asyncio.sleep(0)
        return self()


def fail_until(path, count):
    """Fail so many times, in whatever process."""
    with open(path, "a") as file:
        file.write(".")
    if os.path.getsize(path) <= count:
        raise OSError("not yet")
    return os.path.getsize(path)


@pytest.mark.parametrize("on", ["thread", "serial", "foreign", "loop"])
@pytest.mark.parametrize("backoff", [0, 0.01, lambda attempt: attempt / 100])
def test_retries(foreign, on, backoff):
    place = foreign if on == "foreign" else on
    flaky = Flaky(2)
    fn = flaky.wait if on == "loop" else flaky
    task = plait.task(fn, retries=2, backoff=backoff, retry_on=OSError)
    assert plait.submit(task, on=place).result(LIMIT) == 3
    if backoff:
        first, second, third = flaky.calls
        assert second - first >= 0.01
        assert third - second >= 0.02
    flaky = Flaky(2)
    fn = flaky.wait if on == "loop" else flaky
    task = plait.task(fn, retries=1, backoff=backoff)
    with pytest.raises(OSError, match="failure 2"):
        plait.submit(task, on=place).result(LIMIT)
    flaky = Flaky(1)
    fn = flaky.wait if on == "loop" else flaky
    with pytest.raises(OSError, match="failure 1"):
        plait.submit(plait.task(fn, retries=5, retry_on=ValueError), on=place).result(LIMIT)


@pytest.mark.parametrize("backoff", [0, 0.01, lambda attempt: attempt / 100])
def test_retries_in_processes(tmp_path, backoff):
    task = plait.task(fail_until, retries=2, backoff=backoff)
    assert plait.submit(task, tmp_path / "calls", 2, on="process").result(LIMIT) == 3
    with plait.ProcessPoolExecutor(1) as pool:
        assert pool.submit(task, tmp_path / "others", 2).result(LIMIT) == 3
        assert pool.submit(task, tmp_path / "more", 2).result(LIMIT) == 3
        with pytest.raises(OSError, match="not yet"):
            pool.submit(task, tmp_path / "most", 3).result(LIMIT)


rested = threading.Event()


def rest_long(attempt):
    rested.set()
    return LIMIT


@pytest.mark.parametrize("on", ["thread", "process", "loop"])
def test_a_cancel_ends_a_rest(on):
    def fail():
        raise OSError("no")

    async def fail_on_loop():
        raise OSError("no")

    fn = fail_on_loop if on == "loop" else fail
    rested.clear()
    future = plait.submit(plait.task(fn, retries=1, backoff=rest_long), on=on)
    assert rested.wait(LIMIT)
    assert future.cancel()
    begun = time.monotonic()
    assert isinstance(future.exception(LIMIT), plait.Killed)
    assert time.monotonic() - begun < LIMIT / 2


@pytest.mark.parametrize("on", ["thread", "process", "loop"])
def test_a_backoff_that_fails_is_the_outcome(on):
    fn = Flaky(1).wait if on == "loop" else fail_always
    task = plait.task(fn, retries=3, backoff=lambda attempt: 1 / 0)
    assert type(plait.submit(task, on=on).exception(LIMIT)) is ZeroDivisionError


def fail_always():
    raise OSError("no")


def test_an_attempt_beyond_its_timeout_is_followed_by_another():
    calls = []

    async def slow_at_first():
        calls.append(None)
        await asyncio.sleep(0 if len(calls) > 1 else LIMIT)
        return len(calls)

    assert plait.submit(plait.task(slow_at_first, timeout=0.05, retries=1)).result(LIMIT) == 2


def test_the_pause_grows():
    from plait._terms import pause

    assert [pause(0.5, n) for n in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert pause(lambda n: n * 10, 3) == 30
    with pytest.raises(ValueError, match="backoff"):
        pause(lambda n: -1, 1)


def test_attempts_that_somebody_ended_by_hand_stay_ended(foreign):
    go = threading.Event()
    future = plait.submit(go.wait, LIMIT, on=foreign)
    assert isinstance(future, attempts.Attempts)
    future.set_result("by hand")
    go.set()
    foreign.shutdown()
    assert future.result() == "by hand"


# -- contexts --------------------------------------------------------------


def test_the_context_is_copied_into_threads_and_coroutines(foreign):
    def run():
        variable.set("here")
        assert plait.submit(read).result(LIMIT) == "here"
        assert plait.submit(read, on=foreign).result(LIMIT) == "here"
        assert plait.submit(read, on="serial").result(LIMIT) == "here"
        assert plait.submit(read_on_loop).result(LIMIT) == "here"
        plait.submit(variable.set, "there").result(LIMIT)
        assert variable.get() == "here"

        async def main():
            return await plait.submit(read_on_loop), await plait.submit(read)

        assert plait.run(main()) == ("here", "here")

    contextvars.copy_context().run(run)


PROGRAM = """
import contextvars, plait
var = contextvars.ContextVar("var")
@plait.task(on="process", context=["__main__:var", "decimal_var:var"])
def read():
    import decimal_var
    return var.get("none"), decimal_var.var.get("none")
@plait.task(on="process", context="__main__:var")
async def read_later():
    return var.get("none")
def plain():
    return var.get("none")
import decimal_var
assert plait.submit(read).result(60) == ("none", "none")
var.set("main"); decimal_var.var.set("other")
assert plait.submit(read).result(60) == ("main", "other")
assert plait.submit(read_later).result(60) == "main"
assert plait.submit(plain, on="process").result(60) == "none"
try:
    plait.submit(plait.task(plain, on="process", context="decimal_var:no"))
except LookupError as error:
    assert "no such variable" in str(error)
else:
    raise AssertionError
print("done")
"""


@pytest.fixture
def program(tmp_path):
    from programs import Program

    program = Program(tmp_path)
    yield program
    program.close()


def test_named_variables_go_to_processes(program):
    (program.directory / "decimal_var.py").write_text(
        "import contextvars\nvar = contextvars.ContextVar('var')\n"
    )
    program.start(PROGRAM)
    assert program.end() == (0, "done\n", "")


@pytest.mark.parametrize("context", ["nothing", ["a:b", ":b"], "a:"])
def test_names_of_variables_are_checked(context):
    with pytest.raises(ValueError, match="context"):
        plait.task(len, context=context)
    with pytest.raises(TypeError, match="context"):
        plait.task(len, context=[3])


# -- default pools, exit, fork ---------------------------------------------


def test_default_executors():
    pool = plait.default_executor("thread")
    assert isinstance(pool, plait.ThreadPoolExecutor)
    assert pool._max_workers == min(32, plait.default_executor("process")._max_workers + 4)
    with plait.ThreadPoolExecutor(1, "other") as other:
        plait.set_default_executor("thread", other)
        name = plait.submit(lambda: threading.current_thread().name).result(LIMIT)
        assert name.startswith("other_")
        with pytest.raises(TypeError, match="ThreadPoolExecutor"):
            plait.set_default_executor("thread", plait.default_executor("process"))
    plait.set_default_executor("thread", None)
    assert plait.default_executor("thread") not in (pool, other)
    for use in (plait.default_executor, functools.partial(plait.set_default_executor)):
        with pytest.raises(ValueError, match="kind"):
            use("loop") if use is plait.default_executor else use("loop", None)


def test_what_was_accepted_is_done_before_the_exit(program):
    program.start("""
        import asyncio, plait, time
        async def later():
            await asyncio.sleep(0.2)
            print("loop", flush=True)
        def call():
            time.sleep(0.1)
            print("thread", flush=True)
        plait.submit(later)
        plait.submit(call)
        plait.submit(print, "process", flush=True, on="process")
    """)
    code, out, err = program.end()
    assert (code, sorted(out.split()), err) == (0, ["loop", "process", "thread"], "")


def test_the_exit_waits_for_no_coroutine_that_was_abandoned(program):
    program.start("""
        import asyncio, logging, plait
        logging.disable()
        async def stubborn():
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    pass
        error = plait.submit(plait.task(stubborn, timeout=0.01, grace=0.01)).exception()
        print(error.abandoned)
    """)
    code, out, _ = program.end()
    assert (code, out) == (0, "True\n")


def test_a_forked_child_makes_its_own(program):
    program.start("""
        import asyncio, os, plait, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        async def one():
            return os.getpid()
        async def forever():
            await asyncio.Event().wait()
        assert plait.submit(one).result(60) == os.getpid()
        assert plait.submit(os.getpid).result(60) == os.getpid()
        left = plait.submit(forever)
        child = os.fork()
        if child == 0:
            try:
                assert plait.submit(one).result(60) == os.getpid()
                assert plait.submit(os.getpid).result(60) == os.getpid()
                assert plait.submit(os.getpid, on="process").result(60) != os.getpid()
                for ask in (left.result, left.exception, left.cancel):
                    try:
                        ask()
                    except RuntimeError as error:
                        assert "forked" in str(error)
                    else:
                        raise AssertionError(ask)
                print("child", flush=True)
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
            import sys
            sys.exit()
        assert os.waitpid(child, 0)[1] == 0
        assert plait.submit(one).result(60) == os.getpid()
        left.cancel()
    """)
    assert program.end() == (0, "child\n", "")


def test_a_process_that_blocks_signals_is_killed(tmp_path):
    future = plait.submit(plait.task(block_signals, grace=0.05), tmp_path / "begun", on="process")
    wait_for_file(tmp_path / "begun")
    assert future.cancel()
    assert future.exception(LIMIT).worker_killed
