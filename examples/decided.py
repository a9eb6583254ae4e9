"""Let plait decide where calls run, and ask why: one function may go anywhere, one has to stay."""

import plait

counts: dict[int, int] = {}


def collatz(start: int) -> int:
    """Count the steps from a number down to 1."""
    steps = 0
    while start != 1:
        start = start // 2 if start % 2 == 0 else 3 * start + 1
        steps += 1
    return steps


def tally(steps: int) -> int:
    """Count how often a number of steps was found: in a global, so this stays where it is."""
    counts[steps] = counts.get(steps, 0) + 1
    return counts[steps]


if __name__ == "__main__":
    most = max(plait.map(tally, plait.map(collatz, range(1, 20_000))))
    print(f"{most} numbers take {max(counts, key=counts.__getitem__)} steps each")
    for function in (collatz, tally):
        print(plait.explain(function))
