"""`plait run`: an unchanged program, as python runs it but for the loop and the pools."""

import os
import signal
import subprocess
import sys

import pytest

# What a program sees of how it was begun.
SEEN = """
import json, os, sys
main = sys.modules["__main__"]
spec = main.__spec__
print(json.dumps({
    "argv": sys.argv, "path": sys.path, "name": __name__, "file": __file__,
    "package": __package__, "spec": spec and spec.name, "cached": main.__cached__ is None,
    "keys": sorted(k for k in vars(main) if k.startswith("__")),
    "environment": {k: v for k, v in os.environ.items() if k.startswith("P")},
    "warnings": sys.warnoptions, "flags": sys.flags.optimize,
}))
"""


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "seen.py").write_text(SEEN)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "__main__.py").write_text(SEEN)
    return tmp_path


def python(directory, *words, env=None, text=None, options=()):
    """Run the interpreter, without what a debug build says of itself."""
    environment = {**os.environ, "PLAIT_ALLOW_DEBUG": "1", **(env or {})}
    return subprocess.run(
        [sys.executable, *options, *words],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=100,
        env=environment,
        input=text,
    )


def run(directory, *words, **more):
    return python(directory, "-m", "plait", "run", *words, **more)


def program(directory, text):
    (directory / "program.py").write_text(text)
    return "program.py"


@pytest.mark.parametrize(
    "words",
    [
        ["seen.py"],
        ["seen.py", "-x", "--pools", "a b"],
        ["-m", "package", "--strict"],
        ["./package"],
    ],
    ids=["script", "arguments", "module", "directory"],
)
@pytest.mark.parametrize("env", [{}, {"PYTHONPATH": "/nowhere"}], ids=["", "path"])
def test_a_program_sees_what_it_sees_under_python(directory, words, env):
    expected = python(directory, *words, env=env)
    assert expected.returncode == 0, expected.stderr
    found = run(directory, *words, env=env)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == expected.stdout


def test_the_interpreters_options_are_passed_on(directory):
    options = ("-O", "-W", "error::BytesWarning")
    expected = python(directory, "seen.py", options=options)
    found = run(directory, "seen.py", options=options)
    assert found.stdout == expected.stdout


@pytest.mark.parametrize(
    "end",
    [
        "sys.exit(7)",
        "sys.exit('a word')",
        "1 / 0",
        "raise KeyboardInterrupt",
        "os.kill(os.getpid(), signal.SIGINT)",
        "os.kill(os.getpid(), signal.SIGTERM)",
        "print(input())",
        "raise ExceptionGroup('several', [ValueError(1)])",
        "def broken(:",
    ],
)
@pytest.mark.parametrize("options", [[], ["--pools"], ["--strict"]], ids=["", "pools", "strict"])
def test_a_program_ends_as_it_ends_under_python(directory, end, options):
    name = program(directory, f"import os, signal, sys\ndef end():\n    {end}\nend()\n")
    expected = python(directory, name, text="a line\n")
    found = run(directory, *options, name, text="a line\n")
    assert (found.returncode, found.stdout, found.stderr) == (
        expected.returncode,
        expected.stdout,
        expected.stderr,
    )


def test_ctrl_c_reaches_the_program(directory):
    name = program(
        directory,
        "import asyncio\n"
        "async def main():\n"
        "    print('ready', flush=True)\n"
        "    try:\n"
        "        await asyncio.sleep(100)\n"
        "    except asyncio.CancelledError:\n"
        "        print('cleaned up', flush=True)\n"
        "        raise\n"
        "asyncio.run(main())\n",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "plait", "run", name],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (-signal.SIGINT, "cleaned up\n")
    assert err.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize(
    "made",
    [
        "asyncio.run(show())",
        "asyncio.Runner().run(show())",
        "asyncio.new_event_loop().run_until_complete(show())",
    ],
)
def test_asyncio_makes_plaits_loops(directory, made):
    name = program(
        directory,
        "import asyncio\n"
        "async def show():\n"
        "    print(type(asyncio.get_running_loop()).__module__)\n"
        f"{made}\n",
    )
    assert run(directory, name).stdout == "plait._loop.loop\n"


def test_a_sitecustomize_of_the_users_is_run(directory):
    (directory / "own").mkdir()
    (directory / "own" / "sitecustomize.py").write_text("print('own')\n")
    name = program(directory, "import sitecustomize\nprint(sitecustomize.__file__)\n")
    found = run(directory, name, env={"PYTHONPATH": str(directory / "own")})
    own = str(directory / "own" / "sitecustomize.py")
    # Once for `python -m plait` itself.
    assert found.stdout.splitlines() == ["own", "own", own]


def test_a_subprocess_is_left_alone(directory):
    name = program(
        directory,
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', "
        "\"import sys; print('plait' in sys.modules)\"], check=True)\n",
    )
    assert run(directory, name).stdout == "False\n"


LOSES = """
import asyncio, concurrent.futures
async def boom(text):
    raise ValueError(text)
async def main():
    try:
        await asyncio.gather(boom("first"), boom("second"))
    except ValueError as error:
        print("got", error)
asyncio.run(main())
"""


@pytest.mark.parametrize("strict", [False, True])
def test_a_second_failure_of_gather_is_reported(directory, strict):
    name = program(directory, LOSES)
    found = run(directory, *(["--strict"] if strict else []), name)
    assert found.stdout == "got first\n"
    assert found.returncode == strict
    assert found.stderr.count("nobody asked") == 1
    assert found.stderr.count("ValueError: second") == 1
    assert "(boom), submitted at" in found.stderr
    assert "program.py:7" in found.stderr
    assert ("1 exception was lost" in found.stderr) is strict


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("sys.exit(0)", 1),
        ("sys.exit(7)", 7),
        ("1 / 0", 1),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("os._exit(0)", 0),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("os.fork() or sys.exit(0); sys.exit(os.waitstatus_to_exitcode(os.wait()[1]) + 4)", 4),
    ],
)
def test_a_status_of_failure_stays(directory, end, status):
    name = program(
        directory,
        "import atexit, os, signal, sys, threading, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "thread = threading.Thread(target=int, args=('x',))\n"
        "thread.start()\n"
        "thread.join()\n"
        "print('written', flush=True)\n"
        f"{end}\n",
    )
    found = run(directory, "--strict", name)
    assert found.returncode == status, found.stderr
    assert found.stdout == "written\n"


GATHERS = """
import asyncio
async def boom(delay):
    await asyncio.sleep(delay)
    raise ValueError(delay)
async def fine(value):
    await asyncio.sleep(0)
    return value
async def main():
    assert await asyncio.gather() == []
    shared = asyncio.ensure_future(fine(3))
    assert await asyncio.gather(fine(1), shared, shared, fine(2)) == [1, 3, 3, 2]
    results = await asyncio.gather(boom(0), fine(1), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, int]
    kept = [asyncio.ensure_future(boom(0)), asyncio.ensure_future(boom(0.01))]
    try:
        await asyncio.gather(*kept)
    except ValueError as error:
        assert error.args == (0,)
    # Whoever looks has not lost it.
    await asyncio.wait(kept)
    assert kept[1].exception().args == (0.01,)
    slow = asyncio.ensure_future(asyncio.sleep(100))
    outer = asyncio.gather(slow, boom(100))
    await asyncio.sleep(0)
    assert outer.cancel()
    try:
        await outer
    except asyncio.CancelledError:
        assert slow.cancelled()
    else:
        raise AssertionError
    gone = asyncio.ensure_future(asyncio.sleep(100))
    outer = asyncio.gather(gone)
    gone.cancel("why")
    try:
        await outer
    except asyncio.CancelledError as error:
        assert error.args == ("why",), error.args
asyncio.run(main())
"""


@pytest.mark.parametrize("words", [[], ["-m", "plait", "run", "--strict"]], ids=["python", "plait"])
def test_gather_does_what_it_does_under_python(directory, words):
    found = python(directory, *words, program(directory, GATHERS))
    assert (found.returncode, found.stderr) == (0, "")


def test_coroutines_that_nobody_awaits_are_reported(directory):
    name = program(directory, "async def never(): ...\nnever()\n")
    found = run(directory, "--strict", name)
    assert found.returncode == 1
    assert "never, submitted at" in found.stderr
    assert "program.py:2" in found.stderr
    assert "coroutine 'never' was never awaited" in found.stderr


def test_the_standard_pools_failures_are_reported(directory):
    name = program(
        directory,
        "import concurrent.futures\n"
        "with concurrent.futures.ThreadPoolExecutor() as pool:\n"
        "    pool.submit(int, 'dropped')\n"
        "    kept = pool.submit(int, 'kept')\n"
        "    pool.submit(int, 'asked').exception()\n"
        "    assert pool.submit(int, '1').result() == 1\n"
        "print(type(kept).__module__)\n",
    )
    for options, module in [[], "concurrent.futures._base"], [["--pools"], "plait._future"]:
        found = run(directory, *options, name)
        assert found.stdout == f"{module}\n"
        assert found.stderr.count("nobody asked") == 2
        assert "int, submitted at" in found.stderr
        assert "program.py:3" in found.stderr
        assert "program.py:4" in found.stderr
        assert "asked'" not in found.stderr.replace("nobody asked", "")


RAISES = """
import asyncio, concurrent.futures, multiprocessing, traceback
def fail(x):
    return 1 / x
async def failing():
    await asyncio.sleep(0)
    return fail(0)
def tell(call):
    try:
        call()
    except Exception:
        traceback.print_exc()
if __name__ == "__main__":
    futures = concurrent.futures
    for kind in futures.ThreadPoolExecutor, futures.ProcessPoolExecutor:
        with kind(1) as pool:
            # Each has failed before it is asked: another line of Python's waits for it.
            asked, mapped = pool.submit(fail, 0), pool.map(fail, [0])
            pool.submit(int).result()
            tell(asked.result)
            tell(lambda: next(mapped))
            traceback.print_exception(pool.submit(fail, 0).exception())
        tell(lambda: pool.submit(fail, 0))
    with multiprocessing.Pool(1) as pool:
        tell(lambda: pool.apply(fail, (0,)))
        tell(lambda: pool.map(fail, [0]))
        tell(lambda: next(pool.imap(fail, [0])))
        tell(lambda: list(pool.imap_unordered(fail, [0, 0, 0], chunksize=2)))
        dropped = pool.apply_async(len, ([],))
        dropped.wait()
        assert dropped.successful()
    tell(lambda: pool.apply_async(fail, (0,)))
    with asyncio.Runner() as runner:
        tell(lambda: runner.run(failing()))
        tell(lambda: runner.run(asyncio.wait_for(failing(), 60)))
    asyncio.run(failing())
"""


def test_tracebacks_are_those_of_python(directory):
    name = program(directory, RAISES)
    expected = python(directory, name)
    assert expected.stderr.count("ZeroDivisionError: division") >= 12
    assert run(directory, "--strict", name).stderr == expected.stderr


@pytest.mark.parametrize(
    "words",
    [["-m", "package"], ["-mpackage"], ["--strict", "-mpackage"], ["--", "seen.py"]],
    ids=" ".join,
)
def test_options_are_written_as_with_python(directory, words):
    found = run(directory, *words, "-m", "--pools")
    assert '"-m", "--pools"]' in found.stdout, found.stderr


def test_unbuffered_output_stays_so(directory):
    name = program(directory, "import os; print('written'); os._exit(3)\n")
    found = run(directory, name, options=["-u"])
    assert (found.returncode, found.stdout) == (3, "written\n")


@pytest.mark.parametrize("raised", ["ValueError('in a thread')", "SystemExit"])
def test_a_threads_own_failure_counts(directory, raised):
    name = program(
        directory,
        "import threading\n"
        "def work():\n"
        f"    raise {raised}\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "thread.join()\n",
    )
    expected = python(directory, name)
    assert run(directory, name).stderr == expected.stderr
    assert run(directory, "--strict", name).returncode == (raised != "SystemExit")


POOLS = """
import asyncio, concurrent.futures, multiprocessing, multiprocessing.pool
def square(x):
    return x * x
if __name__ == "__main__":
    print(type(concurrent.futures.ThreadPoolExecutor()).__module__)
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        print(type(pool).__module__, list(pool.map(square, range(3))))
    for make in multiprocessing.Pool, multiprocessing.get_context("spawn").Pool:
        with make(2) as pool:
            print(type(pool).__module__, pool.map(square, range(3)))
    with multiprocessing.pool.ThreadPool(2) as pool:
        print(type(pool).__module__, pool.map(square, range(3)))
    with multiprocessing.pool.Pool(2) as pool:
        print(type(pool).__module__, pool.apply(square, (3,)))
"""


def test_pools_stand_in_the_standard_ones_places(directory):
    found = run(directory, "--pools", program(directory, POOLS))
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.splitlines() == [
        "plait._threads",
        "plait._processes [0, 1, 4]",
        "plait._pool [0, 1, 4]",
        "plait._pool [0, 1, 4]",
        "plait._thread_pool [0, 1, 4]",
        "plait._pool 9",
    ]


def test_without_pools_the_standard_ones_work(directory):
    found = run(directory, "--strict", program(directory, POOLS))
    assert found.returncode == 0, found.stderr
    assert "plait" not in found.stdout


@pytest.mark.parametrize(
    ("options", "words", "message"),
    [
        ([], [], "Missing argument"),
        ([], ["--nonsense", "seen.py"], "there is no option '--nonsense'"),
        (["-E"], ["seen.py"], "keep plait from getting into the program"),
    ],
)
def test_what_cannot_be_is_refused(directory, options, words, message):
    found = run(directory, *words, options=options)
    assert found.returncode == 2
    assert message in found.stderr


def test_a_script_that_is_not_there_is_what_python_says(directory):
    found = run(directory, "no_such.py")
    assert found.returncode == 2
    assert "can't open file" in found.stderr


def test_a_command_of_the_environment_is_run(directory):
    done = run(directory, "pytest", "--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"pytest {pytest.__version__}\n"
    # A file comes first.
    (directory / "pytest").write_text("print('here')")
    assert run(directory, "pytest").stdout == "here\n"
