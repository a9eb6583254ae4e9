"""How functions, arguments and results travel between a program and its workers.

Plain pickle sends a function by the name that its module knows it by. For a
module that a worker cannot import, `__main__` above all, there is nobody to
ask by that name. So a worker has a namespace for each such module, a module
object of that name, and the pool fills it with what its tasks use:

- A function or class that the module knows by its name is *sent by name*
  wherever it occurs, and the name is a *key* that the task depends on.
- Behind each key is an *image*: the value itself, functions and classes by
  value, told to each worker once. Globals that such functions use are keys
  too, and so on.
- An image is made anew only when the program binds the name to another
  object. What an initializer or a task does to a global in the worker stays.

Thus instances come back with the class that the program knows, a notebook cell
that is run again replaces the old function, and no guard is needed.

Lambdas, closures and whatever else no name leads to goes by value, bound to
the same namespaces.

| file | what it is |
|---|---|
| `placing.py` | whether an object is found by name, and where |
| `code.py` | the globals that code uses |
| `pickler.py` | the fast pickler, for what can be named |
| `by_value.py` | the full pickler, on top of cloudpickle |
| `shared.py` | what `multiprocessing` alone can carry |
| `sharing.py` | objects that are placed once, and their handles |
| `remade.py` | what pickle refuses and can be made anew |
| `rebuild.py` | what pickles call at the other side |
| `outbound.py` | calls on their way out: keys, images, caches |
| `inbound.py` | the worker's side: namespaces, images, running |
| `results.py` | values and exceptions on their way back |
| `stand_ins.py` | exceptions that pickle cannot carry |
| `endings.py` | the exceptions of tasks that were stopped, or whose worker died |
"""
