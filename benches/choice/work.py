"""The functions that a method is chosen for."""

import asyncio
import functools
import hashlib
import importlib
import json
import random
import threading
import time
import urllib.request
import zlib
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"


def primes(limit: int) -> int:
    """Compute in Python, and hold the interpreter lock for all of it."""
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, limit))


def read_json(text: str) -> int:
    """Parse, in C that holds the interpreter lock, and give a little back."""
    return sum(record["amount"] for record in json.loads(text))


def matrix_product(left: Any, right: Any) -> float:
    """Multiply in a library that has threads of its own."""
    return float(importlib.import_module("numpy").trace(left @ right))


def hash_big(data: bytes) -> str:
    """Hash a big buffer, which releases the interpreter lock."""
    return hashlib.sha256(data).hexdigest()


def hash_small(count: int) -> int:
    """Hash many small buffers: hashlib keeps the interpreter lock for them."""
    return sum(hashlib.sha256(b"%d" % number).digest()[0] for number in range(count))


def compress(data: bytes) -> int:
    """Compress, which releases the interpreter lock."""
    return len(zlib.compress(data))


def nap(seconds: float) -> None:
    """Wait for the clock."""
    time.sleep(seconds)


def fetch(port: int) -> int:
    """Ask a slow server, as a blocking client does."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/", timeout=30) as answer:
        return len(answer.read())


async def fetch_in_coroutine(port: int) -> int:
    """Ask a slow server, as a coroutine does."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.close()
    return len(answer.partition(b"\r\n\r\n")[2])


def read_file(path: str) -> int:
    """Read what the system has in memory."""
    return len(Path(path).read_bytes())


def half_and_half(seconds: float, count: int) -> int:
    """Wait, then compute for about as long."""
    time.sleep(seconds)
    return sum(number % 7 for number in range(count))


def trifle(number: int) -> int:
    """Take some ten microseconds."""
    total = number
    for value in range(200):
        total += value ^ number
    return total


def count_zeros(data: bytes) -> int:
    """Look at 100 MB; the interpreter lock is held."""
    return data.count(b"\0")


class Guarded:
    """What cannot be pickled, because of its lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.step = 7


def with_a_lock(guarded: Guarded, count: int) -> int:
    """Compute, with an argument that cannot be carried to a process."""
    return sum(number % guarded.step for number in range(count))


@functools.cache
def model() -> list[float]:
    """Take a third of a second, the first time in each process."""
    source = random.Random(1)
    values = [source.random() for _ in range(20_000)]
    for _ in range(40):
        values.sort(key=lambda value: value * 7 % 1)
    return values


def predict(weight: int) -> float:
    """Compute for a moment with what the first call has made."""
    return sum(value * weight for value in model())
