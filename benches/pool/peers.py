"""The pools that are measured, each behind the same three calls."""

import concurrent.futures
import importlib.util
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any

from child import Unable

OURS = "plait"
STANDARD = "concurrent.futures"
MULTIPROCESSING = "multiprocessing"
WORKERS = 2


class Peer:
    """A pool with its workers; what a pool does not have, it says."""

    def submit(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Hand out a call; what comes back is for `wait`."""
        raise Unable("it has no call for a single task")

    def wait(self, handle: Any) -> Any:
        """Wait for the result of a call."""
        raise NotImplementedError

    def batch(self, fn: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Do many calls, in the way that this pool does best without being told their number."""
        return [self.wait(handle) for handle in [self.submit(fn, *args) for args in calls]]

    def prepare(self, fn: Callable[[Any], Any], items: Sequence[Any]) -> None:
        """Do what the first map does once, where single calls have not done it."""

    def map(self, fn: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Do one call for each item, with the defaults of this pool's own map."""
        raise NotImplementedError

    def executor(self) -> concurrent.futures.Executor:
        """Return it as the executor of the standard library."""
        raise Unable("it is no concurrent.futures.Executor")

    def close(self) -> None:
        """End the workers."""
        raise NotImplementedError


class _Executor(Peer):
    def __init__(self, pool: concurrent.futures.Executor) -> None:
        self._pool = pool

    def submit(self, fn: Callable[..., Any], *args: Any) -> Any:
        return self._pool.submit(fn, *args)

    def wait(self, handle: Any) -> Any:
        return handle.result()

    def map(self, fn: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return list(self._pool.map(fn, items))

    def executor(self) -> concurrent.futures.Executor:
        return self._pool

    def close(self) -> None:
        self._pool.shutdown()


class _Pool(Peer):
    """As `multiprocessing.Pool`."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def submit(self, fn: Callable[..., Any], *args: Any) -> Any:
        return self._pool.apply_async(fn, args)

    def wait(self, handle: Any) -> Any:
        return handle.get()

    def map(self, fn: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return list(self._pool.map(fn, items))

    def close(self) -> None:
        self._pool.close()
        self._pool.join()


class _Pebble(Peer):
    def __init__(self) -> None:
        self._pool = import_module("pebble").ProcessPool(max_workers=WORKERS)

    def submit(self, fn: Callable[..., Any], *args: Any) -> Any:
        return self._pool.schedule(fn, args=args)

    def wait(self, handle: Any) -> Any:
        return handle.result()

    def map(self, fn: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return list(self._pool.map(fn, items).result())

    def close(self) -> None:
        self._pool.close()
        self._pool.join()


class _Joblib(Peer):
    def __init__(self) -> None:
        joblib = import_module("joblib")
        self._delayed = joblib.delayed
        # As a context, it keeps its workers from call to call.
        self._parallel = joblib.Parallel(n_jobs=WORKERS)
        self._parallel.__enter__()

    def submit(self, fn: Callable[..., Any], *args: Any) -> Any:
        return self.batch(fn, [args])

    def wait(self, handle: Any) -> Any:
        return handle[0]

    def batch(self, fn: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> list[Any]:
        return list(self._parallel(self._delayed(fn)(*args) for args in calls))

    def map(self, fn: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return self.batch(fn, [(item,) for item in items])

    def close(self) -> None:
        self._parallel.__exit__(None, None, None)


class _Mpire(_Pool):
    def __init__(self) -> None:
        pool = import_module("mpire").WorkerPool
        super().__init__(pool(n_jobs=WORKERS, keep_alive=True))
        # Workers that have had a single call take an item of a map for the arguments of one.
        self._maps = pool(n_jobs=WORKERS, keep_alive=True)

    def prepare(self, fn: Callable[[Any], Any], items: Sequence[Any]) -> None:
        self.map(fn, items)

    def map(self, fn: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        # An item that can be unpacked would be.
        return list(self._maps.map(fn, [(item,) for item in items]))

    def close(self) -> None:
        self._pool.terminate()
        self._maps.terminate()


def _executor(module: str) -> Peer:
    return _Executor(import_module(module).ProcessPoolExecutor(WORKERS))


_MAKERS: dict[str, Callable[[], Peer]] = {
    STANDARD: lambda: _executor(STANDARD),
    MULTIPROCESSING: lambda: _Pool(multiprocessing.Pool(WORKERS)),
    "billiard": lambda: _Pool(import_module("billiard").Pool(WORKERS)),
    "loky": lambda: _executor("loky"),
    "joblib": _Joblib,
    "pebble": _Pebble,
    "mpire": _Mpire,
    OURS: lambda: _executor(OURS),
}
PEERS = tuple(_MAKERS)


def present(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split names into those that can be imported here and those that cannot."""
    here = [name for name in names if importlib.util.find_spec(name)]
    return here, [name for name in names if name not in here]


def make(name: str) -> Peer:
    """Start a pool."""
    return _MAKERS[name]()
