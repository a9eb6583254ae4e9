"""Calls that a worker refuses whose globals are not those of this process.

A worker imports a module anew: what the program has set in it since is not there. So whoever sends
a function that reads data of its module sends their digests along; where a worker's are others, it
makes no call but says so, and the call is made here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

from plait._auto.digesting import Incomparable, digest, digest_of_code, find
from plait._pickling.placing import BY_VALUE, place

__all__ = ["Differs", "Guarded", "digests_of", "replaced"]


# The code of functions when their calls were first sent, by module and name: workers that have
# imported the module have that one.
_sent: dict[tuple[str, str], bytes] = {}


class Differs(Exception):
    """A worker has another value than this process; the call was not made."""


class Guarded:
    """A function, and what the globals are that it reads."""

    def __init__(
        self, function: Callable[..., Any], digests: tuple[tuple[str, str, bytes], ...], name: str
    ) -> None:
        """Call `function`, which messages call `name`, where the digests are right."""
        self._function = function
        self._digests = digests
        self.__qualname__ = name

    def __reduce__(self) -> tuple[Any, ...]:
        return Guarded, (self._function, self._digests, self.__qualname__)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function.

        Raises:
            Differs: it would read something else.

        """
        return self.checked()(*args, **kwargs)

    def checked(self) -> Callable[..., Any]:
        """Return the function, to be called here a few times in a row.

        Raises:
            Differs: it would read something else.

        """
        for module, path, expected in self._digests:
            try:
                found: bytes | None = digest(find(module, path))
            except Incomparable:
                found = None
            if found != expected:
                raise Differs(f"`{module}.{path}`")
        return self._function


def replaced(function: Any) -> frozenset[tuple[str, str]]:
    """Name a function where its name led to another before: workers may have that one."""
    if not isinstance(function, FunctionType) or place(function) is BY_VALUE:
        return frozenset()
    name = function.__module__, function.__qualname__
    code = digest_of_code(function.__code__)
    return frozenset() if _sent.setdefault(name, code) == code else frozenset({name})


def digests_of(reads: Iterable[tuple[str, str]]) -> tuple[tuple[str, str, bytes], ...]:
    """Make the digests of what is read.

    Raises:
        Incomparable: of something there is none; the text says of what.

    """
    found = []
    for module, path in sorted(reads):
        try:
            found.append((module, path, digest(find(module, path))))
        except Incomparable as error:
            raise Incomparable(f"reads `{path}` of {module}: {error}") from None
    return tuple(found)
