"""Functions whose objects do something where code does not call it by name."""

from unchanged import cases_of

__all__ = ["CASES"]

CASES = cases_of("""
--- getitem: here
class Index:
    n = 0
    def __getitem__(self, i):
        self.n += 1
        return self.n
index = Index()
def f(x):
    return index[x] if x > 5 else 0

--- add: here
class Index:
    n = 0
    def __add__(self, i):
        self.n += 1
        return self.n
index = Index()
def f(x):
    return index + x if x > 5 else 0

--- added_to: here
class Index:
    n = 0
    def __radd__(self, i):
        self.n += 1
        return self.n
index = Index()
def f(x):
    return x + index if x > 5 else 0

--- as_text: here
class Index:
    n = 0
    def __str__(self):
        self.n += 1
        return str(self.n)
index = Index()
def f(x):
    return f"{index}" if x > 5 else ""

--- by_format: here
class Index:
    n = 0
    def __format__(self, spec):
        self.n += 1
        return str(self.n)
index = Index()
def f(x):
    return "{}".format(index) if x > 5 else ""

--- as_condition: here
class Index:
    n = 0
    def __bool__(self):
        self.n += 1
        return self.n % 2 == 0
index = Index()
def f(x):
    return 1 if x > 5 and index else 0

--- compared: here
class Index:
    n = 0
    def __eq__(self, other):
        self.n += 1
        return self.n % 2 == 0
index = Index()
def f(x):
    return x > 5 and index == x

--- contains: here
class Index:
    n = 0
    def __contains__(self, x):
        self.n += 1
        return self.n % 2 == 0
index = Index()
def f(x):
    return x > 5 and x in index

--- iterated: here
class Index:
    n = 0
    def __iter__(self):
        self.n += 1
        return iter([self.n])
index = Index()
def f(x):
    return [*index] if x > 5 else []

--- length: here
class Index:
    n = 0
    def __len__(self):
        self.n += 1
        return self.n
index = Index()
def f(x):
    return len(index) if x > 5 else 0

--- called: here
class Index:
    n = 0
    def __call__(self, x):
        self.n += 1
        return self.n
index = Index()
def f(x):
    return index(x) if x > 5 else 0

--- property_read: here
class Index:
    n = 0
    @property
    def value(self):
        self.n += 1
        return self.n
index = Index()
def f(x):
    return index.value if x > 5 else 0

--- getattr_dunder: here
class Index:
    def __init__(self):
        self.__dict__["n"] = 0
    def __getattr__(self, name):
        self.__dict__["n"] += 1
        return self.__dict__["n"]
index = Index()
def f(x):
    return index.magic if x > 5 else 0

--- descriptor: here
class Counting:
    n = 0
    def __get__(self, owner, kind=None):
        self.n += 1
        return self.n
class Index:
    value = Counting()
index = Index()
def f(x):
    return index.value if x > 5 else 0

--- metaclass: here
class Meta(type):
    n = 0
    def __call__(cls, *args):
        Meta.n += 1
        return Meta.n
class Index(metaclass=Meta):
    pass
def f(x):
    return Index() if x > 5 else 0

--- singleton: here
class Only:
    made = None
    n = 0
    def __new__(cls):
        if cls.made is None:
            cls.made = object.__new__(cls)
        cls.made.n += 1
        return cls.made
def f(x):
    return Only().n if x > 5 else 0

--- registers_itself: here
made = []
class Thing:
    def __init__(self):
        made.append(self)
def f(x):
    if x > 5:
        Thing()
    return len(made)

--- init_subclass: here
made = []
class Base:
    def __init_subclass__(cls):
        made.append(cls.__name__)
def f(x):
    if x > 5:
        class Derived(Base):
            pass
    return len(made)

--- finalizer: here
log = []
class Thing:
    def __del__(self):
        log.append(1)
def f(x):
    if x > 5:
        Thing()
    return len(log)

--- super_method: here
class Base:
    n = 0
    def go(self):
        Base.n += 1
        return Base.n
class Derived(Base):
    def go(self):
        return super().go()
thing = Derived()
def f(x):
    return thing.go() if x > 5 else 0

--- made_and_used: here
done = []
class Job:
    def __init__(self, x):
        self.x = x
    def run(self):
        done.append(self.x)
        return len(done)
def f(x):
    return Job(x).run() if x > 5 else 0

--- class_count: here
class Job:
    made = 0
    def __init__(self):
        type(self).made += 1
def f(x):
    if x > 5:
        Job()
    return Job.made

--- class_method: here
class Registry:
    names = []
    @classmethod
    def add(cls, name):
        cls.names.append(name)
        return len(cls.names)
def f(x):
    return Registry.add(x) if x > 5 else 0

--- service: here
class Service:
    def __init__(self):
        self.done = 0
    def handle(self, x):
        if x > 5:
            self.done += 1
        return self.done
f = Service().handle

--- cached_property: anywhere
import functools
class Row:
    def __init__(self, x):
        self.x = x
    @functools.cached_property
    def double(self):
        return 2 * self.x
def f(x):
    return Row(x).double

--- dataclass_built: anywhere
import dataclasses
@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: int
def f(x):
    point = Point(x, 2 * x)
    return dataclasses.replace(point, y=0) if x > 5 else point

--- named_tuple: anywhere
from typing import NamedTuple
class Point(NamedTuple):
    x: int
    y: int = 0
def f(x):
    return Point(x)._replace(y=x)

--- local_class: anywhere
def f(x):
    class Stack:
        def __init__(self):
            self.rows = []
        def push(self, row):
            self.rows.append(row)
            return len(self.rows)
    stack = Stack()
    return [stack.push(n) for n in range(x)]

--- enum_returned: anywhere
import enum
class Color(enum.Enum):
    RED = 1
    BLUE = 2
def f(x):
    return Color.RED if x > 5 else Color.BLUE

--- own_exception: anywhere
class Oops(ValueError):
    pass
def f(x):
    if x > 5:
        raise Oops(x, "text")
    return x

--- exception_of_two_arguments: anywhere
class Refused(Exception):
    def __init__(self, host, port):
        super().__init__(f"{host}:{port}")
        self.host, self.port = host, port
def f(x):
    if x > 5:
        raise Refused("host", x)
    return x

--- state_in_pickling:
n = [0]
class Thing:
    def __reduce__(self):
        n[0] += 1
        return Thing, ()
def f(x):
    return n[0]

--- method_of_what_is_in_an_argument: here
class Step:
    log = []
    def run(self, x):
        if x > 5:
            self.after(x)
        return len(self.log)
    def after(self, x):
        self.log.append(x)
def items():
    step = Step()
    return [(step, i) for i in range(12)]
def f(pair):
    return pair[0].run(pair[1])

--- argument_counts_reads: here
class Row:
    reads = 0
    def __init__(self, x):
        self.x = x
    @property
    def value(self):
        if self.x > 5:
            Row.reads += 1
        return self.x, Row.reads
def items():
    return [Row(i) for i in range(12)]
def f(row):
    return row.value

--- argument_counts_additions: here
class Money:
    added = 0
    def __init__(self, x):
        self.x = x
    def __add__(self, other):
        if self.x > 5:
            Money.added += 1
        return self.x + other, Money.added
def items():
    return [Money(i) for i in range(12)]
def f(money):
    return money + 1

--- argument_counts_comparisons: here
class Money:
    compared = 0
    def __init__(self, x):
        self.x = x
    def __lt__(self, other):
        if self.x > 5:
            Money.compared += 1
        return self.x < other.x
def items():
    return [[Money(i), Money(i - 1)] for i in range(12)]
def f(pair):
    return min(pair).x, Money.compared

--- lazy_property: here
class Lazy:
    def __init__(self, x):
        self.x, self.found = x, None
    @property
    def double(self):
        if self.found is None and self.x > 5:
            self.found = 2 * self.x
        return self.found
rows = [Lazy(i) for i in range(12)]
def items():
    return rows
def f(row):
    return row.double

--- template_method: here
import abc
class Step(abc.ABC):
    log = []
    def run(self, x):
        self.after(x)
        return len(self.log)
    def after(self, x):
        pass
class Logged(Step):
    def after(self, x):
        if x > 5:
            self.log.append(x)
f = Logged().run

--- registers_in_its_class: here
class Base:
    known = {}
    def __init__(self, n):
        if n > 5:
            type(self).known[n] = self
class Thing(Base):
    @classmethod
    def make(cls, n):
        cls(n)
        return len(cls.known)
f = Thing.make

--- getattr_of_options: | | m.options.depth = 4
class Options:
    def __init__(self):
        self.found = {}
    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return self.found.get(name)
options = Options()
class Other:
    def __init__(self, call):
        self.value = call()
def set_depth(x):
    options.found["depth"] = x
def f(x):
    return (options.depth or 1) * x
""")
