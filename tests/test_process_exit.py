"""Whatever way a program with a process pool ends, nothing of it is left."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest
from programs import Program

# Three workers, each busy in its own way, and the main thread waiting.
BUSY = """
    import os, re, signal, sys, time, pathlib
    import plait

    def spin():
        announce("spin")
        while True:
            pass

    def compute():
        announce("compute")
        re.match(r"(a+)+$", "a" * 60 + "b")

    def sleep():
        announce("sleep")
        time.sleep(1000)
"""


def start_busy(program: Program, rest: str) -> list[int]:
    program.start(textwrap.dedent(BUSY) + textwrap.dedent(rest))
    pids = [int(program.wait_for(name)) for name in ("spin", "compute", "sleep")]
    descendants = program.watch()
    assert set(pids) < set(descendants)  # and the template
    assert len(descendants) == 4
    return pids


POOL = """
    pool = plait.ProcessPoolExecutor(3)
    futures = [pool.submit(task) for task in (spin, compute, sleep)]
    futures[0].result()
"""

WITH = """
    with plait.ProcessPoolExecutor(3) as pool:
        futures = [pool.submit(task) for task in (spin, compute, sleep)]
        waiting = [pool.submit(announce, "never") for _ in range(10)]
        futures[0].result()
"""


def test_the_parent_killed_leaves_nobody(program):
    pids = start_busy(program, POOL)
    os.kill(pids[2], signal.SIGSTOP)
    program.process.kill()
    program.nothing_is_left()


def test_a_parent_that_leaves_by_os_exit_leaves_nobody(program):
    leave = 'while not pathlib.Path("end").exists(): time.sleep(0.001)\n    os._exit(3)'
    start_busy(program, POOL.replace("futures[0].result()", leave))
    (program.directory / "end").touch()
    program.nothing_is_left()
    assert program.end()[0] == 3


@pytest.mark.parametrize("whole_group", [False, True])
@pytest.mark.parametrize("script", [POOL, WITH], ids=["bare", "with"])
def test_an_interrupt_leaves_nobody(program, script, whole_group):
    start_busy(program, script)
    if whole_group:
        os.killpg(program.process.pid, signal.SIGINT)
    else:
        program.process.send_signal(signal.SIGINT)
    program.nothing_is_left()
    code, _, err = program.end()
    assert code == -signal.SIGINT
    assert err.count("Traceback") == 1, err
    assert not (program.directory / "never").exists()


def test_an_interrupt_during_the_wait_at_exit_leaves_nobody(program):
    start_busy(program, POOL.replace("futures[0].result()", "announce('end')"))
    program.wait_for("end")
    # The wait begins when the main thread has left the script; an interrupt
    # before that ends the script instead, and the outcome is the same.
    program.process.send_signal(signal.SIGINT)
    program.nothing_is_left()
    assert "KeyboardInterrupt" in program.end()[2]


def test_an_interrupt_during_the_wait_of_with_leaves_nobody(program):
    start_busy(program, WITH.replace("futures[0].result()", "announce('end')"))
    program.wait_for("end")
    program.process.send_signal(signal.SIGINT)
    program.nothing_is_left()
    assert program.end()[0] == -signal.SIGINT


@pytest.mark.parametrize("run", ["plait.run", "asyncio.run"])
def test_an_interrupt_of_a_coroutine_leaves_nobody(program, run):
    """The coroutine is cancelled; the pool that it made does not wait for its tasks."""
    start_busy(
        program,
        f"""
        import asyncio

        async def main():
            with plait.ProcessPoolExecutor(3) as pool:
                await asyncio.gather(*[pool.submit(task) for task in (spin, compute, sleep)])

        {run}(main())
        """,
    )
    program.process.send_signal(signal.SIGINT)
    program.nothing_is_left()
    code, _, err = program.end()
    assert code == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")


def test_an_interrupted_pool_says_what_became_of_its_tasks(program):
    start_busy(
        program,
        """
        try:
            with plait.ProcessPoolExecutor(3) as pool:
                futures = [pool.submit(task) for task in (spin, compute, sleep)]
                waiting = [pool.submit(announce, "never") for _ in range(10)]
                announce("ready")
                futures[0].result()
        except KeyboardInterrupt:
            print([type(future.exception(0)).__name__ for future in futures])
            print({future.cancelled() for future in waiting})
        with plait.ProcessPoolExecutor(1) as pool:
            print(pool.submit(abs, -3).result())
        """,
    )
    program.wait_for("ready")
    program.process.send_signal(signal.SIGINT)
    code, out, err = program.end()
    assert (code, err) == (0, "")
    assert out.splitlines() == [str(["WorkerDied"] * 3), "{True}", "3"]


def test_the_interpreter_waits_for_what_is_queued(program):
    program.start(
        """
        import time, plait

        def work(n):
            time.sleep(0.01)
            print("done", n, flush=True)

        pool = plait.ProcessPoolExecutor(2)
        for n in range(20):
            pool.submit(work, n).add_done_callback(lambda future: print("told", flush=True))
        """
    )
    code, out, err = program.end()
    assert (code, err) == (0, "")
    assert out.count("done") == out.count("told") == 20


@pytest.mark.parametrize(
    ("end", "error"), [("die", "WorkerDied"), ("be_late", "TaskTimeout")], ids=["dies", "late"]
)
def test_what_fails_while_the_interpreter_waits_says_what_it_was(program, end, error):
    program.start(
        f"""
        import os, pathlib, signal, threading, time
        import plait

        exiting = pathlib.Path("exiting")

        def die():
            os.kill(os.getpid(), signal.SIGKILL)

        @plait.task(timeout=0.01)
        def be_late():
            while True:
                time.sleep(0.001)

        def tell(future):
            while not exiting.exists():
                time.sleep(0.001)
            print(type(future.exception()).__name__, flush=True)

        pool = plait.ProcessPoolExecutor(1)
        # What is registered last comes first: before the pools' own.
        threading._register_atexit(exiting.touch)
        pool.submit({end}).add_done_callback(tell)
        """
    )
    assert program.end() == (0, f"{error}\n", "")


def test_a_pool_that_nobody_holds_is_waited_for_too(program):
    program.start(
        """
        import time, plait

        def work():
            time.sleep(0.1)
            print("done", flush=True)

        plait.ProcessPoolExecutor(1).submit(work)
        """
    )
    assert program.end() == (0, "done\n", "")


def test_output_and_exit_hooks_of_workers_are_not_lost(program):
    program.start(
        """
        import atexit, plait

        def work(n):
            atexit.register(print, "bye", n)
            print("work", n)

        with plait.ProcessPoolExecutor(1) as pool:
            pool.submit(work, 1).result()
        """
    )
    assert program.end() == (0, "work 1\nbye 1\n", "")


def test_an_exception_in_the_with_block_finishes_what_runs(program):
    program.start(
        """
        import plait
        try:
            with plait.ProcessPoolExecutor(1) as pool:
                future = pool.submit(abs, -1)
                raise LookupError
        except LookupError:
            print(future.result(0))
        """
    )
    assert program.end() == (0, "1\n", "")


def test_no_pool_after_the_end_has_begun(program):
    program.start(
        """
        import atexit, threading, plait
        pool = plait.ProcessPoolExecutor(1)
        pool.submit(abs, 1).result()

        def late():
            for attempt in (lambda: pool.submit(abs, 1), plait.ProcessPoolExecutor):
                try:
                    attempt()
                except RuntimeError as error:
                    print(error)

        atexit.register(late)
        """
    )
    code, out, err = program.end()
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "cannot schedule new futures after shutdown",
        "cannot make a process pool while the interpreter is exiting",
    ]


def test_no_pool_when_only_the_garbage_is_left(program):
    """What the interpreter drops last is a module's; `sys.path` is gone by then."""
    program.start(
        """
        import builtins, plait
        Executor, Pool = plait.ProcessPoolExecutor, plait.Pool
        with Executor(1) as pool:
            pool.submit(abs, 1).result()

        class Late:
            def __del__(self, made_by=(Executor, Pool), print=print):
                for make in made_by:
                    try:
                        make(1)
                    except RuntimeError as error:
                        print(error)

        builtins.late = Late()
        """
    )
    too_late = "cannot make a process pool while the interpreter is exiting\n"
    assert program.end() == (0, 2 * too_late, "")


def test_a_pool_may_be_made_while_one_is_made(program):
    """As a signal handler, or the garbage collector, would at the worst moment."""
    program.start(
        """
        import plait
        from plait._process_exit import Ending

        pools = []

        class Asked:
            asked = False

            @property
            def ended(self):
                if not self.asked:
                    self.asked = True
                    pools.append(plait.ProcessPoolExecutor(1))
                return True

        ending = Ending(Asked())
        pools.append(plait.ProcessPoolExecutor(1))
        print([pool.submit(abs, -1).result() for pool in pools])
        """
    )
    assert program.end() == (0, "[1, 1]\n", "")


def test_a_fork_of_the_program_has_nothing_to_do_with_the_pool(program):
    program.start(
        """
        import os, pathlib, sys, time, warnings
        import plait
        warnings.simplefilter("ignore", DeprecationWarning)

        pool = plait.ProcessPoolExecutor(2)
        pid = pool.submit(os.getpid).result()
        child = os.fork()
        if child == 0:
            for attempt in (lambda: pool.submit(abs, -1), pool.shutdown):
                try:
                    attempt()
                except RuntimeError as error:
                    print("child:", error, flush=True)
            del pool
            with plait.ProcessPoolExecutor(1) as own:
                print("own:", own.submit(abs, -2).result(), flush=True)
            sys.exit(0)
        status = os.waitpid(child, 0)[1]
        print("status:", status)
        print("same:", pool.submit(os.getpid).result() == pid)
        """
    )
    code, out, err = program.end()
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "from which this process was forked" in lines[0]
    assert lines[1] == lines[0]
    assert lines[2:] == ["own: 2", "status: 0", "same: True"]


def test_a_forked_child_that_lives_on_keeps_no_worker_alive(program):
    program.start(
        """
        import os, pathlib, signal, warnings
        import plait
        warnings.simplefilter("ignore", DeprecationWarning)

        pool = plait.ProcessPoolExecutor(1)
        pool.submit(abs, 1).result()
        if os.fork() == 0:
            os.close(1), os.close(2)
            pathlib.Path("forked.new").write_text(str(os.getpid()))
            os.rename("forked.new", "forked")
            signal.pause()
        signal.pause()
        """
    )
    child = int(program.wait_for("forked"))
    descendants = program.watch()
    assert child in descendants
    assert len(descendants) == 3
    program.process.kill()
    survivor = program._sentinels.pop(child)
    program.nothing_is_left()
    signal.pidfd_send_signal(survivor, signal.SIGKILL)
    os.close(survivor)


def test_a_worker_does_not_outlive_its_parent_under_multiprocessing_fork(program):
    program.start(
        """
        import multiprocessing, os, pathlib, warnings
        import plait
        warnings.simplefilter("ignore", DeprecationWarning)

        def use():
            with plait.ProcessPoolExecutor(1) as pool:
                print("child", pool.submit(abs, -5).result(), flush=True)

        pool = plait.ProcessPoolExecutor(1)
        pool.submit(abs, 1).result()
        process = multiprocessing.get_context("fork").Process(target=use)
        process.start()
        process.join()
        print("exit code", process.exitcode)
        """
    )
    assert program.end() == (0, "child 5\nexit code 0\n", "")


FORKS = """
import os, threading
import plait._processes

def fork():
    for _ in range(300):
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

nested = False
def fork_in_a_hook():
    global nested
    if not nested:
        nested = True
        fork_once = os.fork()
        if fork_once == 0:
            os._exit(0)
        os.waitpid(fork_once, 0)

threads = [threading.Thread(target=fork) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
os.register_at_fork(before=fork_in_a_hook)
fork()
"""


def test_threads_and_hooks_that_fork_do_not_wait_for_each_other():
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS], check=True, timeout=60)


@pytest.mark.parametrize("kind", ["ProcessPoolExecutor", "Pool"])
def test_a_forked_child_leaves_the_block_of_the_pool_as_it_likes(kind):
    code = f"""
        import os, sys, warnings
        import plait
        warnings.simplefilter("ignore", DeprecationWarning)
        with plait.{kind}(1) as pool:
            assert list(pool.map(abs, [-1])) == [1]
            child = os.fork()
            if child == 0:
                sys.exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            assert list(pool.map(abs, [-2])) == [2]
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
