"""What the tour is made of: programs, methods to run them by, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

__all__ = ["Method", "Outcome", "Program", "Run", "Span", "Track"]


@dataclass(frozen=True, slots=True)
class Span:
    """Something that ran; times are those of `time.monotonic()`."""

    lane: str
    label: str
    kind: str
    start: float
    end: float


@dataclass(slots=True)
class Track:
    """The record of one run, made while it runs."""

    engine: str
    start: float = 0.0
    end: float = 0.0
    spans: list[Span] = field(default_factory=list)
    _paused: float = 0.0
    _places: dict[int, str] = field(default_factory=dict)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Time what is inside. Where a run has several such parts, what lies between is cut out."""
        began = monotonic()
        if self.start:
            # `end` is on the track's own time, which stood still since.
            self._paused = began - self.end
        else:
            self.start = began
        yield
        self.end = monotonic() - self._paused

    @property
    def seconds(self) -> float:
        """The wall time of the timed parts."""
        return self.end - self.start

    def span(
        self, lane: str, label: str, start: float, end: float, kind: str | None = None
    ) -> None:
        """Record what ran in a lane; `kind` is the engine's, if not said."""
        shift = self._paused
        self.spans.append(Span(lane, label, kind or self.engine, start - shift, end - shift))

    @contextmanager
    def spanning(self, lane: str, label: str, kind: str | None = None) -> Iterator[None]:
        """Record what is inside."""
        start = monotonic()
        yield
        self.span(lane, label, start, monotonic(), kind)

    def lane(self, place: int) -> str:
        """Name the lane of a thread or process by its number in order of appearance."""
        name = self._places.get(place)
        if name is None:
            name = self._places[place] = f"{self.engine} {len(self._places) + 1}"
        return name


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found: a few words, and whether it is right (None: nothing to check)."""

    text: str
    right: bool | None = None
    #: A figure that the advice is drawn from, besides the time.
    figure: float = 0.0


@dataclass(frozen=True, slots=True)
class Method:
    """A way to run a program.

    Attributes:
        name: In the words of the field.
        engine: In plait's vocabulary.
        run: Runs it, records it, checks it.
        missing: Why it cannot be run here, if it cannot.
    """

    name: str
    engine: str
    run: Callable[[Track], Outcome]
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A method, and what came of it; `track` and `outcome` are None if it could not run."""

    method: Method
    track: Track | None = None
    outcome: Outcome | None = None

    @property
    def seconds(self) -> float:
        """Wall time; endless if it could not run."""
        return self.track.seconds if self.track else float("inf")

    @property
    def failed(self) -> bool:
        """Whether a check failed."""
        return self.outcome is not None and self.outcome.right is False


@dataclass(frozen=True, slots=True)
class Program:
    """A known program of the field.

    Attributes:
        title: What it does, in a few words.
        about: What there is to see.
        methods: The ways to run it, the plainest first.
        advise: Draws from the runs, in the order of the methods, which to use and why.
    """

    title: str
    about: str
    methods: Sequence[Method]
    advise: Callable[[Sequence[Run]], str]
