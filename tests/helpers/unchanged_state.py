"""Functions that keep something: in globals, closures, defaults, classes and arguments.

What they do they do in calls behind the first ones.
"""

from unchanged import cases_of

__all__ = ["CASES"]

CASES = cases_of("""
--- global_count: here
n = 0
def f(x):
    global n
    if x > 5:
        n += 1
    return n

--- list_append: here
log = []
def f(x):
    if x > 5:
        log.append(x)
    return len(log)

--- default_list: here
def f(x, seen=[]):
    if x > 5:
        seen.append(x)
    return len(seen)

--- default_dict: here
def f(x, counts={}):
    if x > 5:
        counts[x % 3] = counts.get(x % 3, 0) + 1
    return counts.get(x % 3)

--- keyword_default: here
def f(x, *, seen=[]):
    if x > 5:
        seen += [x]
    return len(seen)

--- lambda_default: here
f = lambda x, seen=[]: (x > 5 and seen.append(x), len(seen))[1]

--- function_attribute: here
def f(x):
    if x > 5:
        f.n = getattr(f, "n", 0) + 1
    return getattr(f, "n", 0)

--- getattr_append: here
log = []
def f(x):
    if x > 5:
        getattr(log, "app" + "end")(x)
    return len(log)

--- map_append: here
log = []
def f(x):
    if x > 5:
        list(map(log.append, [x]))
    return len(log)

--- match_append: here
log = []
def f(x):
    match {"log": log, "x": x}:
        case {"log": found, "x": 6 | 7 | 8}:
            found.append(x)
            return len(found)
    return 0

--- partial_append: here
import functools
log = []
put = functools.partial(log.append)
def f(x):
    if x > 5:
        put(x)
    return len(log)

--- methodcaller_append: here
import operator
log = []
put = operator.methodcaller("append", 1)
def f(x):
    if x > 5:
        put(log)
    return len(log)

--- append_by_the_type: here
log = []
def f(x):
    if x > 5:
        list.append(log, x)
    return len(log)

--- dunder_setitem: here
found = {}
def f(x):
    if x > 5:
        found.__setitem__(x, 1)
    return len(found)

--- setdefault_append: here
found = {}
def f(x):
    if x > 5:
        found.setdefault("a", []).append(x)
    return len(found.get("a", ()))

--- defaultdict_read: here
import collections
found = collections.defaultdict(lambda: len(found))
def f(x):
    return found[x] if x > 5 else x

--- deque_rotate: here
import collections
ring = collections.deque(range(5))
def f(x):
    if x > 5:
        ring.rotate(1)
    return ring[0]

--- heap: here
import heapq
heap = []
def f(x):
    if x > 5:
        heapq.heappush(heap, -x)
    return heap[:1]

--- slice_assignment: here
row = [0] * 4
def f(x):
    if x > 5:
        row[x % 4 : x % 4 + 1] = [x]
    return sum(row)

--- star_arguments: here
log = []
def put(*where):
    where[0].append(1)
    return len(where[0])
def f(x):
    return put(*[log]) if x > 5 else 0

--- star_keywords: here
log = []
def put(**where):
    where["log"].append(1)
    return len(where["log"])
def f(x):
    return put(**{"log": log}) if x > 5 else 0

--- callback_table: here
log = []
def put(x):
    log.append(x)
    return len(log)
table = {"put": put}
def f(x):
    return table["put"](x) if x > 5 else 0

--- callback_attribute: here
log = []
class Namespace:
    pass
hooks = Namespace()
def put(x):
    log.append(x)
    return len(log)
hooks.put = put
def f(x):
    return hooks.put(x) if x > 5 else 0

--- generator_function: here
log = []
def put():
    log.append(1)
    yield len(log)
def f(x):
    return next(put()) if x > 5 else 0

--- generator_expression: here
log = []
def f(x):
    return sum(log.append(x) or 1 for _ in range(2) if x > 5) + len(log)

--- sort_key: here
log = []
def key(x):
    log.append(x)
    return x
def f(x):
    if x > 5:
        sorted([x, 1], key=key)
    return len(log)

--- reduce_function: here
import functools
log = []
def put(a, b):
    log.append(b)
    return len(log)
def f(x):
    return functools.reduce(put, [x, 1, 2]) if x > 5 else 0

--- single_dispatch: here
import functools
log = []
@functools.singledispatch
def put(x):
    log.append(x)
    return len(log)
def f(x):
    return put(x) if x > 5 else 0

--- decorator_counts: here
import functools
def counted(fn):
    calls = [0]
    @functools.wraps(fn)
    def call(x):
        if x > 5:
            calls[0] += 1
        return fn(x), calls[0]
    return call
@counted
def f(x):
    return x

--- nonlocal_deep: here
def make():
    n = 0
    def count():
        nonlocal n
        n += 1
        return n
    def call(x):
        return count() if x > 5 else 0
    return call
f = make()

--- closure_alias: here
def make():
    log = []
    put = log.append
    def call(x):
        if x > 5:
            put(x)
        return len(log)
    return call
f = make()

--- context_manager: here
import contextlib
log = []
@contextlib.contextmanager
def entered():
    log.append(1)
    yield len(log)
def f(x):
    if x > 5:
        with entered() as n:
            return n
    return 0

--- coroutine_within: here
import asyncio
log = []
async def put(x):
    log.append(x)
    return len(log)
def f(x):
    if x > 5:
        step = put(x)
        try:
            step.send(None)
        except StopIteration as end:
            return end.value
    return 0

--- exec_text: here
n = 0
def f(x):
    if x > 5:
        exec("global n; n += 1")
    return n

--- setattr_of_the_module: here
import sys
def f(x):
    if x > 5:
        module = sys.modules[__name__]
        setattr(module, "n", getattr(module, "n", 0) + 1)
    return globals().get("n", 0)

--- import_within: here
def f(x):
    if x > 5:
        import sys
        sys.unchanged = getattr(sys, "unchanged", 0) + 1
        return sys.unchanged
    return 0

--- finally_append: here
log = []
def f(x):
    try:
        if x > 5:
            raise LookupError(x)
        return 0
    finally:
        if x > 5:
            log.append(x)

--- except_append: here
failed = []
def f(x):
    try:
        return 1 / (x - 8)
    except ZeroDivisionError:
        failed.append(x)
        return 0

--- memory_view: here
data = bytearray(4)
def f(x):
    if x > 5:
        memoryview(data)[0] = (data[0] + 1) % 256
    return data[0]

--- struct_into: here
import struct
data = bytearray(8)
def f(x):
    if x > 5:
        struct.pack_into("q", data, 0, struct.unpack("q", data)[0] + 1)
    return data[0]

--- array_global: here
import array
data = array.array("q", [0])
def f(x):
    if x > 5:
        data[0] += 1
    return data[0]

--- weak_dictionary: here
import weakref
class Thing:
    pass
kept, found = [], weakref.WeakValueDictionary()
def f(x):
    if x > 5:
        thing = Thing()
        kept.append(thing)
        found[x] = thing
    return len(found)

--- iterator_sum: here
import itertools
numbers = iter(range(1000))
def f(x):
    return sum(itertools.islice(numbers, 3)) if x > 5 else 0

--- iterator_for: here
numbers = iter(range(1000))
def f(x):
    if x > 5:
        for n in numbers:
            return n
    return 0

--- iterator_unpacked: here
import itertools
numbers = iter(range(1000))
def f(x):
    if x > 5:
        a, b = itertools.islice(numbers, 2)
        return a + b
    return 0

--- iterator_zip: here
numbers = iter(range(1000))
def f(x):
    return next(zip(numbers, [1])) if x > 5 else 0

--- iterator_in: here
numbers = iter(range(1000))
def f(x):
    return 2 * x in numbers if x > 5 else 0

--- counter: here
import itertools
numbers = itertools.count()
def f(x):
    return next(numbers) if x > 5 else 0

--- generator_global: here
def numbers():
    n = 0
    while True:
        n += 1
        yield n
made = numbers()
def f(x):
    return next(made) if x > 5 else 0

--- argument_shuffled: here
import random
def items():
    return [[3, 2, i] for i in range(12)]
def f(row):
    if row[2] > 5:
        random.Random(1).shuffle(row)
    return row[0]

--- argument_nested: here
def items():
    return [[[i]] for i in range(12)]
def f(rows):
    if rows[0][0] > 5:
        rows[0].append(1)
    return len(rows[0])

--- argument_in_dict: here
def items():
    return [{"x": i} for i in range(12)]
def f(row):
    if row["x"] > 5:
        row.update(seen=True)
    return len(row)

--- argument_object: here
class Row:
    def __init__(self, x):
        self.x = x
def items():
    return [Row(i) for i in range(12)]
def f(row):
    if row.x > 5:
        row.seen = True
    return row.x

--- argument_objects_method: here
class Account:
    def __init__(self, x):
        self.x = self.balance = x
    def pay(self, amount):
        if self.x > 5:
            self.balance -= amount
        return self.balance
def items():
    return [Account(i) for i in range(12)]
def f(account):
    return account.pay(3)

--- argument_shared: this process
def items():
    rows = [1]
    return [rows] * 12
def f(rows):
    return rows

--- argument_returned: this process
def items():
    return [[i] for i in range(12)]
def f(row):
    return row if row[0] > 5 else row[0]

--- argument_in_a_tuple: this process
def items():
    return [[i] for i in range(12)]
def f(row):
    return (row, 1) if row[0] > 5 else 0

--- global_returned: this process
rows = [1, 2, 3]
def f(x):
    return rows if x > 5 else x

--- object_returned: this process
class Nothing:
    pass
nothing = Nothing()
def f(x):
    return nothing if x > 5 else x

--- input_reuses_one_list:
def items():
    row = [0]
    for x in range(12):
        row[0] = x
        yield row
def f(row):
    return row[0] + 1

--- input_reuses_what_is_in_a_tuple:
def items():
    row = []
    for x in range(12):
        row.append(x)
        yield x, row
def f(pair):
    return pair[0], len(pair[1])

--- input_gives_itself:
class Reader:
    n = 0
    def __iter__(self):
        return self
    def __next__(self):
        if self.n == 12:
            raise StopIteration
        self.n += 1
        return self
items = Reader
def f(reader):
    return reader.n

--- method_of_a_list: here
log = []
f = log.append

--- method_of_a_dict: here
stock = {n: str(n) for n in range(24)}
f = stock.pop
def items():
    return [min(stock) + n for n in range(12)]

--- partial_with_a_store: here
import functools
def put(x, *, store):
    if x > 5:
        store[x] = x
    return len(store)
f = functools.partial(put, store={})

--- part_of_an_argument: this process
import operator
def items():
    return [[[i]] for i in range(12)]
f = operator.itemgetter(0)

--- part_of_an_argument_by_code: this process
def items():
    return [[[i]] for i in range(12)]
def f(rows):
    return rows[0] if rows[0][0] > 5 else None

--- iterator_argument: here
def items():
    return [iter(range(i, i + 5)) for i in range(12)]
def f(numbers):
    return next(numbers)
""")
