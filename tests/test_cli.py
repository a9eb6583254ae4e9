"""The command line, as a user meets it: in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import pytest
from tasks import timeouts

MODULES = {
    "good": """
import os, time
VALUE = 3
def compute(number):
    total = 0
    for value in range(number):
        total += value
    return total
def fail(): raise LookupError("no such luck")
def leave(): raise SystemExit(7)
def grow(rows): rows.append(1)
def talk():
    print("talking")
    os.write(1, b"straight to the descriptor")
async def wait(seconds):
    import asyncio
    await asyncio.sleep(seconds)
def close(number):
    import sys
    sys.stdout.close()
    return compute(number)
def replace(number):
    import io, sys
    sys.stdout = io.StringIO()
    return compute(number)
def remove(number):
    import sys
    sys.stdout = None
    return compute(number)
class Class:
    @staticmethod
    def method(text): return text
""",
    "missing_import": "import no_such_module_anywhere",
    "wrong": "x = 1\nx / 0",
    "syntax": "def f(:",
    "leaves": "raise SystemExit('at import')",
}


@pytest.fixture
def plait(tmp_path):
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)

    def run(*words, env=None):
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "plait", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            env={**os.environ, **(env or {})},
        )

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere:f"], "there is no module 'nowhere'"),
        (["good.sub:f"], "there is no module 'good.sub'"),
        (
            ["missing_import:f"],
            "module 'missing_import' cannot be imported: ModuleNotFoundError: No module named "
            "'no_such_module_anywhere' (missing_import.py, line 1)",
        ),
        (
            ["wrong:f"],
            "module 'wrong' cannot be imported: ZeroDivisionError: division by zero "
            "(wrong.py, line 2)",
        ),
        (["syntax:f"], "module 'syntax' cannot be imported: SyntaxError: invalid syntax"),
        (["leaves:f"], "module 'leaves' cannot be imported: SystemExit: at import"),
        (["good:nothing"], "module 'good' has no function 'nothing'"),
        (["good:Class.nothing"], "'good:Class' has no function 'nothing'"),
        (["good:VALUE"], "'good:VALUE' is not callable: it is an int"),
        (["good"], "'good' is not of the form MODULE:FUNCTION"),
        ([":f"], "':f' is not of the form MODULE:FUNCTION"),
        (["good:"], "'good:' is not of the form MODULE:FUNCTION"),
        (["..:f"], "'..:f' is not of the form MODULE:FUNCTION"),
        (["good:compute", "--args", "[1,"], "--args is not valid JSON"),
        (["good:compute", "--args", "[1 2]"], "Expecting ',' delimiter at line 1, column 4"),
        (["good:compute", "--args", '{"a": 1}'], "--args must be a JSON list"),
        (["good:compute", "--args", "3"], "must be a JSON list, as in '[30000]', not a number"),
        (["good:compute", "--args", "[" * 100_000], "--args is beyond what can be read"),
        (["good:compute", "--args", f"[{'1' * 5000}]"], "--args is beyond what can be read"),
        (["good:compute", "--batch", "0"], "--batch must be from 1"),
        (["good:compute", "--budget", "0"], "--budget must be a positive number of seconds"),
        (["good:compute", "--budget", "nan"], "--budget must be a positive number of seconds"),
    ],
)
def test_a_mistake_is_one_line_on_stderr(plait, words, message):
    ended = plait("which", *words)
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    assert message in ended.stderr
    assert ended.stderr.startswith("plait which: ")
    assert ended.stderr.count("\n") == 1
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("words", [[], ["good:compute", "--batch", "many"], ["good:f", "--what"]])
def test_click_says_how_it_is_used(plait, words):
    ended = plait("which", *words)
    assert ended.returncode == 2
    assert "Usage: plait which" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_exception_of_the_function_comes_with_its_traceback(plait):
    ended = plait("which", "good:fail")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("Traceback")
    assert 'good.py", line' in ended.stderr
    assert ended.stderr.endswith(
        "LookupError: no such luck\nplait.measure was running it in the calling thread\n"
    )


def test_a_function_that_leaves_leaves(plait):
    ended = plait("which", "good:leave")
    assert (ended.returncode, ended.stdout) == (7, "")
    assert ended.stderr == "plait which: good:leave ended the program, by SystemExit: 7\n"


def test_the_arguments_that_are_told_are_those_that_were_given(plait):
    words = ["which", "good:grow", "--args", "[[1]]", "--batch", "2", "--budget", "0.1"]
    assert "good:grow([1])\n" in plait(*words).stdout
    assert json.loads(plait(*words, "--json").stdout)["args"] == [[1]]


def test_long_arguments_are_not_told_in_full(plait):
    words = ["which", "good:Class.method", "--args", json.dumps(["x" * 1000])]
    ended = plait(*words, "--batch", "2", "--budget", "0.1")
    assert "...)\n" in ended.stdout
    assert ended.stdout.count("x") < 300


def test_the_answer_is_a_table(plait):
    ended = plait("which", "good:compute", "--args", "[3000]", "--budget", "0.3")
    assert ended.returncode == 0, ended.stderr
    assert "good:compute(3000)" in ended.stdout
    for word in ("serial", "thread", "process", "memory", "Use "):
        assert word in ended.stdout
    assert "\x1b" not in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 100


def test_the_table_is_as_wide_as_columns_says(plait):
    ended = plait(
        "which", "good:compute", "--args", "[9]", "--budget", "0.1", env={"COLUMNS": "70"}
    )
    assert max(map(len, ended.stdout.splitlines())) <= 70


def test_the_answer_is_json(plait):
    ended = plait("which", "good:compute", "--args", "[3000]", "--batch", "5", "--json")
    answer = json.loads(ended.stdout)
    assert answer["function"] == "good:compute"
    assert answer["args"] == [3000]
    assert answer["batch"] == 5
    assert answer["best"] in answer["seconds"]
    assert answer["reason"]


def test_the_answer_can_be_verified(plait):
    words = ["which", "good:compute", "--args", "[3000]", "--batch", "20", "--verify", "--json"]
    # On a busy machine there is no time to run it everywhere.
    for budget in timeouts(1):
        answer = json.loads(plait(*words, "--budget", str(budget)).stdout)
        if len(answer["verified"]) == 3:
            break
    assert set(answer["verified"]) == {"serial", "thread", "process"}
    assert answer["best"] in answer["verified"]


def test_the_machine_is_measured_anew_when_asked_to(plait, tmp_path):
    words = ["which", "good:compute", "--args", "[9]", "--budget", "0.1"]

    def run(*more):
        ended = plait(*words, *more, env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
        assert ended.returncode == 0, ended.stderr
        # A busy machine has a second file, of what crowds of threads are given there.
        (file,) = (tmp_path / "cache" / "plait").glob("overheads-*")
        return file, file.stat().st_ino

    file, _ = run()
    # As if the machine had been quiet: otherwise the next program would measure again by itself.
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({**kept, "tries": 0}))
    settled = file.stat().st_ino
    assert run() == (file, settled)
    assert run("--fresh") != (file, settled)


def test_what_the_function_prints_is_not_in_the_json(plait):
    ended = plait("which", "good:talk", "--batch", "2", "--budget", "0.1", "--json")
    assert json.loads(ended.stdout)["function"] == "good:talk"
    assert "talking" in ended.stderr
    assert "straight to the descriptor" in ended.stderr


@pytest.mark.parametrize("name", ["close", "replace", "remove"])
def test_what_the_function_does_to_stdout_keeps_no_answer_back(plait, name):
    words = ["which", f"good:{name}", "--args", "[1000]", "--budget", "0.1"]
    ended = plait(*words)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"good:{name}(1000)" in ended.stdout
    ended = plait(*words, "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["function"] == f"good:{name}"


def test_a_coroutine_function_can_be_named(plait):
    ended = plait("which", "good:wait", "--args", "[0.02]", "--batch", "20", "--json")
    assert json.loads(ended.stdout)["best"] == "loop"


def test_a_method_can_be_named(plait):
    ended = plait("which", "good:Class.method", "--args", '["text"]', "--budget", "0.1", "--json")
    assert json.loads(ended.stdout)["args"] == ["text"]


def test_the_current_directory_is_left_alone_in_safe_mode(plait):
    ended = plait("which", "good:compute", env={"PYTHONSAFEPATH": "1"})
    assert ended.returncode == 2
    assert "there is no module 'good'" in ended.stderr


def test_the_version_is_the_package_s(plait):
    assert plait("--version").stdout.strip() == f"plait, version {version('plait')}"


def test_help_lists_the_commands(plait):
    text = plait("--help").stdout
    assert "which" in text
    assert "tour" in text


def test_the_script_is_the_module(tmp_path):
    script = os.path.join(os.path.dirname(sys.executable), "plait")
    if not os.path.exists(script):
        pytest.skip("plait is not installed as a script here")
    (tmp_path / "here.py").write_text("def f(): pass\n")
    ended = subprocess.run(
        [script, "which", "here:f", "--budget", "0.1", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert json.loads(ended.stdout)["function"] == "here:f", ended.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--full", "--quick"], "--full and --quick exclude each other"),
        (["--scale", "0"], "--scale must be a positive factor"),
        (["--scale", "nan"], "--scale must be a positive factor"),
        (["--picture", "no/where/tour.svg"], "there is no directory 'no/where'"),
    ],
)
def test_a_tour_that_cannot_be_is_one_line(plait, words, message):
    ended = plait("tour", *words)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_ctrl_c_ends_a_measurement_at_once(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import os, time\n"
        "def call():\n"
        "    open(f'began-{os.getpid()}', 'w').close()\n"
        "    time.sleep(0.01 if os.getpid() == int(os.environ['MEASURER']) else 600)\n"
    )
    code = (
        "import os; os.environ['MEASURER'] = str(os.getpid())\n"
        "from plait.__main__ import main; main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "which", "slow:call", "--batch", "4", "--verify"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    # The first to begin is the measuring process itself, the next a worker, which would sleep on.
    while len(list(tmp_path.glob("began-*"))) < 2:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in err
