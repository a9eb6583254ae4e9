"""What was measured, and the choice made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Figures", "Measurement"]

T = TypeVar("T")


class Figures(Mapping[str, T]):
    """A small mapping that does not change; it can be hashed, copied and pickled."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, T]) -> None:
        self._items = tuple(items.items())

    def __getitem__(self, key: str) -> T:
        for known, value in self._items:
            if known == key:
                return value
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items))

    def __repr__(self) -> str:
        return repr(dict(self._items))


@dataclass(frozen=True, slots=True)
class Measurement:
    """The evidence about a function, and the recommendation drawn from it.

    Made by `plait.measure`; `print` it for a table.

    Attributes:
        best: Where to run it: `"serial"`, `"thread"`, `"process"` or `"loop"`.
        reason: One sentence that says why.
        seconds: For each engine that ran it, the time in seconds of the whole batch: the best of
            up to three runs, or, where the budget did not allow one whole run, scaled up from a
            part of the batch. An engine that could not run it, or for which no time was left,
            is not in it.
        batch: The number of calls that `seconds` are about.
        calls: How many times the function was called in all.
        wall: Wall time in seconds of one call, made serially.
        cpu: CPU time in seconds of the calling thread in one call.
        waited: The part of `wall` in which a call neither computed nor queued for a core.
        pickled_bytes: Size in bytes of the pickled arguments and result of one call; None if it
            cannot be carried to a process, or need not be (a coroutine).
        pickle_seconds: Time in seconds to pickle and unpickle them; None likewise.
        handout: For each engine that ran it, the time in seconds that one call costs which does
            nothing.
        workers: For each engine that ran it, how many calls it had under way at once.
        start_up: For each engine that was started for it, the time in seconds that this took; it
            is not part of `seconds`.
    """

    best: str
    reason: str
    seconds: Mapping[str, float]
    batch: int
    calls: int
    wall: float
    cpu: float
    waited: float
    pickled_bytes: int | None
    pickle_seconds: float | None
    handout: Mapping[str, float]
    workers: Mapping[str, int]
    start_up: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return all fields as plain dicts, strings and numbers, ready for `json.dumps`."""
        fields = asdict(self)
        return {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in fields.items()
        }

    def __rich__(self) -> RenderableType:
        from plait._measure.table import render

        return render(self)

    def __str__(self) -> str:
        from rich.console import Console

        text = StringIO()
        Console(file=text, width=88, color_system=None, legacy_windows=False).print(self)
        return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())
