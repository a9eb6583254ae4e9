"""Whole programs that call on auto print what they print without it, and nothing else."""

import subprocess
import sys
import textwrap

import pytest

PLAIN = """
import plait
each, explain = map, None
"""
AUTO = """
import plait
from plait._auto import calling, record
from plait._auto.deciding import Decision

def decided(signals, need, *, process=None, before=None):
    kept = process or dict(need.barred).get("process")
    best = "serial" if {method!r} == "process" and (kept or signals.unpicklable) else {method!r}
    return Decision(best, 2, 1, kept or "the test says so", ((best, 1.0),))

record.decided = decided
record.Record.knows_enough = lambda self: self.measured >= 3
calling._COMPARED = float("inf")
each = plait.map
"""

SCRIPT = """
import os

total, factor = 0, 2

class Point:
    def __init__(self, x):
        self.x = x

def times(x):
    return factor * x

def point(x):
    return Point(times(x))

def add(x):
    global total
    total += x
    return total

print(list(each(times, range(12))), list(each(add, range(12))), total)
print({type(found) is Point for found in each(point, range(12))})
factor = 3
os.environ["PLAIT_TEST_PROGRAM"] = "set"
print(list(each(times, range(12))), list(each(lambda x: x + factor, range(12))))
print(set(each(lambda x: os.environ["PLAIT_TEST_PROGRAM"], range(12))))
"""
PROMPT = """
total = 0
def add(x):
    global total
    total += x
    return total

def times(x): return factor * x

factor = 2
print(list(each(times, range(12))), list(each(add, range(12))), total)
factor = 3
print(list(each(times, range(12))))
def times(x): return -x

print(list(each(times, range(12))))
"""
CELLS = '''
names = {"__name__": "__main__", "each": each}

def cell(number, source):
    exec(compile(source, f"<cell {number}>", "exec"), names)

cell(1, """
seen, factor = [], 2

def times(x):
    return factor * x

def note(x):
    seen.append(x)
    return len(seen)

class Model:
    weight = 1
    def predict(self, x):
        return self.weight * x

model = Model()
""")
cell(2, "print(list(each(times, range(12))), list(each(note, range(12))), seen)")
cell(3, "factor = 3; print(list(each(times, range(12))), list(each(model.predict, range(12))))")
cell(4, "model.weight = 2; print(list(each(model.predict, range(12))))")
cell(5, "Model.weight = 3; print(list(each(Model().predict, range(12))))")
cell(6, "def times(x):\\n    return -x\\nprint(list(each(times, range(12))))")
'''
THREADS = """
import threading

seen, total, lock = [], 0, threading.Lock()

def note(x):
    seen.append(x)
    return len(seen)

def add(x):
    global total
    with lock:
        total += x
    return x

def sums():
    found.append(sum(each(add, range(12))))

found = []
thread = threading.Thread(target=lambda: found.extend(each(note, range(12))))
thread.start()
thread.join()
print(found, seen)
threads = [threading.Thread(target=sums) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(found[-6:], total)
"""
FORK = """
import os

def square(x):
    return x * x

print(list(each(square, range(12))), flush=True)
child = os.fork()
if child == 0:
    print(list(each(square, range(12))), flush=True)
    os._exit(0)
print(os.waitpid(child, 0)[1])
print(list(each(square, range(12))))
"""
PATCHED = """
import unittest.mock

class Client:
    def get(self, x):
        return x

def helper(x):
    return x

def load(x):
    return Client().get(x), helper(x)

with unittest.mock.patch.object(Client, "get", lambda self, x: -x):
    print(list(each(load, range(12))))
print(list(each(load, range(12))))
with unittest.mock.patch("__main__.helper", return_value=9) as mock:
    print(list(each(load, range(12))), mock.call_count)
print(list(each(load, range(12))))
"""

PROGRAMS = {
    "script": SCRIPT,
    "cells": CELLS,
    "threads": THREADS,
    "fork": FORK,
    "patched": PATCHED,
}


def answer(code, folder, way):
    """Run a program; return its status, and what it wrote."""
    arguments, stdin = ["-c", code], None
    if way == "file":
        (folder / "program.py").write_text(code)
        arguments = [str(folder / "program.py")]
    elif way == "prompt":
        arguments, stdin = ["-i", "-q", "-c", "pass"], code
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=100,
        cwd=folder,
        check=False,
    )
    # What the prompt writes there is no more than itself.
    return done.returncode, done.stdout, done.stderr.replace(">>> ", "").replace("... ", "").strip()


WAYS = [(name, way) for name in PROGRAMS for way in ("file", "command")] + [("prompt", "prompt")]


@pytest.mark.parametrize("method", ["thread", "process"])
@pytest.mark.parametrize(("name", "way"), WAYS)
def test_program(tmp_path, name, way, method):
    code = PROMPT if way == "prompt" else PROGRAMS[name]
    plain = answer(PLAIN + code, tmp_path, way)
    assert plain == (0, plain[1], "")
    auto = textwrap.dedent(AUTO).replace("{method!r}", repr(method))
    assert answer(auto + code, tmp_path, way) == plain
