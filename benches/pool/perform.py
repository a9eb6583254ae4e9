"""One row with one pool: `python -m pool.perform PEER ROW COUNT`. It tells the figures."""

import gc
import json
import sys

from child import reason
from pool.peers import make
from pool.rows import BY_NAME


def main(peer: str, row: str, count: str) -> None:
    """Start the pool, do it, tell."""
    try:
        pool = make(peer)
        gc.collect()
        figures = BY_NAME[row].run(pool, peer, int(count))
    except Exception as error:
        print(json.dumps({"unable": reason(error)}), flush=True)
        raise SystemExit(0) from None
    print(json.dumps(figures), flush=True)
    pool.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
