"""The tour, as `make run` starts it, and what it makes of numbers that nobody expects."""

import os
import re
import select
import signal
import subprocess
import sys
import time
import uuid
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from click.testing import CliRunner

import plait._tour
from plait._cli import cli
from plait._tour import fetch, messages, sort, stall, update
from plait._tour.options import Options
from plait._tour.program import Method, Outcome, Run, Track
from plait._tour.site import Site, page

#: How long what is about to happen may take.
PATIENCE = 60.0
TITLES = [
    "Fetch 3 pages",
    "Fetch 50 pages",
    "Delayed messages",
    "One blocking call among five",
    "Merge sort of 16 lists",
    "Read, sleep, update",
]


def start(mark, *words, cwd):
    """Start a tour; whatever it starts carries the mark in its environment."""
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "plait", "tour", *words],
        cwd=cwd,
        env={**os.environ, "PLAIT_TOUR_TEST": mark, "COLUMNS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def marked(mark):
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if f"PLAIT_TOUR_TEST={mark}".encode() in environment:
            found.append(int(folder.name))
    return found


def assert_all_end(mark):
    """Wait for the end of each process with the mark."""
    for pid in marked(mark):
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            ready, _, _ = select.select([pidfd], [], [], PATIENCE)
        finally:
            os.close(pidfd)
        assert ready, f"process {pid} is still there"
    assert not marked(mark)


def read_until(process, words, mark):
    """Read the output up to a line with `words`."""
    seen = []
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        assert line, f"{mark} ended: {process.stderr.read()}"
        seen.append(line)
        if words in line:
            return seen
    raise AssertionError(f"no {words!r} in {seen}")


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A quick tour, run once for all that is asked of it."""
    folder, mark = tmp_path_factory.mktemp("tour"), uuid.uuid4().hex
    process = start(mark, "--quick", "--picture", "picture.svg", cwd=folder)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert_all_end(mark)
    return out, err, folder / "picture.svg"


def test_it_says_nothing_on_stderr(quick):
    assert quick[1] == ""


def test_it_runs_all_programs_and_ends_with_one_table(quick):
    out = quick[0]
    # Once as it runs, once in the table.
    for number, title in enumerate(TITLES, 1):
        assert f"\n{number}. {title}\n" in out
    table = out[out.index("program and method") :]
    assert [title for title in TITLES if title in table] == TITLES
    rows = re.findall(
        r"^   \S.* (serial|thread|process|loop) +[\d.]+ (?:s|ms|µs) ", table, re.MULTILINE
    )
    tornado = "Tornado is not installed" not in out
    assert len(rows) == 23 if tornado else 21
    assert set(rows) == {"serial", "thread", "process", "loop"}


def test_it_gives_advice_after_each_program(quick):
    assert quick[0].count("\n   -> ") == len(TITLES)


def test_it_checks_what_it_ran(quick):
    out = quick[0]
    assert "WRONG" not in out
    for words, least in [
        ("3 of 3 right", 3),
        ("50 of 50 right", 3),
        ("2 of 2 delivered", 3),
        ("16 of 16 sorted", 3),
    ]:
        # Each row is there twice.
        assert out.count(words) >= 2 * least, words


def test_it_fits_where_there_is_no_terminal(quick):
    lines = quick[0].splitlines()
    assert max(map(len, lines)) <= 100
    assert "\x1b" not in quick[0]
    assert "\r" not in quick[0]


def test_it_draws_what_ran_where_and_when(quick):
    picture = quick[2]
    assert f"What ran where and when: {picture.name}" in quick[0]
    root = ElementTree.parse(picture).getroot()
    texts = ["".join(found.itertext()) for found in root.iter("{http://www.w3.org/2000/svg}text")]
    for number, title in enumerate(TITLES, 1):
        assert f"{number}. {title}" in texts
    for lane in ("main thread", "thread 1", "process 1", "coroutine 1", "ticker"):
        assert lane in texts
    tips = [found.text for found in root.iter("{http://www.w3.org/2000/svg}title")]
    assert any(tip.startswith("list 15, process ") for tip in tips)


@pytest.mark.parametrize("words", ["one after another", "5. Merge sort", "threads (2)"])
def test_ctrl_c_ends_it_at_once_and_leaves_nothing(tmp_path, words):
    mark = uuid.uuid4().hex
    words = re.sub(r"\(2\)", f"({len(os.sched_getaffinity(0))})", words)
    process = start(mark, "--quick", cwd=tmp_path)
    read_until(process, words, mark)
    assert len(marked(mark)) >= 2
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT
    assert "Traceback" not in err
    assert_all_end(mark)
    assert not (tmp_path / "tour.svg").exists()


def test_a_kill_leaves_nothing(tmp_path):
    mark = uuid.uuid4().hex
    process = start(mark, "--quick", cwd=tmp_path)
    read_until(process, "one after another", mark)
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert_all_end(mark)


def test_a_check_that_fails_is_the_exit_code(monkeypatch, tmp_path):
    monkeypatch.setattr(plait._tour, "run", lambda options, console: False)
    result = CliRunner().invoke(cli, ["tour", "--picture", str(tmp_path / "tour.svg")])
    assert result.exit_code == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_picture_that_cannot_be_written_is_one_line(monkeypatch, tmp_path):
    def run(options, console):
        options.picture.write_text("")

    monkeypatch.setattr(plait._tour, "run", run)
    result = CliRunner().invoke(cli, ["tour", "--picture", str(tmp_path / ("x" * 300))])
    assert result.exit_code == 1
    assert "File name too long" in result.output


def test_a_list_that_is_not_sorted_is_seen(monkeypatch):
    monkeypatch.setattr(sort, "merge_sort", lambda numbers: list(numbers))
    method = sort.program(4, 50).methods[0]
    outcome = method.run(Track(method.engine))
    assert outcome == Outcome("0 of 4 sorted", False)


def test_a_page_that_is_not_right_is_seen(monkeypatch):
    with Site(0.0) as site:
        monkeypatch.setattr(fetch, "page", lambda number: page(number + 1))
        for method in fetch.programs(site, 0.0)[0].methods:
            if method.missing is None:
                assert method.run(Track(method.engine)) == Outcome("0 of 3 right", False)


def test_a_page_that_is_not_there_is_an_error():
    with Site(0.0) as site:
        connection = fetch.http.client.HTTPConnection("127.0.0.1", site.port)
        connection.request("GET", "/page/x")
        assert connection.getresponse().status == 404
        connection.close()


def test_without_tornado_the_row_says_so(monkeypatch):
    monkeypatch.setattr(fetch.importlib.util, "find_spec", lambda name: None)
    with Site(0.0) as site:
        missing = [method.missing for method in fetch.programs(site, 0.0)[0].methods]
    assert missing == [None, None, "Tornado is not installed", None]


def test_merge_sort_sorts():
    assert sort.merge_sort([]) == []
    assert sort.merge_sort([3, 1, 2, 3, -1]) == [-1, 1, 2, 3, 3]


def test_what_lies_between_two_timed_parts_is_cut_out(monkeypatch):
    times = iter([10.0, 12.0, 100.0, 101.0, 500.0, 504.0])
    monkeypatch.setattr(plait._tour.program, "monotonic", lambda: next(times))
    track = Track("serial")
    for start, end in [(10.5, 11.5), (100.0, 101.0), (501.0, 504.0)]:
        with track.timed():
            pass
        track.span("lane", "label", start, end)
    assert track.seconds == 7.0
    assert [(span.start, span.end) for span in track.spans] == [
        (10.5, 11.5),
        (12.0, 13.0),
        (14.0, 17.0),
    ]


def test_sizes():
    normal, full = (Options.of(size, Path("x")) for size in ("normal", "full"))
    assert (normal.lists, full.lists) == (100, 1000)
    assert (normal.numbers, full.numbers) == (30_000, 30_000)
    assert full.scale == 1
    assert Options.of("full", Path("x"), 0.5).scale == 0.5


def faked(program, seconds, figures=None):
    """Runs of a program that took so long, and found such figures."""
    runs = []
    for place, (method, taken) in enumerate(zip(program.methods, seconds, strict=True)):
        if taken is None:
            runs.append(Run(Method(method.name, method.engine, method.run, "not here")))
            continue
        figure = figures[place] if figures else 0.0
        track = Track(method.engine, start=1.0, end=1.0 + taken)
        track.span("lane", "label", 1.0 + taken / 4, 1.0 + taken)
        runs.append(Run(method, track, Outcome("outcome", None, figure)))
    return runs


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ([1.0, 0.5, 0.5], "Use threads or coroutines: 500 ms against 1.00 s"),
        ([1.0, 0.9, 0.5], "Use coroutines: 500 ms"),
        ([1.0, 0.98, 1.2], "Stay with one after another (1.00 s): the best of the others, threads"),
    ],
)
def test_the_advice_follows_the_numbers(seconds, words):
    program = messages.program(0.1)
    assert program.advise(faked(program, seconds)).startswith(words)


def test_the_advice_on_many_pages_follows_the_numbers():
    few, many = fetch.programs(None, 0.1)
    assert "for 3 at once threads are enough" in few.advise(faked(few, [0.3, 0.1, None, 0.1]))
    assert "all 50 under way in one thread" in many.advise(faked(many, [5, 0.2, 0.2, 0.1]))
    assert "not among the fastest" in many.advise(faked(many, [5, 0.1, 0.2, 0.2]))
    assert "Stay with one after another" in many.advise(faked(many, [1, 2, None, 2]))


def test_the_advice_on_sorting_follows_the_numbers(monkeypatch):
    monkeypatch.setattr(sort._all_engines, "cores", lambda: 2)
    program = sort.program(8, 10)
    usual = program.advise(faked(program, [1.0, 1.0, 0.5]))
    assert usual.startswith("Use processes")
    assert "take turns at the interpreter lock" in usual
    late = program.advise(faked(program, [1.0, 1.0, 1.2]))
    assert late.startswith("Stay with one after another")
    assert late.endswith("their first list began after 300 ms.")
    busy = program.advise(faked(program, [1.0, 1.0, 2.0]))
    assert "a list took 1.50 s in a process and 750 ms by itself: the cores were not free" in busy
    free = program.advise(faked(program, [1.0, 0.5, 0.5]))
    assert "not in this run" in free


def test_the_advice_on_the_stall_follows_the_numbers():
    program = stall.program(0.1)
    usual = program.advise(faked(program, [0.4, 0.4, 0.4], [0.005, 0.205, 0.006]))
    assert usual.startswith("Call what blocks in a thread")
    strange = program.advise(faked(program, [0.4, 0.4, 0.4], [0.005, 0.205, 0.205]))
    assert strange.startswith("This run does not show the stall")


def test_the_advice_on_the_race_says_what_it_saw():
    program = update.program(0.1)
    usual = program.advise(faked(program, [0.2, 0.1, 0.2, 0.1, 0.2, 0.1], [2, 1, 2, 1, 2, 2]))
    assert usual.startswith("Take a lock")
    assert "threads ended at 1, with a lock at 2" in usual
    lucky = program.advise(faked(program, [0.2, 0.1, 0.2, 0.1, 0.2, 0.1], [2, 2, 2, 2, 2, 2]))
    assert "it is luck" in lucky
