"""The table of what instructions do, by their names."""

from __future__ import annotations

import dis
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from plait._auto.paths import State

if TYPE_CHECKING:
    from plait._auto.reading import Reader

__all__ = ["Step", "Steps"]

Step: TypeAlias = "Callable[[Reader, dis.Instruction, State], None]"


class Steps(dict[str, Step]):
    """What each instruction does to the stack and the variables, and has noted."""

    def of(self, *names: str) -> Callable[[Step], Step]:
        """Enter the function as that of these instructions."""

        def enter(step: Step) -> Step:
            self.update(dict.fromkeys(names, step))
            return step

        return enter
