"""A program on one loop: `python -m loop.perform PEER ROW CPU...`.

It reads counts from its standard input, one a line, runs the program so often in a new loop, and
tells the times that it took.
"""

import gc
import json
import os
import sys

from child import reason
from loop.callback_rows import BY_NAME
from loop.micro.watch import Watch
from loop.peers import factory


def main(peer: str, name: str, *cpus: str) -> None:
    """Answer until the input ends or the loop cannot."""
    os.sched_setaffinity(0, {int(cpu) for cpu in cpus})
    program, make = BY_NAME[name].program, factory(peer)
    for line in sys.stdin:
        watch = Watch()
        gc.collect()
        try:
            program(make, int(line), watch)
        except Exception as error:
            print(json.dumps({"unable": reason(error)}), flush=True)
            return
        print(json.dumps({"wall": watch.wall, "cpu": watch.cpu}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
