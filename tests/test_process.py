"""`plait.Process` does what `multiprocessing.Process` does, and starts from a clean template."""

import gc
import multiprocessing
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from multiprocessing import connection, managers
from multiprocessing.process import BaseProcess, current_process, parent_process
from pathlib import Path

import pytest
from processes import run

import plait
from plait._process import launcher

pytestmark = pytest.mark.usefixtures("template_ends")

LIMIT = 60
CONTEXT = plait.get_context()


def answer(target, *args, **options):
    """Return what a function says when it runs in a process."""
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = plait.Process(target=_tell, args=(theirs, target, *args), **options)
    process.start()
    theirs.close()
    with ours:
        said = ours.recv()
    process.join(LIMIT)
    assert process.exitcode == 0
    return said


def _tell(pipe, target, *args):
    pipe.send(target(*args))


# ---- what it runs


def test_runs_its_target_with_arguments():
    queue = CONTEXT.SimpleQueue()
    process = plait.Process(target=lambda *a, **k: queue_put(a, k), args=(1, 2), kwargs={"x": 3})

    def queue_put(*values):
        queue.put(values)

    process.start()
    assert queue.get() == ((1, 2), {"x": 3})
    process.join(LIMIT)
    assert process.exitcode == 0


def test_runs_the_method_of_a_subclass():
    class Adder(plait.Process):
        def __init__(self, pipe, a, b):
            super().__init__(name="adder")
            self.pipe, self.a, self.b = pipe, a, b

        def run(self):
            self.pipe.send((self.name, self.a + self.b, type(self).__name__))

    ours, theirs = CONTEXT.Pipe()
    process = Adder(theirs, 2, 3)
    process.start()
    assert ours.recv() == ("adder", 5, "Adder")
    process.join(LIMIT)
    assert process.exitcode == 0


def test_a_subclass_may_use_the_names_that_are_new():
    class Own(plait.Process):
        def __init__(self, timeout):
            super().__init__()
            self.timeout = self.grace = self._timeout = self._grace = self.timed_out = timeout

        def run(self):
            sys.exit(self.timeout)

    process = Own(3)
    process.start()
    process.join(LIMIT)
    assert (process.exitcode, process.timed_out) == (3, 3)


def end_well():
    pass


def end_by_exception():
    raise LookupError("lost")


def end_by_code():
    sys.exit(3)


def end_by_negative_code():
    sys.exit(-1)


def end_by_text():
    sys.exit("words")


def end_by_none():
    sys.exit(None)


def end_at_once():
    os._exit(7)


def end_by_signal():
    os.kill(os.getpid(), signal.SIGKILL)


def end_by_default_of_sigterm():
    os.kill(os.getpid(), signal.SIGTERM)


ENDS = [
    end_well,
    end_by_exception,
    end_by_code,
    end_by_negative_code,
    end_by_text,
    end_by_none,
    end_at_once,
    end_by_signal,
    end_by_default_of_sigterm,
]


@pytest.mark.parametrize("target", ENDS, ids=lambda target: target.__name__)
def test_ends_as_a_process_of_multiprocessing_does(target, capfd):
    model = multiprocessing.get_context("spawn").Process(target=target, name="same")
    model.start()
    model.join(LIMIT)
    expected = model.exitcode, capfd.readouterr().err.splitlines()
    ours = run(target, name="same")
    assert (ours.exitcode, capfd.readouterr().err.splitlines()) == expected
    assert ours.timed_out is False


def test_waits_for_threads_and_runs_exit_functions(tmp_path):
    def work():
        import atexit

        atexit.register(lambda: (tmp_path / "exit").write_text("done"))
        threading.Thread(target=lambda: (time.sleep(0.1), (tmp_path / "thread").touch())).start()
        print("kept", end="")

    assert run(work).exitcode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exit", "thread"]


# ---- what can be told of it


def test_is_a_process_of_multiprocessing():
    inside = CONTEXT.Event()
    process = plait.Process(target=inside.wait, name="known")
    assert isinstance(process, BaseProcess)
    assert (process.pid, process.ident, process.exitcode) == (None, None, None)
    assert not process.is_alive()
    with pytest.raises(ValueError, match="not started"):
        process.sentinel  # noqa: B018
    process.start()
    assert process in multiprocessing.active_children()
    assert process.is_alive()
    assert process.exitcode is None
    assert process.pid == process.ident > 0
    assert "name='known'" in repr(process)
    assert "started" in repr(process)
    process.join(0)
    assert process.is_alive()
    with pytest.raises(ValueError, match="still running"):
        process.close()
    with pytest.raises(AssertionError, match="twice"):
        process.start()
    inside.set()
    process.join(LIMIT)
    assert process not in multiprocessing.active_children()
    assert "stopped exitcode=0" in repr(process)
    process.close()
    with pytest.raises(ValueError, match="closed"):
        process.is_alive()


def identity():
    parent = parent_process()
    current = current_process()
    return {
        "parent": (parent.pid, parent.name, parent.is_alive()),
        "current": (current.name, current.pid == os.getpid(), current.daemon),
        "children": multiprocessing.active_children(),
        "authkey": bytes(current.authkey),
        "type": type(current).__qualname__,
        "stdin": sys.stdin.read(),
        "threads": threading.active_count(),
        "main": threading.main_thread().native_id == os.getpid(),
    }


def test_knows_who_it_is():
    assert answer(identity, name="somebody", daemon=True) == {
        "parent": (os.getpid(), current_process().name, True),
        "current": ("somebody", True, True),
        "children": [],
        "authkey": bytes(current_process().authkey),
        "type": "Process",
        "stdin": "",
        "threads": 1,
        "main": True,
    }


def test_its_end_can_be_waited_for_with_other_things():
    event = CONTEXT.Event()
    process = plait.Process(target=event.wait)
    process.start()
    assert connection.wait([process.sentinel], 0) == []
    event.set()
    assert connection.wait([process.sentinel], LIMIT) == [process.sentinel]
    assert select.select([process.sentinel], [], [], 0)[0] == [process.sentinel]
    assert process.exitcode == 0


@pytest.mark.parametrize(
    ("method", "code"), [("terminate", -signal.SIGTERM), ("kill", -signal.SIGKILL)]
)
def test_can_be_ended(method, code):
    process = plait.Process(target=time.sleep, args=(1000,))
    process.start()
    getattr(process, method)()
    process.join(LIMIT)
    assert process.exitcode == code
    getattr(process, method)()  # too late, and no error
    assert not process.timed_out


def test_many_threads_may_start_and_wait():
    codes = []

    def work(n):
        codes.extend(run(sys.exit, n * 5 + code).exitcode for code in range(5))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == list(range(40))


def test_many_threads_may_wait_for_one():
    event = CONTEXT.Event()
    process = plait.Process(target=lambda: (event.wait(), sys.exit(5)))
    process.start()
    codes = []
    threads = [
        threading.Thread(target=lambda: (process.join(LIMIT), codes.append(process.exitcode)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    event.set()
    for thread in threads:
        thread.join()
    assert codes == [5] * 8


def test_a_signal_handler_may_start_one():
    started = []

    def handler(number, frame):
        if len(started) < 20:
            started.append(plait.Process(target=sys.exit, args=(1,)))
            started[-1].start()
            signal.setitimer(signal.ITIMER_REAL, 0.002)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        while len(started) < 20:
            assert run(sys.exit, 2).exitcode == 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    for process in started:
        process.join(LIMIT)
        assert process.exitcode == 1


# ---- what it sees


def surroundings():
    return (
        os.environ.get("PLAIT_TEST_VALUE"),
        os.environ.get("PLAIT_TEST_GONE"),
        os.getcwd(),
        sys.path,
        sys.argv,
        signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN,
        os.getpgid(0),
    )


def test_sees_this_process_as_it_is_at_its_start(monkeypatch, tmp_path):
    monkeypatch.setenv("PLAIT_TEST_GONE", "soon")
    run(end_well)  # the template is there from here on
    monkeypatch.setenv("PLAIT_TEST_VALUE", "new")
    monkeypatch.delenv("PLAIT_TEST_GONE")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["other", "words"])
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        seen = answer(surroundings)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert seen == ("new", None, str(tmp_path), sys.path, sys.argv, True, os.getpgid(0))


def test_works_in_a_directory_that_is_gone(monkeypatch, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert run(end_well).exitcode == 0


def test_writes_to_where_this_process_does_now(tmp_path):
    run(end_well)
    kept = os.dup(1)
    with open(tmp_path / "out", "wb") as file:
        os.dup2(file.fileno(), 1)
    try:
        run(lambda: print("here"))
    finally:
        os.dup2(kept, 1)
        os.close(kept)
    assert (tmp_path / "out").read_text() == "here\n"


def count_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_inherits_nothing_of_the_others():
    events = [CONTEXT.Event() for _ in range(3)]
    others = [plait.Process(target=event.wait) for event in events]
    alone = answer(count_descriptors)
    for process in others:
        process.start()
    assert answer(count_descriptors) == alone
    for event, process in zip(events, others, strict=True):
        event.set()
        process.join(LIMIT)


def test_a_default_timeout_of_sockets_is_not_for_ours():
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.001)
    try:
        launcher.launcher.stop()
        assert run(sys.exit, 3).exitcode == 3
    finally:
        socket.setdefaulttimeout(before)


# ---- what it can be given


def test_takes_what_the_spawn_context_makes():
    spawn = multiprocessing.get_context("spawn")

    def work(lock, condition, queue, value, array, pipe, stream):
        with lock, condition:
            value.value += 1
            array[1] = 7
            queue.put(list(array))
            pipe.send(value.value)
            stream.send(b"bytes")

    value, array, queue = spawn.Value("i", 41), spawn.Array("i", [1, 2, 3]), spawn.Queue()
    ours, theirs = spawn.Pipe()
    near, far = socket.socketpair()
    process = run(work, spawn.Lock(), spawn.Condition(), queue, value, array, theirs, far)
    assert process.exitcode == 0
    assert (value.value, array[:], queue.get(timeout=LIMIT)) == (42, [1, 7, 3], [1, 7, 3])
    assert (ours.recv(), near.recv(5)) == (42, b"bytes")
    queue.close()
    for end in (ours, theirs, near, far):
        end.close()


def test_takes_proxies_of_managers():
    with CONTEXT.Manager() as manager:
        assert isinstance(manager, managers.SyncManager)
        entries = manager.dict()
        assert run(lambda: entries.update(a=1)).exitcode == 0
        assert dict(entries) == {"a": 1}


def test_takes_more_descriptors_than_one_message_carries():
    pairs = [socket.socketpair() for _ in range(300)]
    inner = [far for _, far in pairs]

    def work():
        for n, far in enumerate(inner):
            far.send(str(n).encode())

    try:
        assert run(work).exitcode == 0
        assert [int(near.recv(10)) for near, _ in pairs] == list(range(300))
    finally:
        for near, far in pairs:
            near.close()
            far.close()


def test_takes_large_arguments():
    data = os.urandom(1 << 20) * 50
    assert answer(hash_of, data) == hash_of(data)


def hash_of(data):
    import hashlib

    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "Event", "Queue", "Value"])
def test_refuses_what_only_forked_children_can_use(kind):
    fork = multiprocessing.get_context("fork")
    shared = fork.Value("i") if kind == "Value" else getattr(fork, kind)()
    process = plait.Process(target=print, args=(1, shared))
    with pytest.raises(RuntimeError, match=r"plait\.get_context\(\)") as caught:
        process.start()
    assert any("argument 2 of the process" in note for note in caught.value.__notes__)
    assert process not in multiprocessing.active_children()
    if kind == "Queue":
        shared.close()


def test_says_what_cannot_be_pickled():
    class Holder(plait.Process):
        pass

    process = Holder(name="holder")
    process.thing = (n for n in ())
    with pytest.raises(TypeError, match="generator") as caught:
        process.start()
    assert any("attribute 'thing' of the process holder" in note for note in caught.value.__notes__)
    assert process.pid is None


def test_what_it_cannot_load_ends_it_with_a_traceback(capfd):
    process = run(end_well, Bomb())
    assert process.exitcode == 1
    assert "ZeroDivisionError" in capfd.readouterr().err


class Bomb:
    def __reduce__(self):
        return divmod, (1, 0)


def test_a_process_starts_processes():
    def outer():
        sys.exit(run(sys.exit, 4).exitcode + 1)

    assert run(outer).exitcode == 5


def test_daemonic_processes_have_no_children(capfd):
    assert run(lambda: run(end_well), daemon=True).exitcode == 1
    assert "daemonic processes are not allowed to have children" in capfd.readouterr().err


def test_a_context_makes_them():
    process = CONTEXT.Process(target=sys.exit, args=(3,))
    assert type(process) is plait.Process
    process.start()
    process.join(LIMIT)
    assert process.exitcode == 3
    with CONTEXT.Pool(1) as pool:
        assert pool.apply(abs, (-3,)) == 3


# ---- what is left of it


def test_nothing_is_left_of_one():
    def rounds():
        for _ in range(10):
            run(end_well).close()
            run(end_well)
        gc.collect()
        return count_descriptors(), children()

    before = rounds()
    assert rounds() == before


def children():
    found = subprocess.run(
        [
            "ps",
            "--no-headers",
            "-o",
            "pid,stat,args",
            "--ppid",
            str(launcher.launcher._template.pid),
        ],
        capture_output=True,
        text=True,
    )
    return found.stdout


def test_an_ended_process_object_is_collected():
    import weakref

    process = run(end_well)
    reference = weakref.ref(process)
    del process
    gc.collect()
    assert reference() is None
