"""What asyncio's loop has of executors in later versions only."""

from __future__ import annotations

import asyncio
import sys
import threading
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable

__all__ = ["ExecutorsMixin"]


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    # Who waited may have gone.
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


class ExecutorsMixin:
    """The end of the default executor."""

    # 3.11 takes no timeout, and early releases of 3.12 do not keep it.
    if sys.version_info < (3, 13):
        if TYPE_CHECKING:
            _default_executor: concurrent.futures.Executor | None
            _executor_shutdown_called: bool
            create_future: Callable[[], asyncio.Future[None]]
            call_soon_threadsafe: Callable[..., object]
            is_closed: Callable[[], bool]

        async def shutdown_default_executor(
            self,
            timeout: float | None = None,  # noqa: ASYNC109 - asyncio's own name for it
        ) -> None:
            """Shut the default executor down and wait for its threads.

            Args:
                timeout: How long to wait, in seconds; for as long as it takes
                    if not given. Then a RuntimeWarning is given, and the
                    threads are left to themselves.

            """
            self._executor_shutdown_called = True
            executor = self._default_executor
            if executor is None:
                return
            ended = self.create_future()
            thread = threading.Thread(target=self._shut_down, args=(executor, ended))
            thread.start()
            try:
                async with asyncio.timeout(timeout):
                    await ended
            except TimeoutError:
                # The words are asyncio's, from 3.12 on: programs filter them.
                warnings.warn(
                    f"The executor did not finishing joining its threads within {timeout} seconds.",
                    RuntimeWarning,
                    stacklevel=2,
                )
                executor.shutdown(wait=False)
            else:
                thread.join()

        def _shut_down(
            self, executor: concurrent.futures.Executor, ended: asyncio.Future[None]
        ) -> None:
            error = None
            try:
                executor.shutdown(wait=True)
            except Exception as raised:
                error = raised
            try:
                self.call_soon_threadsafe(_settle, ended, error)
            except RuntimeError:
                # Nobody waits for the threads of a closed loop.
                if not self.is_closed():
                    raise
