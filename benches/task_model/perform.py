"""One row with one peer: `python -m task_model.perform PEER ROW COUNT`. It tells the figures."""

import json
import sys

from child import Unable, reason
from task_model.rows import BY_NAME


def main(peer: str, name: str, count: str) -> None:
    """Do it, tell."""
    row = BY_NAME[name]
    try:
        if peer not in row.peers:
            raise Unable("it has no such thing")
        found = row.program(peer, int(count))
    except Exception as error:
        print(json.dumps({"unable": reason(error)}), flush=True)
        raise SystemExit(0) from None
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
