"""Says below a table why a cell is empty."""

from collections.abc import Iterable, Mapping


def notes(unable: Iterable[tuple[str, Mapping[str, str]]]) -> list[str]:
    """List what could not be measured, the same reason once."""
    rows: dict[tuple[str, str], list[str]] = {}
    for row, reasons in unable:
        for name, reason in reasons.items():
            rows.setdefault((name, reason), []).append(row)
    if not rows:
        return []
    lines = [f"- {name}: {', '.join(found)}: {reason}" for (name, reason), found in rows.items()]
    return ["Not measured (-):", "", *lines, ""]
