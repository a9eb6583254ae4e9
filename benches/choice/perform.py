"""One step of a row, in a process of its own: `python -m choice.perform STEP ROW BATCH JSON`.

The steps: `measure` and `auto` tell what is chosen, `run` tells the times.
"""

import json
import sys
from typing import Any

from child import reason
from choice.choosers import decided, measured
from choice.methods import Runs
from choice.rows import BY_NAME, Arguments, Row


def _step(step: str, row: Row, arguments: Arguments, batch: int, options: Any) -> Any:
    if step == "measure":
        return measured(row, arguments, batch, told=options["told"])
    if step == "auto":
        return decided(row, arguments, batch)
    runs = Runs(row, arguments, batch)
    if row.cold_workers:
        # The program itself has called it before, at least to measure it.
        row.function(*arguments)
    runs.rounds([(method, width) for method, width in options["ways"]], options["rounds"])
    return {"times": runs.times, "cannot": runs.unable}


def main(step: str, name: str, batch: str, options: str) -> None:
    """Do it and tell."""
    row = BY_NAME[name]
    try:
        with row.setting() as arguments:
            found = _step(step, row, arguments, int(batch), json.loads(options))
    except Exception as error:
        found = {"unable": reason(error)}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
