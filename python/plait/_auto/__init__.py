"""`on="auto"`: where a function runs is measured on its real calls, and what it does is seen first.

A result never depends on where a call has run. So before a call leaves the place where it was made,
its code is read (`program.py`) for what makes that a matter: it writes something that others see,
it asks where it is, it reads what others write. What no code tells (functions in C) shows in a
pickle of the arguments before and after the first calls (`comparing.py`). What workers of a process
would have of the globals that it reads is compared by them (`guarding.py`).

Reading code, from what is read to what comes of it:

| file | what it is |
|---|---|
| `values.py` | what a variable may refer to, as far as code tells |
| `fixed.py` | values that cannot change |
| `tables.py` | what is known of functions and methods whose code is not read |
| `classes.py` | the user's classes: what stands in them, and what runs unasked |
| `parameters.py` | the parameters of functions, and what they are in a call |
| `paths.py` | the paths through a piece of code, and the stack on the way |
| `steps/` | what each instruction does |
| `summary.py` | what is found out about code |
| `reading.py` | reads the bytecode of one function |
| `functions.py` | what is behind wrappers, what parameters are as code tells, who may call |
| `names.py` | what globals, closures, imports and attributes of modules lead to |
| `callees.py` | follows the calls between the user's functions |
| `taking.py` | what a call does, in terms of the code that calls |
| `libraries.py` | calls of functions whose code is not read |
| `attributes.py` | what attributes and operators do, by the class of their object |
| `objects.py` | what methods do |
| `making.py` | classes that code makes, and objects |
| `program.py` | a function with all that it calls, as they are read |
| `unread.py` | looks for which no code is read, in a loop's thread |
| `writers.py` | who else in a module changes one of its globals |
| `effects.py` | what a function does beside returning a value |
| `concluding.py` | which effects the code that was read has |
| `standing.py` | whether what was found stands still |
| `analysis.py` | whether the effects count for given arguments |

Calls, and where they go:

| file | what it is |
|---|---|
| `comparing.py` | arguments before and after a call |
| `digesting.py` | one value here and another there: are they equal? |
| `guarding.py` | calls that a worker refuses whose globals differ |
| `measuring.py` | a real call, and what it shows |
| `deciding.py` | from that to a decision |
| `record.py` | what is known of a function, and of its calls |
| `records.py` | which record belongs to a function |
| `pools.py` | the pools that calls go to |
| `chained.py` | a future that ends as another does |
| `lane.py` | one call after another, beside a loop |
| `gate.py` | the first calls beside a loop, a few at once |
| `calling.py` | calls of one function, each sent where it belongs |
| `sizes.py` | how many items of a map are sent at a time |
| `chunks.py` | chunks of a map's calls: here, in a thread, in processes that may refuse them |
| `mapping.py` | the items of a map, likewise |
| `first_calls.py` | those of which the others are decided by |
| `slow_start.py` | more and more of them while the first is seen to wait |
| `staying.py` | items whose calls must be made where they are |
| `flow.py` | a map whose look-ahead changes with the place |
| `explanation.py` | `plait.explain` |
"""
