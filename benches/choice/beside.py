"""What makes a machine busy: processes that compute and do nothing else."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from child import Child, python

BURNERS = 2


@contextmanager
def burners(count: int) -> Iterator[None]:
    """Have so many processes compute until the end of the block."""
    with ExitStack() as stack:
        running = [stack.enter_context(Child(python("choice.beside"))) for _ in range(count)]
        for each in running:
            each.answer(30.0)
        yield


def burn() -> None:
    """Compute until whoever has started this is gone."""
    parent = os.getppid()
    print("true", flush=True)
    while os.getppid() == parent:
        sum(range(100_000))


if __name__ == "__main__":
    burn()
