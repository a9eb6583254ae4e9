"""`plait.per_worker`: one value for each worker, closed with it."""

import contextlib
import logging
import os
import threading

import pytest
from programs import run

import plait

LIMIT = 30


class Connection:
    """Notes where it is made and closed."""

    def __init__(self, log):
        self.log = log
        self.home = threading.get_ident()
        log.append(("made", self.home))

    def close(self):
        assert threading.get_ident() == self.home
        self.log.append(("closed", self.home))


def test_each_thread_has_its_own_until_it_ends():
    log, barrier = [], threading.Barrier(2)
    connection = plait.per_worker(lambda: Connection(log))

    def work():
        barrier.wait(LIMIT)
        assert connection() is connection()
        return connection().home

    with plait.ThreadPoolExecutor(2) as pool:
        homes = [future.result(LIMIT) for future in [pool.submit(work) for _ in range(6)]]
        assert sorted(log) == sorted(("made", home) for home in set(homes))
    assert len(set(homes)) == 2
    assert sorted(log[2:]) == sorted(("closed", home) for home in set(homes))
    assert len(log) == 4


def test_the_last_that_was_made_is_closed_first():
    log = []

    class Part:
        def __init__(self, name):
            self.name = name

        def close(self):
            log.append(self.name)

    one = plait.per_worker(lambda: Part("one"))
    two = plait.per_worker(lambda: Part("two"))
    with plait.ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: (one(), two())).result(LIMIT)
    assert log == ["two", "one"]


def test_a_context_manager_is_entered_and_left():
    log = []

    @plait.per_worker
    @contextlib.contextmanager
    def session():
        log.append("in")
        yield "the session"
        log.append("out")

    with plait.ThreadPoolExecutor(1) as pool:
        assert [pool.submit(session).result(LIMIT) for _ in range(3)] == ["the session"] * 3
        assert log == ["in"]
    assert log == ["in", "out"]


def test_any_value_will_do():
    ident = plait.per_worker(threading.get_ident)
    with plait.ThreadPoolExecutor(1) as pool:
        assert pool.submit(ident).result(LIMIT) == pool.submit(threading.get_ident).result(LIMIT)
    assert ident() == threading.get_ident()


def test_a_thread_of_ours_and_one_of_anybody_else_close_theirs():
    for make in (plait.Thread, threading.Thread):
        log = []
        connection = plait.per_worker(lambda log=log: Connection(log))
        thread = make(target=connection)
        thread.start()
        thread.join(LIMIT)
        assert [what for what, _ in log] == ["made", "closed"]


def test_a_factory_that_fails_is_asked_again():
    answers = iter([OSError("not yet"), "value"])

    @plait.per_worker
    def value():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with plait.ThreadPoolExecutor(1) as pool:
        with pytest.raises(OSError, match="not yet"):
            pool.submit(value).result(LIMIT)
        assert pool.submit(value).result(LIMIT) == "value"


def test_what_closing_raises_is_logged(caplog):
    class Broken:
        def close(self):
            raise OSError("cannot be closed")

    with caplog.at_level(logging.ERROR, "plait"), plait.ThreadPoolExecutor(1) as pool:
        pool.submit(plait.per_worker(Broken)).result(LIMIT)
    assert "cannot be closed" in caplog.text
    assert "exception while closing" in caplog.text


def test_what_is_to_be_awaited_is_refused():
    class Session:
        async def close(self):
            pass

    async def make():
        pass

    with pytest.raises(TypeError, match="to be awaited"):
        plait.per_worker(Session)()
    with pytest.raises(TypeError, match="plain function"):
        plait.per_worker(make)()
    with pytest.raises(TypeError, match="not an object of type int"):
        plait.per_worker(5)


class InFile:
    """Notes in a file that it was made and closed, in which process."""

    def __init__(self, path):
        self.path = path
        self.write("made")

    def write(self, what):
        with open(self.path, "a") as file:
            file.write(f"{what} {os.getpid()}\n")

    def close(self):
        self.write("closed")


def test_each_process_has_its_own_until_it_ends(tmp_path):
    path = tmp_path / "log"
    value = plait.per_worker(lambda: InFile(path))

    def work(_):
        assert value() is value()
        return os.getpid()

    def other(_):
        return value() is not None

    with plait.ProcessPoolExecutor(2) as pool:
        pids = set(pool.map(work, range(50)))
        assert all(pool.map(other, range(50)))
        assert all(pool.map(lambda task: task(0), [work] * 9))
    lines = path.read_text().split("\n")[:-1]
    used = {line.split()[1] for line in lines}
    assert {str(pid) for pid in pids} <= used
    assert sorted(lines) == sorted(f"{what} {pid}" for what in ("made", "closed") for pid in used)


# The decorated function has the name of what decorates it.
@plait.per_worker
def decorated():
    return [os.getpid()]


def test_a_decorated_factory_goes_to_processes():
    def work():
        return decorated() is decorated(), decorated()

    with plait.ProcessPoolExecutor(1) as pool:
        same, (pid,) = pool.submit(work).result(LIMIT)
        assert same
        assert pool.submit(decorated).result(LIMIT) == [pid]
        assert pool.submit(work).result(LIMIT) == (True, [pid])
    assert pid != os.getpid()
    assert decorated.__name__ == "decorated"


def test_one_of_a_program_goes_to_processes_and_is_closed_at_exit():
    program = """
        import os, plait

        class Value:
            def __init__(self):
                self.pid = os.getpid()
            def close(self):
                print("closed", self.pid == os.getpid(), flush=True)

        @plait.per_worker
        def value():
            return Value()

        def work():
            return value() is value(), value().pid

        with plait.ProcessPoolExecutor(1) as pool:
            same, pid = pool.submit(work).result(30)
            assert same and pid != os.getpid()
            assert pool.submit(work).result(30) == (True, pid)
        assert value().pid == os.getpid()
        print("end", flush=True)
    """
    assert run(program) == (0, "closed True\nend\nclosed True\n", "")


def test_a_forked_child_leaves_the_values_of_its_parent_alone():
    program = """
        import os, plait, threading

        class Value:
            def close(self):
                print("closed", flush=True)
            def __del__(self):
                print("gone", flush=True)

        value = plait.per_worker(Value)
        mine = value()
        go, ready = threading.Event(), threading.Event()

        def work():
            value()
            ready.set()
            go.wait(30)

        thread = threading.Thread(target=work)
        thread.start()
        ready.wait(30)
        if os.fork() == 0:
            assert value() is not mine
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
        print("child has ended", flush=True)
        go.set()
        thread.join()
        assert value() is mine
        del mine
    """
    code, out, err = run(program)
    assert (code, err) == (0, "")
    assert out.split("\n")[:3] == ["child has ended", "closed", "gone"]
    assert out.count("closed") == 2
