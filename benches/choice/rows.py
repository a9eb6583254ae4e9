"""The rows of the table: the functions of issue 7, their arguments, and how many calls."""

import importlib
import json
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from child import Child, Unable, python
from choice import work

Arguments = tuple[Any, ...]


@dataclass(frozen=True)
class Row:
    """A function, what it is called with, and how many calls are a batch."""

    name: str
    title: str
    function: Callable[..., Any]
    # Makes what the calls need; it lasts while they are made.
    setting: Callable[[], AbstractContextManager[Arguments]]
    batch: int
    coroutine: bool = False
    # Each batch has processes in which the function has not been called.
    cold_workers: bool = False


def _given(*arguments: Any) -> Callable[[], AbstractContextManager[Arguments]]:
    return lambda: nullcontext(arguments)


def _made(make: Callable[[], Arguments]) -> Callable[[], AbstractContextManager[Arguments]]:
    return lambda: nullcontext(make())


def _text() -> Arguments:
    source = random.Random(1)
    records = [
        {"name": f"customer {number}", "amount": source.randrange(1000), "tags": ["a", "b"]}
        for number in range(6_000)
    ]
    return (json.dumps(records),)


def _matrices() -> Arguments:
    try:
        numpy = importlib.import_module("numpy")
    except ImportError:
        raise Unable("NumPy is not installed for this interpreter") from None
    source = numpy.random.default_rng(1)
    return source.random((1_000, 1_000)), source.random((1_000, 1_000))


def _noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


def _words() -> Arguments:
    source = random.Random(1)
    words = [source.randbytes(5).hex() for _ in range(2_000)]
    return (" ".join(source.choice(words) for _ in range(50_000)).encode(),)


@contextmanager
def _file() -> Iterator[Arguments]:
    with tempfile.TemporaryDirectory(prefix="plait-bench-") as folder:
        path = os.path.join(folder, "data")
        with open(path, "wb") as file:
            file.write(_noise(1_000_000))
        yield (path,)


@contextmanager
def _server() -> Iterator[Arguments]:
    with Child([*python("choice.server", "0.02")]) as server:
        yield (server.answer(30.0),)


ROWS = (
    Row("python", "computing in Python", work.primes, _given(12_000), 30),
    Row("json", "parsing JSON, 400 kB", work.read_json, _made(_text), 60),
    Row("matrix", "a big matrix product (NumPy)", work.matrix_product, _made(_matrices), 12),
    Row("hash-big", "hashing 16 MB", work.hash_big, _made(lambda: (_noise(16 << 20),)), 20),
    Row("hash-small", "hashing 10,000 small buffers", work.hash_small, _given(10_000), 60),
    Row("zlib", "compressing 550 kB", work.compress, _made(_words), 20),
    Row("sleep", "sleeping for 20 ms", work.nap, _given(0.02), 48),
    Row("server", "a slow server, blocking client", work.fetch, _server, 48),
    Row("file", "reading a file of 1 MB", work.read_file, _file, 400),
    Row(
        "mix",
        "waiting 5 ms, computing 5 ms",
        work.half_and_half,
        _given(0.005, 110_000),
        40,
    ),
    Row("trifle", "computing for 10 µs", work.trifle, _given(7), 20_000),
    Row("100-mb", "an argument of 100 MB", work.count_zeros, _made(lambda: (_noise(10**8),)), 8),
    Row(
        "unpicklable",
        "an argument that cannot be pickled",
        work.with_a_lock,
        _made(lambda: (work.Guarded(), 200_000)),
        30,
    ),
    Row(
        "warm-up",
        "a first call of 0.3 s in each process",
        work.predict,
        _given(3),
        60,
        cold_workers=True,
    ),
    Row(
        "coroutine",
        "a slow server, coroutine client",
        work.fetch_in_coroutine,
        _server,
        48,
        coroutine=True,
    ),
)
BY_NAME: Mapping[str, Row] = MappingProxyType({row.name: row for row in ROWS})
