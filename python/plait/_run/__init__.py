"""`plait run`: what is put in place before an unchanged program begins.

The program is run by the interpreter itself; `site/sitecustomize.py` calls
`begin` before it does.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["begin", "environment"]

_LOST = 1


class _State:
    # Whether the program's own status is known when it exits.
    knows_status = False


_state = _State()


def environment(options: Iterable[str]) -> dict[str, str]:
    """Return the environment in which an interpreter begins with `begin(options)`."""
    made = dict(os.environ)
    before = made.get("PYTHONPATH")
    site = os.path.join(os.path.dirname(os.path.abspath(__file__)), "site")
    made["PLAIT_RUN"] = ",".join(options)
    made.pop("PLAIT_RUN_PYTHONPATH", None)
    if before is not None:
        made["PLAIT_RUN_PYTHONPATH"] = before
    made["PYTHONPATH"] = os.pathsep.join([site, *([before] if before else [])])
    return made


def begin(options: Iterable[str]) -> None:
    """Put plait's loop in place, and see to it that every lost exception is reported.

    Args:
        options: "pools" puts plait's pools in the standard ones' places,
            "strict" has a program that has lost an exception end with a status
            other than 0. "which" does none of all this: it has the program watched,
            as `plait which` does.

    """
    options = set(options)
    if "which" in options:
        from plait import _which

        _which.begin(options)
        return
    if "strict" in options:
        # Registered before anything else is: it runs after all.
        atexit.register(_end_strictly, os.getpid())
    import plait
    from plait._binding import native

    if "strict" in options:
        _state.knows_status = native.exit_prepare()
    from plait._run import asyncio_losses, hooks, pools, standard, standard_results

    plait.install()
    hooks.watch()
    asyncio_losses.watch()
    standard.watch()
    standard_results.watch()
    if "pools" in options:
        pools.replace()


def _end_strictly(pid: int) -> None:
    from plait import _lost
    from plait._binding import native

    count = _lost.count()
    if not count or os.getpid() != pid:
        return
    exceptions = "exception was" if count == 1 else "exceptions were"
    print(f"plait run: {count} {exceptions} lost", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    if _state.knows_status:
        native.exit_fail()
    else:
        # Nothing but the interpreter's own end comes after this, and it would
        # give the program's status.
        os._exit(_LOST)
