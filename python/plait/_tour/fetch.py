"""Fetching pages from a server that takes its time."""

from __future__ import annotations

import asyncio
import http.client
import importlib.util
import threading
from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import Any

from plait import _all_engines
from plait._tour.advice import overlap
from plait._tour.program import Method, Outcome, Program, Run, Track
from plait._tour.site import HOST, Site, page
from plait._units import seconds_of

__all__ = ["programs"]


def programs(site: Site, delay: float) -> list[Program]:
    """Make the programs: few pages, then many."""
    return [_program(site, delay, count) for count in (3, 50)]


def _program(site: Site, delay: float, count: int) -> Program:
    tornado = importlib.util.find_spec("tornado") is not None
    return Program(
        title=f"Fetch {count} pages",
        about=f"A real HTTP server in another process answers after {seconds_of(delay)}.",
        methods=[
            Method("one after another", "serial", partial(_serial, site, count)),
            Method("threads", "thread", partial(_threads, site, count)),
            Method(
                "callbacks (Tornado)",
                "loop",
                partial(_callbacks, site, count),
                missing=None if tornado else "Tornado is not installed",
            ),
            Method("coroutines", "loop", partial(_coroutines, site, count)),
        ],
        advise=partial(_advise, count),
    )


def _checked(bodies: dict[int, bytes], count: int) -> Outcome:
    right = sum(bodies.get(number) == page(number) for number in range(count))
    return Outcome(f"{right} of {count} right", right == count)


def _get(site: Site, number: int) -> bytes:
    """Fetch a page as a blocking program does."""
    connection = http.client.HTTPConnection(HOST, site.port)
    try:
        connection.request("GET", f"/page/{number}")
        return connection.getresponse().read()
    finally:
        connection.close()


def _serial(site: Site, count: int, track: Track) -> Outcome:
    bodies = {}
    with track.timed():
        for number in range(count):
            with track.spanning("main thread", f"page {number}"):
                bodies[number] = _get(site, number)
    return _checked(bodies, count)


def _threads(site: Site, count: int, track: Track) -> Outcome:
    def get(number: int) -> tuple[int, bytes, float, float]:
        start = monotonic()
        body = _get(site, number)
        return threading.get_ident(), body, start, monotonic()

    with track.timed(), _all_engines.ThreadPoolExecutor(count) as pool:
        fetched = list(pool.map(get, range(count)))
    for number, (thread, _, start, end) in enumerate(fetched):
        track.span(track.lane(thread), f"page {number}", start, end)
    return _checked({number: body for number, (_, body, _, _) in enumerate(fetched)}, count)


def _callbacks(site: Site, count: int, track: Track) -> Outcome:
    from tornado.httpclient import AsyncHTTPClient

    bodies: dict[int, bytes] = {}

    async def main() -> None:
        over = asyncio.get_running_loop().create_future()
        client = AsyncHTTPClient(force_instance=True, max_clients=count)

        def arrived(number: int, start: float, future: asyncio.Future[Any]) -> None:
            track.span(f"callback {number + 1}", f"page {number}", start, monotonic())
            if future.exception() is None:
                bodies[number] = future.result().body
            else:
                errors.append(future.exception())
            if len(bodies) + len(errors) == count:
                over.set_result(None)

        errors: list[BaseException | None] = []
        with track.timed():
            for number in range(count):
                future = client.fetch(f"http://{HOST}:{site.port}/page/{number}")
                future.add_done_callback(partial(arrived, number, monotonic()))
            await over
        client.close()
        if errors and errors[0] is not None:
            raise errors[0]

    _all_engines.run(main())
    return _checked(bodies, count)


def _coroutines(site: Site, count: int, track: Track) -> Outcome:
    async def get(number: int) -> bytes:
        with track.spanning(f"coroutine {number + 1}", f"page {number}"):
            reader, writer = await asyncio.open_connection(HOST, site.port)
            head = f"GET /page/{number} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode("ascii"))
            status, _, _ = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
            body = await reader.read()
            writer.close()
            await writer.wait_closed()
        if status.split()[1] != b"200":
            raise RuntimeError(f"the server answered {status!r}")
        return body

    async def main() -> list[bytes]:
        with track.timed():
            return await asyncio.gather(*[get(number) for number in range(count)])

    return _checked(dict(enumerate(_all_engines.run(main()))), count)


def _advise(count: int, runs: Sequence[Run]) -> str:
    verdict = overlap(runs)
    if not verdict.gained:
        return verdict.text
    best = verdict.names
    if count <= 10 and "threads" in best:
        return (
            f"{verdict.text} It is waiting, and for {count} at once threads are enough: "
            "blocking code stays as it is."
        )
    if "coroutines" in best:
        return (
            f"{verdict.text} It is waiting: coroutines had all {count} under way in one thread, "
            f"where the thread pool took {count}."
        )
    return f"{verdict.text} It is waiting; in this run coroutines were not among the fastest."
