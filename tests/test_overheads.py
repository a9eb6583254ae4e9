"""What each engine costs here: measured once, kept in a file that may be anything."""

import dataclasses
import json
import os
import stat
import sys
from pathlib import Path

import pytest

from plait._measure import machine
from plait._measure.machine import TYPICAL, Overheads, cache_file, identity, known, overheads


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, nothing known, and a count of how often was measured."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget(monkeypatch)
    return Path(cache_file())


@pytest.fixture
def measured(monkeypatch):
    """Measuring takes no time, and is counted."""
    times = []

    def measure():
        times.append(1)
        return dataclasses.replace(TYPICAL, task=len(times) * 1e-6), False

    monkeypatch.setattr(machine, "_measured", measure)
    return times


def forget(monkeypatch):
    """Be a new program."""
    monkeypatch.setattr(machine, "_kept", None)
    monkeypatch.setattr(machine, "_tried", False)


def test_they_are_measured_once_and_kept(cache, measured, monkeypatch):
    assert known() is None
    first = overheads()
    assert known() == overheads() == first
    forget(monkeypatch)
    assert known() == overheads() == first
    assert len(measured) == 1
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]


def test_they_are_measured_anew_when_asked_to(cache, measured, monkeypatch):
    first = overheads()
    second = overheads(fresh=True)
    assert first != second
    forget(monkeypatch)
    assert overheads() == second


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: "{",
        lambda text: text[: len(text) // 2],
        lambda text: "null",
        lambda text: "[]",
        lambda text: "[" * 100_000,
        lambda text: text.replace(json.dumps(sys.version), '"2.7"'),
        lambda text: text.replace('"task": 1e-06', '"task": "fast"'),
        lambda text: text.replace('"task": 1e-06', '"task": true'),
        lambda text: text.replace('"task": 1e-06', '"task": NaN'),
        lambda text: text.replace('"task": 1e-06', '"task": -1'),
        lambda text: text.replace('"task": 1e-06', '"chore": 1e-06'),
    ],
)
def test_a_broken_or_foreign_file_is_measured_anew(cache, measured, monkeypatch, spoil):
    overheads()
    spoilt = spoil(text := cache.read_text())
    assert spoilt != text
    cache.write_text(spoilt)
    forget(monkeypatch)
    assert known() is None
    overheads()
    assert len(measured) == 2
    forget(monkeypatch)
    assert known() is not None


@pytest.mark.parametrize("tries", ["-1", "4", '"1"', "null", "0.5"])
def test_a_file_with_a_strange_number_of_tries_is_measured_anew(
    cache, measured, monkeypatch, tries
):
    overheads()
    cache.write_text(cache.read_text().replace('"tries": 0', f'"tries": {tries}'))
    forget(monkeypatch)
    assert known() is None


def test_what_was_measured_on_a_busy_machine_is_measured_again(cache, monkeypatch):
    rounds = [(3e-6, 9e-6, True), (9e-6, 2e-6, True), (8e-6, 8e-6, True), (1e-9, 1e-9, False)]

    def measure():
        task, byte, busy = rounds.pop(0)
        return dataclasses.replace(TYPICAL, task=task, byte=byte), busy

    monkeypatch.setattr(machine, "_measured", measure)
    for left, expected in ((3, (3e-6, 9e-6)), (2, (3e-6, 2e-6)), (1, (3e-6, 2e-6)), (1, None)):
        found = overheads()
        # Once in each program.
        assert overheads() == found
        assert len(rounds) == left
        if expected is not None:
            assert (found.task, found.byte) == expected
        forget(monkeypatch)
    assert (found.task, found.byte) == (3e-6, 2e-6)


def test_a_quiet_moment_settles_it(cache, monkeypatch):
    rounds = [True, False]

    def measure():
        return TYPICAL, rounds.pop(0)

    monkeypatch.setattr(machine, "_measured", measure)
    for left in (1, 0, 0):
        overheads()
        assert len(rounds) == left
        forget(monkeypatch)


def test_what_is_known_of_a_busy_machine_serves_where_nothing_can_be_measured(cache, monkeypatch):
    monkeypatch.setattr(machine, "_measured", lambda: (TYPICAL, True))
    overheads()
    forget(monkeypatch)
    monkeypatch.setattr(machine, "_measured", lambda: None)
    assert overheads() == TYPICAL
    assert known() == TYPICAL


def test_a_file_that_is_no_text_is_measured_anew(cache, measured, monkeypatch):
    overheads()
    cache.write_bytes(b"\xff\xfe\x00")
    forget(monkeypatch)
    assert overheads().task == 2e-6


def test_a_place_that_cannot_be_written_is_no_error(tmp_path, measured, monkeypatch):
    (tmp_path / "file").write_text("not a directory")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    forget(monkeypatch)
    assert overheads().task == 1e-6
    # It is known in this process all the same.
    assert overheads().task == 1e-6
    assert len(measured) == 1


def test_what_stands_where_the_file_should_is_left_alone(cache, measured):
    (cache / "in the way").mkdir(parents=True)
    assert overheads().task == 1e-6
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]


def test_the_file_is_for_its_owner(cache, measured):
    overheads()
    assert stat.S_IMODE(cache.stat().st_mode) == 0o600


def test_what_cannot_be_measured_is_typical_and_not_kept(cache, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert overheads() == TYPICAL
    assert not cache.exists()
    assert known() is None


def test_a_program_that_is_taken_for_python_is_not_started_again_and_again(cache, monkeypatch):
    monkeypatch.setenv("PLAIT_MEASURING", "1")
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: pytest.fail("it was started"))
    assert overheads() == TYPICAL


@pytest.mark.parametrize("program", ["raise SystemExit(1)", "print('[]')", "print()", ""])
def test_a_measurement_that_fails_is_typical(cache, monkeypatch, tmp_path, program):
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\n{program}\n")
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))
    assert overheads() == TYPICAL


@pytest.mark.parametrize("base", ["", "relative/path"])
def test_without_a_cache_home_it_is_under_the_home(monkeypatch, base):
    monkeypatch.setenv("XDG_CACHE_HOME", base)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_file().startswith("/home/somebody/.cache/plait/overheads-")


def test_each_machine_and_python_has_its_own_file(monkeypatch):
    here = cache_file()
    monkeypatch.setattr(machine, "_processor", lambda: "another processor")
    assert cache_file() != here


def test_the_identity_is_json():
    assert json.loads(json.dumps(identity())) == identity()


def test_this_machine_is_measured_for_real(cache):
    found = overheads()
    assert found is not TYPICAL
    for field in dataclasses.fields(Overheads):
        value = getattr(found, field.name)
        assert isinstance(value, int if field.type == "int" else float)
    assert 0 < found.serial_call < found.thread_trip
    assert 0 < found.process_item <= found.process_call
    assert found.contention >= 1
    assert found.worker_memory > found.thread_memory
    kept = json.loads(cache.read_text())
    assert kept["identity"] == identity()
    assert Overheads(**kept["overheads"]) == found


def test_measuring_leaves_no_process(cache):
    before = set(os.listdir("/proc/self/task"))
    overheads()
    assert set(os.listdir("/proc/self/task")) == before
