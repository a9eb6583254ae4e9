"""Functions that ask where they are, use libraries with a state or read what is set; plain ones."""

from unchanged import cases_of

__all__ = ["CASES"]

CASES = cases_of("""
--- process_number: here
import os
def f(x):
    return os.getpid() if x > 5 else x

--- thread_name: this thread
import threading
def f(x):
    return threading.current_thread() is threading.main_thread() if x > 5 else x

--- thread_number: this thread
from threading import get_ident as who, main_thread
def f(x):
    return who() == main_thread().ident if x > 5 else x

--- thread_data: this thread
import threading
data = threading.local()
def f(x):
    if x > 5:
        data.n = getattr(data, "n", 0) + 1
    return getattr(data, "n", 0)

--- frame_globals: here
import sys
def f(x):
    if x > 5:
        here = sys._getframe().f_globals
        here["n"] = here.get("n", 0) + 1
    return globals().get("n")

--- context_variable: this process | | m.variable.set(7)
import contextvars
variable = contextvars.ContextVar("variable", default=0)
def f(x):
    return variable.get() if x > 5 else x

--- environment_read: | | import os; os.environ["UNCHANGED"] = "later"
import os
def f(x):
    return os.environ.get("UNCHANGED") if x > 5 else x

--- environment_written: here
import os
def f(x):
    if x > 5:
        os.environ["UNCHANGED"] = str(x)
    return os.environ.get("UNCHANGED")

--- directory_changed: here
import os
def f(x):
    if x > 5:
        os.chdir("/" if x % 2 else "/tmp")
    return os.getcwd() if x > 5 else x

--- directory_read: | | import os; os.chdir("/")
import os
def f(x):
    return os.path.abspath("name") if x > 5 else x

--- path_appended: here
import sys
def f(x):
    if x > 5:
        sys.path.append(str(x))
        return len(sys.path) and sys.path.pop()
    return x

--- settings_changed: | | m.settings["k"] = 5
settings = {"k": 1}
def f(x):
    return settings["k"] * x if x > 5 else x

--- number_changed: | | m.k = 5
k = 1
def f(x):
    return k * x if x > 5 else x

--- class_data_changed: | | m.Settings.k = 5
class Settings:
    k = 1
def f(x):
    return Settings.k * x if x > 5 else x

--- other_module_changed: | | m.json.unchanged_k = 5
import json
json.__dict__.pop("unchanged_k", None)
def f(x):
    return getattr(json, "unchanged_k", 0) * x if x > 5 else x

--- function_replaced: | | m.helper = lambda x: -x
def helper(x):
    return x
def f(x):
    return helper(x) if x > 5 else x

--- function_replaced_before: | m.helper = lambda x: -x
def helper(x):
    return x
def f(x):
    return helper(x) if x > 5 else x

--- function_mocked: | import unittest.mock; m.helper = unittest.mock.Mock(return_value=7)
def helper(x):
    return x
def f(x):
    return helper(x) if x > 5 else x

--- method_replaced: | m.Client.get = lambda self, x: -x
class Client:
    def get(self, x):
        return x
client = Client()
def f(x):
    return client.get(x) if x > 5 else x

--- method_replaced_between: | | m.Client.get = lambda self, x: -x
class Client:
    def get(self, x):
        return x
def f(x):
    return Client().get(x) if x > 5 else x

--- class_replaced: | | m.Client = m.Fake
class Client:
    def get(self, x):
        return x
class Fake:
    def get(self, x):
        return -x
def f(x):
    return Client().get(x) if x > 5 else x

--- library_function_replaced: | import json; json.dumps = lambda x, real=json.dumps: str(x)
import json
def f(x):
    return json.dumps([x, None]) if x > 5 else x

--- default_replaced: | | m.f.__defaults__ = (5,)
def f(x, k=1):
    return k * x if x > 5 else x

--- closure_changed: | | m.set_to(5)
def make():
    k = 1
    def call(x):
        return k * x if x > 5 else x
    def set_to(value):
        nonlocal k
        k = value
    return call, set_to
f, set_to = make()

--- global_added_later: | m.extra = 3 | m.extra = 4
def f(x):
    return globals().get("extra", 0) * x if x > 5 else x

--- tuned_by_the_script: | m.options.update(k=3) | m.options.update(k=4)
options = {}
def f(x):
    return options.get("k", 1) * x if x > 5 else x

--- recursion_limit: | import sys; sys.setrecursionlimit(sys.getrecursionlimit() + 50)
import sys
def f(x):
    return sys.getrecursionlimit() if x > 5 else x

--- written_by_another: | | m.configure(5)
k = 1
def configure(value):
    global k
    k = value
def f(x):
    return k * x if x > 5 else x

--- random_number: here
import random
def f(x):
    return random.random() if x > 5 else x

--- own_generator: here
import random
generator = random.Random(3)
def f(x):
    return generator.random() if x > 5 else x

--- seeded_within: anywhere
import random
def f(x):
    return random.Random(x).random()

--- decimal_context: | | import decimal; decimal.getcontext().prec = 5
import decimal
def f(x):
    return decimal.Decimal(1) / 3 if x > 5 else x

--- decimal_precision_set: here
import decimal
def f(x):
    if x > 5:
        decimal.getcontext().prec = x
    return str(decimal.Decimal(1) / 3)

--- file_read_on: here
file = open(__file__)
def f(x):
    return file.readline() if x > 5 else x
def items():
    yield from range(12)

--- print_to_text: here
import io
text = io.StringIO()
def f(x):
    if x > 5:
        print("a", file=text)
    return text.tell()

--- log_handler: here
import logging
log = []
class Keeping(logging.Handler):
    def emit(self, record):
        log.append(record.getMessage())
logger = logging.Logger("unchanged")
logger.addHandler(Keeping())
def f(x):
    if x > 5:
        logger.warning("x is %s", x)
    return len(log)

--- sqlite: this thread
import sqlite3
rows = sqlite3.connect(":memory:")
rows.execute("create table t(x)")
def f(x):
    if x > 5:
        rows.execute("insert into t values(1)")
    return rows.execute("select count(*) from t").fetchone()[0]

--- numpy_out: here
import numpy as np
data = np.zeros(3)
def f(x):
    if x > 5:
        np.add(data, 1, out=data)
    return float(data[0])

--- numpy_copyto: here
import numpy as np
data = np.zeros(3)
def f(x):
    if x > 5:
        np.copyto(data, data + 1)
    return float(data[0])

--- numpy_put: here
import numpy as np
data = np.zeros(3)
def f(x):
    if x > 5:
        np.put(data, [0], data[0] + 1)
    return float(data[0])

--- numpy_fill: here
import numpy as np
data = np.zeros(3)
def f(x):
    if x > 5:
        data.fill(data[0] + 1)
    return float(data[0])

--- numpy_in_place: here
import numpy as np
data = np.zeros(3)
def f(x):
    global data
    if x > 5:
        data += x
    return float(data[0])

--- numpy_argument: here
import numpy as np
def items():
    return [np.full(3, i) for i in range(12)]
def f(row):
    if row[0] > 5:
        row *= 2
    return int(row[0])

--- numpy_view: this process
import numpy as np
def items():
    return [np.full(3, i) for i in range(12)]
def f(row):
    return row[1:] if row[0] > 5 else 0

--- numpy_random: here
import numpy as np
def f(x):
    return float(np.random.rand()) if x > 5 else x

--- numpy_generator: here
import numpy as np
generator = np.random.default_rng(1)
def f(x):
    return float(generator.random()) if x > 5 else x

--- numpy_plain: anywhere
import numpy as np
def f(x):
    table = np.arange(9.0).reshape(3, 3) * x
    table[0] = 1
    return float(np.linalg.norm(table))

--- ctypes_value: here
import ctypes
number = ctypes.c_int(0)
def f(x):
    if x > 5:
        number.value += 1
    return number.value

--- warnings_shown:
import warnings
def f(x):
    if x > 5:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.warn("text")
    return x

--- lru_cache_identity: this process
import functools
@functools.lru_cache
def made(x):
    return [x]
def f(x):
    return made(3) if x > 5 else x

--- plain: anywhere
def f(x):
    return x * x if x > 5 else -x

--- constant_tuple: anywhere
table = (1, 2, 3)
def f(x):
    return table[x % 3] if x > 5 else x

--- constant_list: anywhere
table = [1, 2, 3]
def f(x):
    return table[x % 3] if x > 5 else x

--- local_list: anywhere
def f(x):
    found = []
    for n in range(x):
        found.append(n * n)
    found.sort(reverse=True)
    return found

--- local_memo: anywhere
def f(x):
    memo = {}
    def fib(n):
        if n not in memo:
            memo[n] = n if n < 2 else fib(n - 1) + fib(n - 2)
        return memo[n]
    return fib(x)

--- local_nonlocal: anywhere
def f(x):
    n = 0
    def count():
        nonlocal n
        n += 1
    for _ in range(x):
        count()
    return n

--- text_and_json: anywhere
import json, re, hashlib, zlib
def f(x):
    text = json.dumps({"x": [x] * 3, "y": None})
    found = re.findall(r"\\d+", text)
    return hashlib.sha256(zlib.compress(text.encode())).hexdigest(), found

--- argument_read: anywhere
def items():
    return [{"name": str(i), "sizes": [i, 2 * i]} for i in range(12)]
def f(row):
    return {"name": row["name"].upper(), "total": sum(row["sizes"])}

--- file_written_and_read: anywhere
import os, tempfile
def f(x):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "data")
        with open(path, "w") as file:
            file.write(str(x))
        with open(path) as file:
            return file.read()

--- class_data_behind_an_object: | | m.Client.base = "b"
class Client:
    base = "a"
    def url(self, x):
        return self.base + str(x)
client = Client()
def f(x):
    return client.url(x) if x > 5 else x

--- code_replaced: | | m.f.__code__ = (lambda x: -x).__code__
def f(x):
    return x * x

--- defined_again: | | exec("def f(x): return -x", vars(m))
def f(x):
    return x * x

--- helper_defined_again: | | exec("def helper(x): return -x", vars(m))
def helper(x):
    return x * x
def f(x):
    return helper(x)

--- printed_elsewhere: | import io, sys; m.text = sys.stdout = io.StringIO()
def f(x):
    if x == 7:
        print("seven")
    return x

--- deep_recursion: | import sys; sys.setrecursionlimit(4000)
def deep(n):
    return 0 if n == 0 else 1 + deep(n - 1)
def f(x):
    return deep(2500) if x > 5 else x

--- long_numbers: | import sys; sys.set_int_max_str_digits(0)
def f(x):
    return len(str(10**5000)) if x > 5 else x

--- map_within:
import plait
def cell(pair):
    return pair[0] * pair[1]
def f(x):
    return list(plait.map(cell, [(x, n) for n in range(8)]))

--- submit_within:
import plait
def cell(a, b):
    return a * b
def f(x):
    return [plait.submit(cell, x, n, on="auto").result(60) for n in range(8)]
""")
