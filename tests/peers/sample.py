"""A suite with one case of each fate, to try the runner of suites on."""

from __future__ import annotations

import asyncio
import os
import threading
import unittest


class Fates(unittest.TestCase):
    def test_passes(self) -> None:
        asyncio.new_event_loop().close()

    def test_fails(self) -> None:
        with self.subTest("a part"):
            assert not True

    @unittest.skip("on purpose")
    def test_skipped(self) -> None:
        raise AssertionError


class Plait(unittest.TestCase):
    def test_fails_on_plait_alone(self) -> None:
        with asyncio.Runner() as runner:
            assert type(runner.get_loop()).__mro__[1].__module__.startswith("asyncio")


class Crash(unittest.TestCase):
    def test_crashes(self) -> None:
        os.abort()


class Hang(unittest.TestCase):
    def test_hangs(self) -> None:
        threading.Event().wait()
