"""`plait which script.py`: a program runs as ever, and its functions are answered for."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from plait._measure import machine


class Script:
    """A program in a folder of its own, on a machine whose overheads are known."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, text: str, *words: str, options: tuple[str, ...] = ()) -> Any:
        (self.folder / "script.py").write_text(textwrap.dedent(text))
        return subprocess.run(
            [sys.executable, "-m", "plait", "which", *options, "script.py", *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "PLAIT_ALLOW_DEBUG": "1"},
        )

    def answers(self, text: str, *words: str) -> dict[str, dict[str, Any]]:
        """Return the answers by the names of the functions, in their order."""
        ended = self.run(text, *words, options=("--json",))
        assert ended.returncode == 0, ended.stderr
        return {found["function"]: found for found in json.loads(ended.stdout)["functions"]}


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # As if it had been measured, so that no test has to.
    told = {"identity": machine.identity(), "tries": 0, "overheads": asdict(machine.TYPICAL)}
    path = Path(machine.cache_file())
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(told))
    return Script(tmp_path)


COMPUTES = """
    import sys

    def compute(count, *rest, scale=1, **more):
        return [number * number * scale for number in range(count)]

    def main():
        for round in range(30):
            compute(20_000, "rest", scale=2, deep={"a": 1})

    main()
"""


def test_the_program_runs_as_ever_and_the_report_goes_to_stderr(script: Script) -> None:
    ended = script.run(
        COMPUTES + "    print(sys.argv, __name__)\n    sys.exit(7)\n", "--json", "-x", "a b"
    )
    assert ended.returncode == 7
    assert ended.stdout == "['script.py', '--json', '-x', 'a b'] __main__\n"
    assert "script.py ran for" in ended.stderr
    assert "compute" in ended.stderr
    assert "compute: use " in ended.stderr
    assert "main" not in ended.stderr.replace("remain", "")


def test_json_is_alone_on_stdout(script: Script) -> None:
    text = COMPUTES + "    print('mine')\n    import os\n    os.system('echo shell')\n"
    ended = script.run(text, options=("--json",))
    assert ended.returncode == 0
    assert sorted(ended.stderr.split()) == ["mine", "shell"]
    report = json.loads(ended.stdout)
    (found,) = report["functions"]
    assert report["script"] == "script.py"
    assert (found["function"], found["line"], found["calls"]) == ("compute", 4, 30)
    assert found["file"].endswith("script.py")
    assert 0 < found["share"] <= 1
    assert found["best"] in found["estimates"]
    assert found["estimates"]["serial"]["seconds"] > 0
    assert found["reason"] == found["estimates"][found["best"]]["reason"]
    signals = found["signals"]
    assert signals["calls"] == 30
    assert signals["argument_bytes"] > len("rest")
    assert signals["result_bytes"] > 20_000
    assert signals["unpicklable"] is None
    assert signals["cpu"] <= signals["wall"]


def test_who_holds_the_lock_and_what_is_waited_on(script: Script) -> None:
    found = script.answers("""
        import time

        def compute():
            return sum(number * number for number in range(100_000))

        def sleep():
            time.sleep(0.01)

        for _ in range(20):
            compute()
            sleep()
    """)
    assert found["compute"]["signals"]["held"] > 0.8
    assert found["sleep"]["signals"]["held"] < 0.5
    waits = found["sleep"]["signals"]["waits"]
    assert max(waits, key=waits.get) == "sleep"


def test_an_argument_that_cannot_be_carried_is_named(script: Script) -> None:
    found = script.answers("""
        import threading

        def compute(lock):
            return sum(range(100_000))

        def give():
            return threading.Lock(), sum(range(100_000))

        for _ in range(20):
            compute(threading.Lock())
            give()
    """)
    problem = found["compute"]["signals"]["unpicklable"]
    assert "argument cannot be pickled: `lock`, a lock" in problem
    assert "result cannot be pickled" in found["give"]["signals"]["unpicklable"]
    assert found["compute"]["signals"]["argument_bytes"] is None
    assert "`lock`" in found["compute"]["reasons"]["process"]


def test_arguments_are_weighed_before_the_call_changes_them(script: Script) -> None:
    found = script.answers("""
        def fill(rows):
            rows.extend(range(50_000))

        for _ in range(10):
            fill([])
    """)
    assert found["fill"]["signals"]["argument_bytes"] < 100


def test_a_large_argument_is_weighed_within_bounds(script: Script) -> None:
    found = script.answers("""
        def use(data, more):
            return sum(data[::1000])

        data, more = bytes(200_000_000), [bytes(1_000_000)] * 3
        for _ in range(4):
            use(data, more)
    """)
    assert found["use"]["signals"]["argument_bytes"] >= 64_000_000


def test_a_recursion_is_one_call(script: Script) -> None:
    found = script.answers("""
        def fibonacci(n):
            return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

        for _ in range(5):
            fibonacci(15)
    """)
    assert found["fibonacci"]["calls"] == 5
    assert found["fibonacci"]["share"] <= 1


def test_a_program_that_recurses_too_deep_may(script: Script) -> None:
    ended = script.run("""
        def deep(number):
            return deep(number + 1)

        def compute():
            return sum(range(50_000))

        for _ in range(5):
            try:
                deep(0)
            except RecursionError:
                compute()
        print("fine")
    """)
    assert (ended.returncode, ended.stdout) == (0, "fine\n")
    assert "failed" not in ended.stderr


def test_calls_that_raise_end_too(script: Script) -> None:
    found = script.answers("""
        def inner():
            sum(range(50_000))
            raise KeyError

        def outer():
            try:
                inner()
            except KeyError:
                sum(range(50_000))

        for _ in range(10):
            outer()
    """)
    (only,) = found.values()
    # They take about as long: either may be told of.
    assert only["function"] in ("inner", "outer")
    assert only["calls"] == 10


def test_what_others_call_counts_and_what_others_wrote_does_not(script: Script) -> None:
    (script.folder / "helper.py").write_text(
        "class Helper:\n    def help(self, text):\n        return sum(range(len(text) * 1000))\n"
    )
    found = script.answers("""
        import functools, json
        from helper import Helper

        helper, texts = Helper(), ["a" * 30] * 40
        sorted(texts, key=helper.help)
        json.dumps([list(range(1000))] * 20, indent=1)
        rows = (sum(range(1000)) for _ in range(1000))
        list(rows)
    """)
    assert list(found) == ["Helper.help"]
    assert found["Helper.help"]["file"].endswith("helper.py")
    assert found["Helper.help"]["signals"]["argument_bytes"] > 30


def test_the_caller_that_is_called_often_stands_for_what_it_calls(script: Script) -> None:
    found = script.answers("""
        def square(number):
            return number * number

        def row(count):
            return [square(number) for number in range(count)]

        def everything():
            return [row(2000) for _ in range(40)]

        def main():
            everything()

        main()
    """)
    assert list(found) == ["row"]
    assert found["row"]["calls"] == 40


def test_threads_are_watched_too(script: Script) -> None:
    found = script.answers("""
        import threading, time

        def sleep():
            time.sleep(0.005)

        def work():
            for _ in range(5):
                sleep()

        # More than are sampled at a time, one after the other and at once.
        for _ in range(3):
            threads = [threading.Thread(target=work) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    """)
    assert sum(answer["calls"] for answer in found.values()) in (90, 18)
    for answer in found.values():
        assert 0 < answer["share"] <= 1
        # That they compute beside each other is no other program's doing, nor a library's.
        assert answer["signals"]["queued"] == 0
        assert answer["signals"]["process_cpu"] == answer["signals"]["cpu"]


def test_threads_that_have_ended_count_too(script: Script) -> None:
    found = script.answers("""
        import threading

        def compute():
            return sum(range(20_000))

        for _ in range(100):
            thread = threading.Thread(target=compute)
            thread.start()
            thread.join()
    """)
    assert found["compute"]["calls"] == 100


def test_an_interrupt_ends_the_program_as_ever(script: Script) -> None:
    ended = script.run(COMPUTES + "    import signal\n    signal.raise_signal(signal.SIGINT)\n")
    assert ended.returncode == -signal.SIGINT
    assert "compute: use " in ended.stderr


@pytest.mark.parametrize("end", ["stdout.close()", "stdout = None", "stderr.close()"])
def test_a_stream_that_the_program_closes_keeps_no_answer_back(script: Script, end: str) -> None:
    text = COMPUTES + f"    sys.{end}\n"
    assert list(script.answers(text)) == ["compute"]
    ended = script.run(text)
    assert "compute: use " in ended.stderr
    assert "Traceback" not in ended.stderr


COROUTINES = """
    import asyncio, time

    async def inner(number):
        await asyncio.sleep(0.005)
        return number

    async def fetch(number):
        if number % 10 == 0:
            raise KeyError(number)
        return compute(await inner(number))

    async def endless():
        try:
            await asyncio.sleep(3600)
        finally:
            time.sleep(0.02)

    def compute(number):
        return sum(range(1000))

    async def main():
        for number in range(20):
            try:
                await fetch(number)
            except KeyError:
                pass
        await asyncio.gather(*map(fetch, range(100)), return_exceptions=True)
        tasks = [asyncio.create_task(endless()) for _ in range(3)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    asyncio.run(main())
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="a pause of a coroutine looks like its end")
def test_coroutines_are_told_of_from_first_step_to_last(script: Script) -> None:
    found = script.answers(COROUTINES)
    assert set(found) == {"fetch", "endless"}
    for name, calls in (("fetch", 120), ("endless", 3)):
        assert found[name]["coroutine"]
        assert found[name]["calls"] == calls
        assert 0 < found[name]["share"] <= 1
        assert set(found[name]["estimates"]) == {"loop", "serial"}
        signals = found[name]["signals"]
        assert 0 <= signals["cpu"] <= signals["stepped"] <= signals["wall"]
    assert found["fetch"]["best"] == "loop"
    # It blocks the loop: its steps are long, and no computing.
    assert found["endless"]["signals"]["stepped"] >= 0.02
    assert found["endless"]["signals"]["cpu"] < 0.02


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="see above")
def test_where_coroutines_cannot_be_told_their_functions_are(script: Script) -> None:
    assert "fetch" not in script.answers(COROUTINES)


def test_forks_and_subprocesses_report_nothing(script: Script) -> None:
    found = script.answers("""
        import multiprocessing, os, subprocess, sys, warnings

        warnings.simplefilter("ignore")

        def compute(count):
            return sum(range(count))

        for _ in range(10):
            compute(50_000)
        child = os.fork()
        if not child:
            compute(10)
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(compute, [10] * 20) == [45] * 20
        subprocess.run([sys.executable, __file__ + ".other"], check=False,
                       stderr=subprocess.DEVNULL)
        assert "PLAIT_RUN" not in os.environ
        for _ in range(10):
            compute(50_000)
    """)
    assert found["compute"]["calls"] == 20


def test_a_program_that_fails_is_told_of_as_ever(script: Script) -> None:
    ended = script.run(COMPUTES + "    raise ValueError('mine')\n")
    assert ended.returncode == 1
    assert "ValueError: mine" in ended.stderr
    assert ended.stderr.index("ValueError: mine") < ended.stderr.index("compute: use ")
    assert "plait" not in ended.stderr.partition("ValueError")[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("print(1)", "It called no functions of its own"),
        ("def once():\n    sum(range(100_000))\nonce()", "The longest is once, called once"),
    ],
)
def test_a_program_without_anything_to_hand_out(script: Script, text: str, told: str) -> None:
    ended = script.run(text)
    assert ended.returncode == 0
    assert told in " ".join(ended.stderr.split())
    assert json.loads(script.run(text, options=("--json",)).stdout)["functions"] == []


def test_what_measuring_does_to_a_program_stays_out_of_it(script: Script) -> None:
    ended = script.run("""
        import pickle, sys

        class Awkward:
            def __reduce__(self):
                raise SystemError("not to be pickled")

        class Greedy:
            def __reduce__(self):
                try:
                    return bytes, (b"x" * 100_000_000,)
                except Exception:
                    raise AssertionError

        def use(thing):
            return sum(range(20_000))

        def exits(thing):
            sum(range(20_000))
            raise LookupError(thing)

        for thing in (Awkward(), Greedy()):
            for _ in range(5):
                use(thing)
                try:
                    exits(thing)
                except LookupError as error:
                    assert error.args == (thing,)
        print("fine")
    """)
    assert (ended.returncode, ended.stdout) == (0, "fine\n")
    assert "failed" not in ended.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("missing.py",), "plait which: there is no file 'missing.py'"),
        (("--batch", "3", "script.py"), "--batch is for MODULE:FUNCTION; a script is run once"),
        (("--args", "[1]", "script.py", "--args"), "--args is for MODULE:FUNCTION"),
    ],
)
def test_mistakes(script: Script, words: tuple[str, ...], told: str) -> None:
    (script.folder / "script.py").write_text("")
    ended = subprocess.run(
        [sys.executable, "-m", "plait", "which", *words],
        cwd=script.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PLAIT_ALLOW_DEBUG": "1"},
    )
    assert ended.returncode == 2
    assert told in ended.stderr
