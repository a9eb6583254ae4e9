"""What each instruction does to the stack and the variables.

| file | which |
|---|---|
| `variables.py` | those that find what a name or a constant is, and bind names |
| `stack.py` | those that move values on the stack; those that are not known |
| `objects.py` | those that look into objects, change them, or put new ones together |
| `calls.py` | those that make functions, and call |
| `table.py` | the table that they are entered in |
"""

from plait._auto.steps import calls, objects, stack, variables
from plait._auto.steps.stack import unknown
from plait._auto.steps.table import Steps

__all__ = ["STEPS", "unknown"]

STEPS = Steps({**variables.STEPS, **stack.STEPS, **objects.STEPS, **calls.STEPS})
