"""One row with one pool: `python -m threads.perform PEER ROW COUNT`. It tells the figures."""

import gc
import json
import sys

from child import reason
from threads.peers import make
from threads.rows import BY_NAME


def main(peer: str, row: str, count: str) -> None:
    """Start the pool, do it, tell."""
    pool = make(peer)
    gc.collect()
    try:
        found = BY_NAME[row].program(pool, int(count))
    except Exception as error:
        print(json.dumps({"unable": reason(error)}), flush=True)
        raise SystemExit(0) from None
    print(json.dumps(found), flush=True)
    pool.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
