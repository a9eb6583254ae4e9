"""The worker's side: images become the namespace, calls become results."""

from __future__ import annotations

import os
import pickle
import sys
import types
from typing import Any

from plait._pickling.failures import encode_failure
from plait._pickling.outbound import describe
from plait._pickling.pickler import dumps

__all__ = ["Inbound"]


class Inbound:
    """What a worker knows of its parent's program.

    Making one puts a fresh module in the place of `__main__`: the namespace that
    all by-value functions of the program share in this process.
    """

    def __init__(self) -> None:
        self._main = sys.modules["__main__"] = types.ModuleType("__main__")
        self._placed: set[str] = set()
        self._targets: dict[int, Any] = {}
        self._failed: dict[int, BaseException] = {}

    def add_image(self, image_id: int, data: bytes) -> None:
        """Take in an image. One that cannot be read fails the calls that need it."""
        try:
            kind, *content = pickle.loads(data)
            if kind == "names":
                self._place(content[0])
                return
            needed, function = content
            for need in needed:
                if need in self._failed:
                    raise self._failed[need]
            self._targets[image_id] = function
        except BaseException as error:
            # Importing the user's modules runs the user's code: it can raise
            # anything. It is not lost, `run` raises it.
            self._failed[image_id] = error

    def _place(self, values: dict[str, Any]) -> None:
        """Bind names as the parent has bound them.

        A name that code in this process has bound before the parent's first
        value of it came is left alone: an initializer has made it.
        """
        namespace = vars(self._main)
        for name, value in values.items():
            if name in self._placed or name not in namespace:
                namespace[name] = value
        self._placed.update(values)

    def run(self, target_id: int, data: bytes) -> tuple[bool, bytes]:
        """Run a call.

        Returns:
            True and the pickled result, or False and the pickled failure.

        """
        name = "the task"
        try:
            if target_id in self._failed:
                raise self._failed[target_id]
            function = self._targets[target_id]
            name = describe(function)
            try:
                args, kwargs = pickle.loads(data)
            except Exception as error:
                error.add_note(f"plait: the arguments of {name} could not be read in the worker")
                for failed in self._failed.values():
                    error.add_note(
                        f"plait: something sent before could not be read either: {failed!r}"
                    )
                raise
            result = function(*args, **kwargs)
        except BaseException as error:
            return False, encode_failure(error, os.getpid())
        try:
            return True, dumps(result)
        except BaseException as error:
            error.add_note(
                f"plait: the result of {name}, of type {type(result).__qualname__}, "
                "cannot be sent back from the process"
            )
            return False, encode_failure(error, os.getpid())
