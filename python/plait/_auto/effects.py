"""What a function does beside returning a value."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["Effect"]


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that makes it matter where a function is called.

    Attributes:
        text: What the function does, as a clause: "sets an item of `CACHE`".
        file: Where that is in its code; None where no code tells.
        line: The line there; 0 where no code tells.
        argument: The name of the argument that it is done to; None: it is something else.
        keeps: Where it keeps the calls: `"here"`, one after another where they are made; or
            `"process"`, in this process.
    """

    text: str
    file: str | None = None
    line: int = 0
    argument: str | None = None
    keeps: str = "here"

    def __str__(self) -> str:
        if self.file is None:
            return self.text
        return f"{self.text} ({os.path.basename(self.file)}:{self.line})"
