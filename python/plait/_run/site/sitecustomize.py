"""Begins `plait run`: the interpreter imports this before it runs the program.

So the program is run by the interpreter itself, as `python SCRIPT` runs it:
`sys.argv`, `sys.path`, `__main__`, exit status, signals and tracebacks are its
own. What brought this file in is taken out again first, so that no subprocess
of the program inherits it.
"""

import os
import sys
import traceback


def _begin() -> None:
    options = os.environ.pop("PLAIT_RUN").split(",")
    before = os.environ.pop("PLAIT_RUN_PYTHONPATH", None)
    if before is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = before
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != here]
    sys.path_importer_cache.pop(here, None)
    # The one that this stands before.
    ours = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", ours)
    from plait._run import begin

    begin(options)


if "PLAIT_RUN" in os.environ:
    try:
        _begin()
    except BaseException:
        # `site` would write a line and go on without plait.
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
