"""`on="auto"`: where a function runs is measured on its real calls, and what it does is seen first.

A result never depends on where a call has run. So before a call leaves the place where it was made,
its code is read (`reading.py`, `callees.py`) for what makes that a matter: it writes something that
others see, it asks where it is, it reads what others write. What no code tells (functions in C)
shows in a pickle of the arguments before and after the first calls (`comparing.py`). What workers
of a process would have of the globals that it reads is compared by them (`guarding.py`).

| file | what it is |
|---|---|
| `values.py` | what a variable may refer to, as far as code tells |
| `tables.py` | what is known of functions and methods whose code is not read |
| `reading.py` | reads the bytecode of one function |
| `callees.py` | follows the calls between the user's functions |
| `summary.py` | what is found out about a piece of code |
| `taking.py` | what a call does, in terms of the code that calls |
| `libraries.py` | calls of functions whose code is not read |
| `standing.py` | whether what was found stands still |
| `functions.py` | what is behind wrappers, and what parameters are in a call |
| `attributes.py` | what attributes and operators do, by the class of their object |
| `objects.py` | what methods do |
| `making.py` | classes that code makes, and objects |
| `classes.py` | the user's classes: what stands in them, and what runs unasked |
| `effects.py` | what comes of it, and whether it counts for given arguments |
| `fixed.py` | values that cannot change |
| `comparing.py` | arguments before and after a call |
| `digesting.py` | one value here and another there: are they equal? |
| `guarding.py` | calls that a worker refuses whose globals differ |
| `record.py` | what is known of a function, and of its calls |
| `measuring.py` | a real call, and what it shows |
| `deciding.py` | from that to a decision |
| `lane.py` | one call after another, beside a loop |
| `unread.py` | looks for which no code is read, in a loop's thread |
| `explanation.py` | `plait.explain` |
"""
