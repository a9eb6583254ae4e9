"""What a worker sees: the user's process as it was when the pool was made."""

import atexit
import logging
import multiprocessing
import multiprocessing.util
import os
import random
import signal
import stat
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest

import plait
from plait import _cores

LIMIT = 60


class OfThisModule(UserWarning):
    pass


def in_worker(fn, *args, **options):
    """What a call returns in a worker of a pool that is made now."""
    with plait.ProcessPoolExecutor(1, **options) as pool:
        return pool.submit(fn, *args).result(LIMIT)


def made_with_mode(path):
    with open(path, "x"):
        return stat.S_IMODE(os.stat(path).st_mode)


def test_the_umask_is_that_of_the_making(tmp_path):
    before = os.umask(0o027)
    try:
        pool = plait.ProcessPoolExecutor(1)
    finally:
        os.umask(before)
    with pool:
        assert pool.submit(made_with_mode, tmp_path / "file").result(LIMIT) == 0o640


def warned(category, text):
    """How the worker's filters answer a warning."""
    with warnings.catch_warnings(record=True) as seen:
        try:
            warnings.warn_explicit(text, category, "file.py", 1, module="somewhere.else")
        except Warning as raised:
            return f"raised {type(raised).__name__}"
    return [type(warning.message).__name__ for warning in seen]


def test_warning_filters_that_were_set_at_run_time():
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", "^boom", UserWarning)
        warnings.filterwarnings("error", module=r"somewhere\.else", category=BytesWarning)
        warnings.simplefilter("always", OfThisModule)
        pool = plait.ProcessPoolExecutor(1)
    with pool:
        for category, text, expected in [
            (UserWarning, "boom!", "raised UserWarning"),
            (UserWarning, "fine", []),
            (BytesWarning, "any", "raised BytesWarning"),
            (OfThisModule, "any", ["OfThisModule"]),
            (RuntimeWarning, "boom!", []),
        ]:
            assert pool.submit(warned, category, text).result(LIMIT) == expected


def test_a_filter_whose_category_the_template_has_not_imported(tmp_path, monkeypatch):
    (tmp_path / "far_away.py").write_text("class Far(Warning): pass\nclass Nearer(Far): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import far_away

    with warnings.catch_warnings():
        warnings.simplefilter("error", far_away.Far)
        pool = plait.ProcessPoolExecutor(1)
    with pool:
        assert "far_away" not in pool.submit(lambda: list(sys.modules)).result(LIMIT)
        assert pool.submit(warned, far_away.Nearer, "").result(LIMIT) == "raised Nearer"


def levels():
    return {
        "root": logging.getLogger().level,
        "named": logging.getLogger("plait.test.named").level,
        "quiet": logging.getLogger("plait.test.quiet").disabled,
        "disable": logging.root.manager.disable,
        "name": logging.getLevelName(17),
    }


def test_levels_of_loggers(monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", 13)
    monkeypatch.setattr(logging.getLogger("plait.test.named"), "level", logging.DEBUG)
    monkeypatch.setattr(logging.getLogger("plait.test.quiet"), "disabled", True)
    monkeypatch.setattr(root.manager, "_disable", 3)
    logging.addLevelName(17, "CHATTY")
    assert in_worker(levels) == levels()


def limits():
    return (
        sys.getrecursionlimit(),
        sys.get_int_max_str_digits(),
        sys.dont_write_bytecode,
        sys.flags.optimize,
        sys.flags.dev_mode,
        sys.warnoptions,
    )


def test_limits_that_were_set_at_run_time(monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", not sys.dont_write_bytecode)
    digits, depth = sys.get_int_max_str_digits(), sys.getrecursionlimit()
    sys.set_int_max_str_digits(5000)
    sys.setrecursionlimit(4321)
    try:
        expected = limits()
        pool = plait.ProcessPoolExecutor(1)
    finally:
        sys.set_int_max_str_digits(digits)
        sys.setrecursionlimit(depth)
    with pool:
        assert pool.submit(limits).result(LIMIT) == expected


def run_program(tmp_path, text, *flags, **variables):
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, *flags, str(path)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    ).stdout


def test_flags_of_the_interpreter(tmp_path):
    text = """
        import sys
        import plait

        def look():
            return sys.flags.optimize, sys.flags.dev_mode, sys.warnoptions, sys.flags.no_user_site

        with plait.ProcessPoolExecutor(1) as pool:
            seen = pool.submit(look).result()
            assert seen == look(), seen
        print(seen)
    """
    flags = ("-OO", "-s", "-X", "dev", "-W", "error::UnicodeWarning")
    printed = run_program(tmp_path, text, *flags)
    assert printed == "(2, True, ['default', 'error::UnicodeWarning'], 1)\n"


def look_around():
    return {
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)],
        "input": sys.stdin.read() if sys.stdin else None,
        "raw input": os.read(0, 1),
        "group": os.getpgid(0) == os.getpid(),
        "name": multiprocessing.current_process().name,
        "parent": multiprocessing.parent_process().pid,
        "seeds": random.random(),
    }


def test_signals_input_group_and_names(monkeypatch):
    previous = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with plait.ProcessPoolExecutor(2) as pool:
            seen = [pool.submit(look_around).result(LIMIT) for _ in range(2)]
    finally:
        signal.signal(signal.SIGUSR1, previous)
    for each in seen:
        assert each["signals"] == [signal.default_int_handler, signal.SIG_DFL]
        assert each["input"] in ("", None)
        assert each["raw input"] == b""
        assert each["group"] is True
        assert each["name"].startswith("plait-worker-")
        assert each["parent"] == os.getpid()


def draws(tmp_path, draw):
    """What two workers draw."""

    def meet(mine, other):
        (tmp_path / mine).touch()
        while not (tmp_path / other).exists():
            os.sched_yield()
        return os.getpid(), draw()

    with plait.ProcessPoolExecutor(2) as pool:
        futures = [pool.submit(meet, *names) for names in (("a", "b"), ("b", "a"))]
        (pid, first), (other_pid, second) = [future.result(LIMIT) for future in futures]
    assert pid != other_pid
    return first, second


def test_generators_differ_between_workers(tmp_path):
    first, second = draws(tmp_path, lambda: random.random())
    assert first != second


def test_the_global_generator_of_numpy_differs_between_workers(tmp_path):
    pytest.importorskip("numpy")

    def draw():
        import numpy as np

        return np.random.random()

    first, second = draws(tmp_path, draw)
    assert first != second


def library_threads():
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
    return [os.environ.get(name) for name in names]


def test_numeric_libraries_share_the_cores(monkeypatch):
    monkeypatch.setattr(_cores, "usable", lambda: 12)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("POLARS_MAX_THREADS", "7")
    with plait.ProcessPoolExecutor(4) as pool:
        assert pool.submit(library_threads).result(LIMIT) == ["3", "3", "3", "7"]
    assert "OMP_NUM_THREADS" not in os.environ
    with plait.ProcessPoolExecutor(13) as pool:
        assert pool.submit(library_threads).result(LIMIT) == ["1", "1", "1", "7"]


def inner_pool():
    with plait.ProcessPoolExecutor() as pool:
        return pool._max_workers, pool.submit(library_threads).result(LIMIT)


def test_a_pool_inside_a_worker_keeps_to_its_share(monkeypatch):
    monkeypatch.setattr(_cores, "usable", lambda: 6)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "2")
    monkeypatch.setenv("POLARS_MAX_THREADS", "3")
    with plait.ProcessPoolExecutor(2) as pool:
        # Three cores for the worker: an inner pool of three, of one core each. What the user has
        # set, were it to the very number, stays.
        assert pool.submit(inner_pool).result(LIMIT) == (3, ["1", "1", "2", "3"])


def leave_traces(directory):
    atexit.register(lambda: Path(directory, "atexit").write_text(str(os.getpid())))
    multiprocessing.util.Finalize(None, Path(directory, "finalize").touch, exitpriority=1)
    sys.stdout = open(Path(directory, "flushed"), "w")  # noqa: SIM115
    print("buffered")
    return os.getpid()


def test_a_worker_that_retires_finishes_as_a_program_does(tmp_path):
    with plait.ProcessPoolExecutor(1) as pool:
        pid = pool.submit(leave_traces, str(tmp_path)).result(LIMIT)
    assert (tmp_path / "atexit").read_text() == str(pid)
    assert (tmp_path / "finalize").exists()
    assert (tmp_path / "flushed").read_text() == "buffered\n"
