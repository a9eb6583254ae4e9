"""What the workers are given to do."""

import random
import time
from typing import Any

# Pareto's shape: most tasks are short, and a few take as long as hundreds of them.
SHAPE = 1.2
SHORTEST, LONGEST = 0.0002, 0.05


def nothing(value: Any) -> Any:
    """Give back what came."""
    return value


def three(first: int, second: str, third: float) -> tuple[int, str, float]:
    """Give back what came."""
    return first, second, third


def merge_sort(values: list[int]) -> list[int]:
    """Sort in pure Python."""
    if len(values) < 2:
        return values
    middle = len(values) // 2
    left, right = merge_sort(values[:middle]), merge_sort(values[middle:])
    merged = []
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i] <= right[j]:
            merged.append(left[i])
            i += 1
        else:
            merged.append(right[j])
            j += 1
    return merged + left[i:] + right[j:]


def burn(seconds: float) -> float:
    """Compute for so long, by this thread's own clock: a busy machine takes nothing from it."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return seconds


def heavy_tail(count: int) -> list[float]:
    """Make so many durations in seconds, always the same ones."""
    draw = random.Random(2026)
    return [min(LONGEST, SHORTEST * draw.paretovariate(SHAPE)) for _ in range(count)]
