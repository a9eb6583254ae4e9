"""Effects that no first call shows are seen in the code; and what has none may go anywhere.

Each function of the first kind does something only where `x > 20`, and is never called: the line
that does it ends in `# here`.
"""

import sys
import textwrap
import types

import pytest

from plait._auto.records import record_of

HEAD = """
import abc, asyncio, ast, bisect, collections, concurrent.futures, contextlib
import csv, dataclasses, enum, functools, hashlib, heapq, html.parser, io
import itertools, json, logging, math, operator, os, pathlib, random, re
import struct, sys, threading, time, typing, zlib
LOG = []
TABLE = {}
"""

# What is done, by name; `f` is the function.
KEPT = {
    # -- objects of the user's classes that the function makes
    "fresh_method": """
        class Worker:
            def go(self, x):
                LOG.append(x)  # here
        def f(x):
            w = Worker()
            if x > 20:
                w.go(x)
    """,
    "fresh_method_by_a_method": """
        class Worker:
            def go(self, x):
                return self.step(x)
            def step(self, x):
                LOG.append(x)  # here
        def f(x):
            if x > 20:
                Worker().go(x)
    """,
    "fresh_init": """
        class Worker:
            def __init__(self, x):
                self.x = x
                if x > 20:
                    self.register()
            def register(self):
                TABLE[self.x] = self  # here
        def f(x):
            return Worker(x).x
    """,
    "fresh_property": """
        class Worker:
            @property
            def total(self):
                global count
                count = 1  # here
                return 1
        def f(x):
            w = Worker()
            return w.total if x > 20 else 0
    """,
    "fresh_enter": """
        class Guard:
            def __enter__(self):
                return self
            def __exit__(self, *args):
                LOG.append(1)  # here
        def f(x):
            if x > 20:
                with Guard():
                    return x
    """,
    "fresh_call": """
        class Adder:
            def __call__(self, x):
                LOG.append(x)  # here
        def f(x):
            add = Adder()
            if x > 20:
                add(x)
    """,
    "fresh_del": """
        class Adder:
            def __del__(self):
                LOG.append(1)  # here
        def f(x):
            if x > 20:
                Adder()
    """,
    "fresh_in_a_list": """
        class Worker:
            def go(self, x):
                LOG.append(x)  # here
        def f(x):
            workers = [Worker() for _ in range(3)]
            for w in workers:
                if x > 20:
                    w.go(x)
    """,
    "fresh_from_a_function": """
        class Worker:
            def go(self, x):
                LOG.append(x)  # here
        def make():
            return Worker()
        def f(x):
            if x > 20:
                make().go(x)
    """,
    "fresh_in_an_attribute": """
        class Inner:
            def go(self, x):
                LOG.append(x)  # here
        class Outer:
            def __init__(self):
                self.inner = Inner()
            def go(self, x):
                self.inner.go(x)
        def f(x):
            o = Outer()
            if x > 20:
                o.go(x)
    """,
    "fresh_holds_a_global": """
        class Sink:
            def __init__(self, rows):
                self.rows = rows
            def put(self, x):
                self.rows.append(x)  # here
        def f(x):
            sink = Sink(LOG)
            if x > 20:
                sink.put(x)
    """,
    "fresh_getter": """
        class Sink:
            def rows(self):
                return LOG
        def f(x):
            if x > 20:
                Sink().rows().append(x)  # here
    """,
    "singleton": """
        class Only:
            made = None
            def __new__(cls):
                if cls.made is None:
                    cls.made = object.__new__(cls)  # here
                return cls.made
        def f(x):
            if x > 20:
                Only()
    """,
    "template_method": """
        class Names(ast.NodeVisitor):
            def visit_Name(self, node):
                LOG.append(node.id)  # here
        def f(x):
            if x > 20:
                Names().visit(ast.parse("a"))
    """,
    "thread_subclass": """
        class Worker(threading.Thread):
            def run(self):
                LOG.append(1)  # here
        def f(x):
            if x > 20:
                w = Worker()
                w.start()
    """,
    "local_class": """
        def f(x):
            class Worker:
                def go(self, x):
                    LOG.append(x)  # here
            if x > 20:
                Worker().go(x)
    """,
    "local_class_property": """
        def f(x):
            class Worker:
                @property
                def go(self):
                    LOG.append(1)  # here
            if x > 20:
                return Worker().go
    """,
    "class_factory": """
        def make():
            class Worker:
                def go(self, x):
                    LOG.append(x)  # here
            return Worker
        def f(x):
            if x > 20:
                make()().go(x)
    """,
    "dataclass_post_init": """
        @dataclasses.dataclass
        class Row:
            x: int
            def __post_init__(self):
                LOG.append(self.x)  # here
        def f(x):
            return Row(x) if x > 20 else None
    """,
    "dataclass_factory": """
        def factory():
            LOG.append(1)  # here
            return 1
        @dataclasses.dataclass
        class Row:
            x: int
            y: int = dataclasses.field(default_factory=factory)
        def f(x):
            return Row(x) if x > 20 else None
    """,
    "local_init_subclass": """
        class Base:
            def __init_subclass__(cls):
                LOG.append(cls)  # here
        def f(x):
            if x > 20:
                class Derived(Base):
                    pass
    """,
    "local_set_name": """
        class Field:
            def __set_name__(self, owner, name):
                LOG.append(name)  # here
        def f(x):
            if x > 20:
                class Row:
                    a = Field()
    """,
    "local_metaclass": """
        class Meta(type):
            def __new__(mcs, name, bases, space):
                LOG.append(name)  # here
                return super().__new__(mcs, name, bases, space)
        def f(x):
            if x > 20:
                class Row(metaclass=Meta):
                    pass
    """,
    # -- super()
    "super_known": """
        class A:
            def go(self, x):
                LOG.append(x)  # here
        class B(A):
            def go(self, x):
                if x > 20:
                    return super().go(x)
        b = B()
        def f(x):
            return b.go(x)
    """,
    "super_fresh": """
        class A:
            n = 0
            def go(self, x):
                A.n += 1  # here
        class B(A):
            def go(self, x):
                if x > 20:
                    return super().go(x)
        def f(x):
            return B().go(x)
    """,
    "super_of_self": """
        class A:
            n = 0
            def go(self, x):
                self.n += 1  # here
        class B(A):
            def go(self, x):
                if x > 20:
                    return super(B, self).go(x)
        b = B()
        def f(x):
            return b.go(x)
    """,
    "super_sibling": """
        class A:
            def go(self, x):
                pass
        class B(A):
            def go(self, x):
                return super().go(x)
        class C(A):
            def go(self, x):
                LOG.append(x)  # here
        class D(B, C):
            pass
        def f(x):
            if x > 20:
                D().go(x)
    """,
    "super_init": """
        class A:
            def __init__(self, x):
                LOG.append(x)  # here
        class B(A):
            def __init__(self, x):
                super().__init__(x)
        def f(x):
            if x > 20:
                B(x)
    """,
    "super_class_method": """
        class A:
            n = 0
            @classmethod
            def go(cls, x):
                cls.n += x  # here
        class B(A):
            @classmethod
            def go(cls, x):
                return super().go(x)
        def f(x):
            if x > 20:
                B.go(x)
    """,
    # -- implicit calls
    "property": """
        class I:
            c = 0
            @property
            def p(self):
                self.c += 1  # here
                return self.c
        i = I()
        def f(x):
            return i.p if x > 20 else 0
    """,
    "property_set": """
        class I:
            @property
            def p(self):
                return 1
            @p.setter
            def p(self, value):
                LOG.append(value)  # here
        def f(x):
            i = I()
            if x > 20:
                i.p = x
    """,
    "descriptor": """
        class D:
            k = 0
            def __get__(self, o, t=None):
                self.k += 1  # here
                return self.k
        class I:
            d = D()
        i = I()
        def f(x):
            return i.d if x > 20 else 0
    """,
    "descriptor_of_a_class": """
        class D:
            k = 0
            def __get__(self, o, t=None):
                self.k += 1  # here
                return self.k
        class I:
            d = D()
        def f(x):
            return I.d if x > 20 else 0
    """,
    "descriptor_set": """
        class D:
            def __set__(self, o, value):
                LOG.append(value)  # here
        class I:
            d = D()
        def f(x):
            if x > 20:
                I().d = x
    """,
    "getattr_hook": """
        class I:
            def __getattr__(self, name):
                LOG.append(name)  # here
                return 1
        i = I()
        def f(x):
            return i.magic if x > 20 else 0
    """,
    "getattr_hook_of_itself": """
        class I:
            def __init__(self):
                self.options = {}
            def __getattr__(self, name):
                LOG.append(name)  # here
                return self.options.get(name)
        i = I()
        def f(x):
            return i.magic if x > 20 else 0
    """,
    "getattr_hook_called": """
        class I:
            def __getattr__(self, name):
                LOG.append(name)  # here
                return len
        i = I()
        def f(x):
            return i.magic(x) if x > 20 else 0
    """,
    "getattribute_hook": """
        class I:
            y = 1
            def __getattribute__(self, name):
                LOG.append(name)  # here
                return 1
        i = I()
        def f(x):
            return i.y if x > 20 else 0
    """,
    "setattr_hook": """
        class I:
            def __setattr__(self, name, value):
                LOG.append(name)  # here
        def f(x):
            i = I()
            if x > 20:
                i.y = x
    """,
    **{
        f"implicit_{name}": f"""
        class I:
            c = 0
            def __{name}__(self, *args):
                self.c += 1  # here
                return {value}
        i = I()
        def f(x):
            return {use} if x > 20 else 0
        """
        for name, value, use in [
            ("getitem", "1", "i[x]"),
            ("len", "1", "len(i)"),
            ("iter", "iter([])", "[*i]"),
            ("eq", "True", "i == x"),
            ("hash", "1", "{i: 1}"),
            ("bool", "True", "(1 if i else 2)"),
            ("str", "''", "str(i)"),
            ("repr", "''", "'%r' % (i,)"),
            ("format", "''", "f'{i}'"),
            ("add", "1", "i + x"),
            ("radd", "1", "x + i"),
            ("neg", "1", "-i"),
            ("contains", "True", "x in i"),
            ("lt", "True", "sorted([i, i])"),
            ("index", "1", "[1, 2][i]"),
            ("call", "1", "i(x)"),
        ]
    },
    "implicit_in_a_list": """
        class I:
            c = 0
            def __eq__(self, other):
                self.c += 1  # here
                return True
        rows = [I()]
        def f(x):
            return rows == [x] if x > 20 else 0
    """,
    "implicit_fresh": """
        class I:
            def __lt__(self, other):
                LOG.append(1)  # here
                return True
        def f(x):
            return sorted([I(), I()]) if x > 20 else 0
    """,
    "missing": """
        class T(dict):
            def __missing__(self, key):
                LOG.append(key)  # here
                return 1
        def f(x):
            t = T()
            return t[x] if x > 20 else 0
    """,
    "metaclass_call": """
        class M(type):
            n = 0
            def __call__(cls, *args):
                M.n += 1  # here
                return M.n
        class I(metaclass=M):
            pass
        def f(x):
            return I() if x > 20 else 0
    """,
    "metaclass_property": """
        class M(type):
            @property
            def n(cls):
                LOG.append(1)  # here
        class I(metaclass=M):
            pass
        def f(x):
            return I.n if x > 20 else 0
    """,
    "metaclass_getitem": """
        class M(type):
            def __getitem__(cls, key):
                LOG.append(1)  # here
        class I(metaclass=M):
            pass
        def f(x):
            return I[x] if x > 20 else 0
    """,
    "class_getitem": """
        class I:
            def __class_getitem__(cls, key):
                LOG.append(1)  # here
        def f(x):
            return I[x] if x > 20 else 0
    """,
    "cached_property": """
        class I:
            @functools.cached_property
            def n(self):
                LOG.append(1)  # here
        i = I()
        def f(x):
            return i.n if x > 20 else 0
    """,
    "method_of_what_is_in_a_list": """
        class Shape:
            def area(self):
                self.seen = True  # here
        shapes = [Shape()]
        def f(x):
            for s in shapes:
                if x > 20:
                    s.area()
    """,
    "method_of_what_will_be_in_a_list": """
        class Shape:
            def area(self):
                self.seen = True  # here
        shapes = []
        def f(x):
            for s in shapes:
                if x > 20:
                    s.area()
    """,
    "method_of_what_is_in_an_object": """
        class Shape:
            def area(self):
                self.seen = True  # here
        class Scene:
            def __init__(self):
                self.shape = Shape()
        scene = Scene()
        def f(x):
            if x > 20:
                scene.shape.area()
    """,
    "self_method": """
        class Counter:
            n = 0
            def go(self, x):
                if x > 20:
                    self.step()
            def step(self):
                self.n += 1  # here
        counter = Counter()
        def f(x):
            counter.go(x)
    """,
    # -- callables in attributes and containers
    "callback_in_an_attribute": """
        def a(x):
            LOG.append(x)  # here
        class NS:
            pass
        ns = NS()
        ns.a = a
        def f(x):
            return ns.a(x) if x > 20 else 0
    """,
    "callback_of_a_fresh_object": """
        def a(x):
            LOG.append(x)  # here
        class NS:
            def __init__(self, a):
                self.a = a
            def go(self, x):
                return self.a(x)
        def f(x):
            return NS(a).go(x) if x > 20 else 0
    """,
    "callback_in_a_namespace": """
        import types
        def a(x):
            LOG.append(x)  # here
        ns = types.SimpleNamespace(a=a)
        def f(x):
            return ns.a(x) if x > 20 else 0
    """,
    "callback_in_a_local_table": """
        def a(x):
            LOG.append(x)  # here
        def f(x):
            table = {"a": a}
            return table["a"](x) if x > 20 else 0
    """,
    "callback_in_a_table": """
        def a(x):
            LOG.append(x)
        T = {"a": a}
        def f(x):
            return T["a"](x) if x > 20 else 0  # here
    """,
    # -- functions handed to code that is not read
    "map_append": """
        def f(x):
            if x > 20:
                list(map(LOG.append, [x]))  # here
    """,
    "partial_append": """
        def f(x):
            if x > 20:
                functools.partial(LOG.append, 1)()  # here
    """,
    "partial_of_a_function": """
        def put(rows, x):
            rows.append(x)  # here
        def f(x):
            p = functools.partial(put, LOG)
            if x > 20:
                p(x)
    """,
    "sorted_key": """
        class K:
            n = 0
            def key(self, v):
                self.n += 1  # here
        k = K()
        def f(x):
            if x > 20:
                return sorted([2, 1], key=k.key)
    """,
    "executor_submit": """
        def g(x):
            LOG.append(x)  # here
        def f(x):
            if x > 20:
                with concurrent.futures.ThreadPoolExecutor() as pool:
                    pool.submit(g, x).result()
    """,
    "thread_target": """
        def g():
            LOG.append(1)  # here
        def f(x):
            if x > 20:
                threading.Thread(target=g).start()
    """,
    "thread_target_method": """
        def f(x):
            if x > 20:
                t = threading.Thread(target=LOG.append, args=(x,))  # here
                t.start()
    """,
    "handed_to_a_user_function": """
        def apply(fn, xs):
            return list(map(fn, xs))
        def f(x):
            if x > 20:
                apply(LOG.append, [x])  # here
    """,
    "reduce": """
        def g(a, b):
            LOG.append(b)  # here
        def f(x):
            return functools.reduce(g, [1, 2, x]) if x > 20 else 0
    """,
    "map_a_class": """
        class Row:
            def __init__(self, x):
                LOG.append(x)  # here
        def f(x):
            return list(map(Row, [x])) if x > 20 else 0
    """,
    "method_caller": """
        call = operator.methodcaller("append", 1)
        def f(x):
            if x > 20:
                call(LOG)  # here
    """,
    "method_caller_made_here": """
        def f(x):
            if x > 20:
                operator.methodcaller("append", 1)(LOG)  # here
    """,
    "default_factory": """
        D = collections.defaultdict(list)
        def f(x):
            return D[x] if x > 20 else 0  # here
    """,
    "unbound_method": """
        def f(x):
            if x > 20:
                list.append(LOG, x)  # here
    """,
    # -- getattr and the like
    "setattr_of_a_module": """
        def f(x):
            if x > 20:
                setattr(os, "plait_test", x)  # here
    """,
    "setattr_of_this_module": """
        def f(x):
            if x > 20:
                setattr(sys.modules[__name__], "n", x)  # here
    """,
    "delattr_of_a_class": """
        class C:
            n = 1
        def f(x):
            if x > 20:
                delattr(C, "n")  # here
    """,
    "getattr_constant": """
        def f(x):
            if x > 20:
                getattr(LOG, "append")(x)  # here
    """,
    "getattr_of_a_class": """
        class C:
            rows = []
        def f(x):
            if x > 20:
                getattr(C, "rows").append(x)  # here
    """,
    "getattr_made_up": """
        class C:
            rows = []
        def f(x):
            if x > 20:
                getattr(C, "ro" + str(x))  # here
    """,
    "vars_of_a_module": """
        import this_module
        def f(x):
            if x > 20:
                vars(this_module)["n"] = x  # here
    """,
    "dict_of_a_module": """
        import this_module
        def f(x):
            if x > 20:
                this_module.__dict__["n"] = x  # here
    """,
    # -- data of classes
    "class_attribute": """
        class C:
            n = 0
        def f(x):
            if x > 20:
                C.n += 1  # here
    """,
    "class_by_type": """
        class C:
            n = 0
            def go(self):
                type(self).n += 1  # here
        def f(x):
            if x > 20:
                C().go()
    """,
    "class_by_dunder": """
        class C:
            n = 0
            def go(self):
                self.__class__.n = 1  # here
        def f(x):
            if x > 20:
                C().go()
    """,
    "class_method": """
        class C:
            n = 0
            @classmethod
            def go(cls):
                cls.n += 1  # here
        def f(x):
            if x > 20:
                C().go()
    """,
    "class_list": """
        class C:
            items = []
            def add(self, x):
                self.items.append(x)  # here
        def f(x):
            if x > 20:
                C().add(x)
    """,
    "class_list_outside": """
        class C:
            items = []
        def f(x):
            if x > 20:
                C().items.append(x)  # here
    """,
    "class_of_a_base": """
        class B:
            items = []
        class C(B):
            def add(self, x):
                self.items.append(x)  # here
        def f(x):
            if x > 20:
                C().add(x)
    """,
    "class_data_that_others_set": """
        class C:
            n = 0
            def __init__(self):
                type(self).n += 1  # here
        def f(x):
            return C.n
    """,
    "class_data_that_others_change": """
        class C:
            items = []
            def add(self, x):
                self.items.append(x)  # here
        def f(x):
            return len(C.items)
    """,
    # -- generators and coroutines
    "generator": """
        def g(x):
            LOG.append(x)  # here
            yield x
        def f(x):
            return sum(g(x)) if x > 20 else 0
    """,
    "generator_expression": """
        def f(x):
            return sum(LOG.append(1) or 1 for _ in range(x)) if x > 20 else 0  # here
    """,
    "coroutine": """
        async def g(x):
            LOG.append(x)  # here
        def f(x):
            return asyncio.run(g(x)) if x > 20 else 0
    """,
    "coroutine_awaits": """
        async def h(x):
            LOG.append(x)  # here
        async def g(x):
            await h(x)
        def f(x):
            return asyncio.run(g(x)) if x > 20 else 0
    """,
    "context_manager": """
        @contextlib.contextmanager
        def g():
            LOG.append(1)  # here
            yield
        def f(x):
            if x > 20:
                with g():
                    return x
    """,
    "async_with": """
        class A:
            async def __aenter__(self):
                LOG.append(1)  # here
            async def __aexit__(self, *args):
                pass
        async def g(x):
            async with A():
                return x
        def f(x):
            return asyncio.run(g(x)) if x > 20 else 0
    """,
    # -- statements
    "handler": """
        def f(x):
            try:
                return 1 / (x - 21)
            except ZeroDivisionError:
                LOG.append(x)  # here
    """,
    "finally": """
        def f(x):
            try:
                return 1 / (x - 21)
            finally:
                if x > 20:
                    LOG.append(x)  # here
    """,
    "match": """
        def f(x):
            match {"a": LOG, "x": x}:
                case {"a": rows, "x": n} if n > 20:
                    rows.append(n)  # here
    """,
    "match_sequence": """
        def f(x):
            match [LOG, x]:
                case [rows, *_] if x > 20:
                    rows.append(x)  # here
    """,
    "match_class": """
        class P:
            __match_args__ = ("rows",)
            def __init__(self, rows):
                self.rows = rows
        def f(x):
            match P(LOG):
                case P(rows) if x > 20:
                    rows.append(x)  # here
    """,
    "walrus": """
        def f(x):
            if x > 20 and (rows := LOG) is not None:
                rows.append(x)  # here
    """,
    "star_unpacking": """
        def f(x):
            first, *rest = [1, LOG, 2]
            if x > 20:
                rest[0].append(x)  # here
    """,
    "star_arguments": """
        def g(*args):
            args[0].append(1)  # here
        def f(x):
            if x > 20:
                g(*[LOG])
    """,
    "keyword_arguments": """
        def g(**kw):
            kw["rows"].append(1)  # here
        def f(x):
            if x > 20:
                g(**{"rows": LOG})
    """,
    "in_a_local_list": """
        def g(target):
            target[0].append(1)  # here
        def f(x):
            rows = [LOG]
            if x > 20:
                g(rows)
    """,
    "nested_functions": """
        def f(x):
            def g():
                def h():
                    LOG.append(x)  # here
                return h
            if x > 20:
                g()()
    """,
    "nested_global": """
        def f(x):
            def g():
                global n
                n = x  # here
            if x > 20:
                g()
    """,
    "closure_from_a_function": """
        def make(rows):
            def push(x):
                rows.append(x)  # here
            return push
        def f(x):
            push = make(LOG)
            if x > 20:
                push(x)
    """,
    "closure_with_an_argument": """
        def make():
            def push(rows, x):
                rows.append(x)  # here
            return push
        def f(x):
            if x > 20:
                make()(LOG, x)
    """,
    "local_decorator": """
        def deco(fn):
            @functools.wraps(fn)
            def wrapper(*args):
                LOG.append(1)  # here
                return fn(*args)
            return wrapper
        def f(x):
            @deco
            def g(x):
                return x
            return g(x) if x > 20 else 0
    """,
    "default_of_an_inner_function": """
        def f(x):
            def g(x, rows=LOG):
                rows.append(x)  # here
            if x > 20:
                g(x)
    """,
    "nonlocal_kept": """
        def make():
            n = 0
            def g():
                nonlocal n
                n += 1  # here
                return n
            def f(x):
                return g() if x > 20 else 0
            return f
        f = make()
    """,
    "mutual_recursion": """
        def even(n):
            return True if n == 0 else odd(n - 1)
        def odd(n):
            LOG.append(n)  # here
            return False if n == 0 else even(n - 1)
        def f(x):
            return even(x) if x > 20 else 0
    """,
    "recursive_method": """
        class Node:
            def __init__(self, left=None):
                self.left = left
            def walk(self):
                if self.left:
                    self.left.walk()
                TABLE[id(self)] = 1  # here
        def f(x):
            return Node(Node()).walk() if x > 20 else 0
    """,
    "import_inside": """
        def f(x):
            if x > 20:
                import json as j
                j.plait_test = x  # here
    """,
    "import_from": """
        def f(x):
            if x > 20:
                from os import environ
                environ["PLAIT"] = "1"  # here
    """,
    "del_item": """
        def f(x):
            if x > 20:
                del TABLE[x]  # here
    """,
    "del_slice": """
        def f(x):
            if x > 20:
                del LOG[1:2]  # here
    """,
    "augmented_item": """
        def f(x):
            if x > 20:
                TABLE[x] += 1  # here
    """,
    "augmented_slice": """
        def f(x):
            if x > 20:
                LOG[:1] += [1]  # here
    """,
    "augmented_attribute": """
        class C:
            pass
        c = C()
        def f(x):
            if x > 20:
                c.n += 1  # here
    """,
    "in_place_by_a_method": """
        class C:
            def __iadd__(self, other):
                LOG.append(other)  # here
                return self
        def f(x):
            c = C()
            if x > 20:
                c += x
    """,
    "set_item_by_a_method": """
        class C:
            def __setitem__(self, key, value):
                LOG.append(value)  # here
        def f(x):
            c = C()
            if x > 20:
                c[1] = x
    """,
    "prints_to_a_file": """
        out = io.StringIO()
        def f(x):
            if x > 20:
                print(x, file=out)  # here
    """,
    "environ": """
        def f(x):
            if x > 20:
                os.environ["PLAIT"] = "1"  # here
    """,
    "sys_path": """
        def f(x):
            if x > 20:
                sys.path.append("x")  # here
    """,
    "logger_level": """
        def f(x):
            if x > 20:
                logging.getLogger().setLevel(10)  # here
    """,
    "lru_cache": """
        @functools.lru_cache
        def g(x):
            LOG.append(x)  # here
        def f(x):
            return g(x) if x > 20 else 0
    """,
    "cached_method": """
        class C:
            @functools.lru_cache
            def g(self, x):
                LOG.append(x)  # here
        def f(x):
            return C().g(x) if x > 20 else 0
    """,
    "singledispatch": """
        @functools.singledispatch
        def g(x):
            return x
        @g.register
        def _(x: int):
            LOG.append(x)  # here
        def f(x):
            return g(x) if x > 20 else 0
    """,
    "singledispatchmethod": """
        class C:
            @functools.singledispatchmethod
            def g(self, x):
                return x
            @g.register
            def _(self, x: int):
                LOG.append(x)  # here
        def f(x):
            return C().g(x) if x > 20 else 0
    """,
    "partialmethod": """
        class C:
            def g(self, rows, x):
                rows.append(x)  # here
            h = functools.partialmethod(g, LOG)
        def f(x):
            return C().h(x) if x > 20 else 0
    """,
    "decorated_method": """
        def deco(fn):
            @functools.wraps(fn)
            def wrapper(self, *args):
                LOG.append(1)  # here
                return fn(self, *args)
            return wrapper
        class C:
            @deco
            def g(self, x):
                return x
        def f(x):
            return C().g(x) if x > 20 else 0
    """,
    "static_method": """
        class C:
            @staticmethod
            def g(rows, x):
                rows.append(x)  # here
        def f(x):
            return C().g(LOG, x) if x > 20 else 0
    """,
    "numpy_view": """
        import numpy as np
        A = np.zeros(3)
        def f(x):
            b = np.asarray(A)
            if x > 20:
                b += 1  # here
    """,
    "memoryview": """
        B = bytearray(4)
        def f(x):
            if x > 20:
                memoryview(B)[0] = 1  # here
    """,
}

FREE = {
    "class_defaults": """
        class Counter:
            n = 0
            step = 1
            def up(self):
                self.n += self.step
                return self
        def f(x):
            return Counter().up().n + Counter.step
    """,
    "parser": """
        class Parser:
            def __init__(self, text, options):
                self.text, self.options, self.at, self.out = text, options, 0, []
            def peek(self):
                return self.text[self.at] if self.at < len(self.text) else ""
            def advance(self):
                self.at += 1
                return self
            def word(self):
                begun = self.at
                while self.peek().isalpha():
                    self.advance()
                return self.text[begun:self.at]
            def run(self):
                while self.peek():
                    word = self.word()
                    if word:
                        self.out.append(word)
                    self.advance()
                return self.out
        OPTIONS = {"strict": True}
        def f(x):
            return Parser("a b c" * x, OPTIONS).run()
    """,
    "dataclass_builder": """
        @dataclasses.dataclass
        class Row:
            name: str
            tags: list = dataclasses.field(default_factory=list)
            def tag(self, name):
                self.tags.append(name)
                return self
        def f(x):
            rows = [Row(str(i)) for i in range(x)]
            for row in rows:
                row.tag("a").tag("b")
            return sorted(rows, key=lambda row: row.name)
    """,
    "frozen_dataclass": """
        @dataclasses.dataclass(frozen=True, slots=True)
        class Vector:
            x: float
            y: float
            def plus(self, other):
                return Vector(self.x + other.x, self.y + other.y)
            def length(self):
                return math.hypot(self.x, self.y)
        ORIGIN = Vector(0.0, 0.0)
        def f(x):
            v = ORIGIN
            for i in range(x):
                v = v.plus(Vector(i, i))
            return dataclasses.replace(v, x=1.0).length()
    """,
    "accumulator": """
        def f(x):
            sums, seen, parts = {}, set(), []
            for i in range(x):
                sums[i % 3] = sums.get(i % 3, 0) + i
                sums.setdefault("all", []).append(i)
                seen.add(i)
                parts += [i]
                parts.append(i)
            del sums[0]
            seen.discard(1)
            parts.sort()
            parts.reverse()
            return sums, seen, parts
    """,
    "local_class": """
        def f(x):
            class Counter:
                def __init__(self):
                    self.n = 0
                def up(self):
                    self.n += 1
                    return self
            c = Counter()
            for _ in range(x):
                c.up()
            return c.n
    """,
    "local_memo": """
        def f(x):
            memo = {}
            def fib(n):
                if n < 2:
                    return n
                if n not in memo:
                    memo[n] = fib(n - 1) + fib(n - 2)
                return memo[n]
            return fib(x)
    """,
    "local_lru_cache": """
        def f(x):
            @functools.lru_cache(maxsize=None)
            def fib(n):
                return n if n < 2 else fib(n - 1) + fib(n - 2)
            return fib(x)
    """,
    "local_nonlocal": """
        def f(x):
            n, seen = 0, []
            def up(by):
                nonlocal n
                def more():
                    nonlocal n
                    n += by
                    seen.append(n)
                more()
            for i in range(x):
                up(i)
            return n, seen
    """,
    "recursion": """
        def permutations(rest, head, out):
            if not rest:
                out.append(tuple(head))
            for i in range(len(rest)):
                head.append(rest[i])
                permutations(rest[:i] + rest[i + 1:], head, out)
                head.pop()
            return out
        def f(x):
            return permutations(list(range(x)), [], [])
    """,
    "generators": """
        def numbers(n):
            seen = []
            for i in range(n):
                seen.append(i)
                yield i, seen
        def evens(pairs):
            for i, _ in pairs:
                if i % 2 == 0:
                    yield i
        def f(x):
            return sum(evens(numbers(x))) + sum(i for i in range(x))
    """,
    "json_re": """
        PATTERN = re.compile("a+")
        def f(x):
            row = json.loads('{"a": [1]}')
            row["a"].append(x)
            row["b"] = PATTERN.sub("b", "aaa")
            return json.dumps(row), PATTERN.findall("aba"), re.split(",", "a,b")
    """,
    "hashes": """
        def f(x):
            h = hashlib.sha256()
            h.update(b"a" * x)
            c = zlib.compressobj()
            data = c.compress(b"a" * x) + c.flush()
            return h.hexdigest(), zlib.crc32(data), struct.pack("q", x)
    """,
    "numpy": """
        import numpy as np
        WEIGHTS = np.ones((3, 3))
        def f(x):
            a = np.zeros((3, 3))
            a += WEIGHTS
            a[0] = 5
            b = (a @ WEIGHTS).copy()
            b.sort()
            b.fill(3)
            return float(np.linalg.norm(b)) + float(WEIGHTS.sum())
    """,
    "constants": """
        FACTORS = {"a": 1, "b": [2, 3]}
        NAMES = ("a", "b")
        LIMIT = 10
        def f(x):
            return sum(FACTORS[name] for name in NAMES if name in FACTORS) + FACTORS.get("c", LIMIT)
    """,
    "logging": """
        log = logging.getLogger(__name__)
        def f(x):
            log.info("x is %s", x)
            if x > 20:
                log.warning("large")
            return x
    """,
    "reads_a_file": """
        def f(x):
            with open("/dev/null") as file:
                lines = [line.strip() for line in file]
            lines.append("x")
            return lines, pathlib.Path("/dev/null").read_text()
    """,
    "string_builder": """
        def f(x):
            out = io.StringIO()
            for i in range(x):
                out.write(str(i))
            parts = "a,b".split(",")
            parts.append("c")
            return out.getvalue() + "".join(parts)
    """,
    "comprehensions": """
        def f(x):
            rows = [{"n": i} for i in range(x)]
            for row in rows:
                row["m"] = row["n"] ** 2
            by = {row["n"]: row for row in rows}
            by[0]["z"] = 1
            return [row for row in by.values() if row["n"] % 2], {r["n"] for r in rows}
    """,
    "sorts": """
        def f(x):
            rows = [(i % 3, i) for i in range(x)]
            rows.sort(key=lambda row: row[0])
            return sorted(rows, key=operator.itemgetter(1)), max(rows, key=lambda row: row[1])
    """,
    "self_reads": """
        class Model:
            def __init__(self):
                self.weights, self.bias = [1, 2], 3
            def predict(self, x):
                return sum(w * x for w in self.weights) + self.shift()
            def shift(self):
                return self.bias
        model = Model()
        def f(x):
            return model.predict(x)
    """,
    "bound_method": """
        class Model:
            def __init__(self):
                self.weights = [1, 2]
            def predict(self, x):
                out = []
                for w in self.weights:
                    out.append(w * x)
                return out
        f = Model().predict
    """,
    "named_tuple": """
        class P(typing.NamedTuple):
            x: int
            y: int = 0
            def moved(self):
                return self._replace(x=self.x + 1)
        Q = collections.namedtuple("Q", "a b")
        ORIGIN = P(0)
        def f(x):
            return ORIGIN.moved(), Q(1, b=x)._asdict(), P(x).moved().x
    """,
    "enum": """
        class Color(enum.Enum):
            RED = 1
            BLUE = 2
            def other(self):
                return Color.BLUE if self is Color.RED else Color.RED
        class Flag(enum.IntFlag):
            A = 1
            B = 2
        def f(x):
            return Color(1).other(), [c.name for c in Color], Flag.A | Flag.B, Color["RED"]
    """,
    "session": """
        class Session:
            def __init__(self, base):
                self.base, self.headers, self.calls = base, {}, 0
            def __enter__(self):
                return self
            def __exit__(self, *args):
                self.close()
            def close(self):
                self.headers.clear()
            def get(self, path, **options):
                self.calls += 1
                self.headers.update(options.get("headers", {}))
                return Response(self.base + path)
        class Response:
            def __init__(self, url):
                self.url = url
                self._cache = None
            def json(self):
                if self._cache is None:
                    self._cache = {"url": self.url}
                return self._cache
        BASE = "http://x"
        def f(x):
            with Session(BASE) as session:
                found = session.get("/a", headers={"a": "b"}).json()
            found["x"] = x
            return found
    """,
    "try_finally": """
        def f(x):
            done = []
            try:
                return 1 / x
            except (ZeroDivisionError, ValueError) as error:
                done.append(str(error))
                raise RuntimeError("no") from error
            finally:
                done.append("end")
    """,
    "heap": """
        def f(x):
            heap, out = [], []
            for i in range(x):
                heapq.heappush(heap, -i)
            while heap:
                out.append(heapq.heappop(heap))
            bisect.insort(out, 3)
            return out
    """,
    "graph": """
        GRAPH = {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}
        def f(x):
            todo, seen, before = collections.deque(["a"]), {"a"}, {}
            while todo:
                node = todo.popleft()
                for other in GRAPH[node]:
                    if other not in seen:
                        seen.add(other)
                        before[other] = node
                        todo.append(other)
            return seen, before
    """,
    "tree": """
        class Node:
            __slots__ = ("left", "right", "value")
            def __init__(self, value):
                self.left = self.right = None
                self.value = value
            def insert(self, value):
                if value < self.value:
                    if self.left is None:
                        self.left = Node(value)
                    else:
                        self.left.insert(value)
                elif self.right is None:
                    self.right = Node(value)
                else:
                    self.right.insert(value)
            def __iter__(self):
                if self.left is not None:
                    yield from self.left
                yield self.value
                if self.right is not None:
                    yield from self.right
        def f(x):
            root = Node(x)
            for i in range(x):
                root.insert(i)
            return list(root)
    """,
    "cached_property": """
        class Circle:
            def __init__(self, r):
                self.r = r
            @functools.cached_property
            def area(self):
                return math.pi * self.r ** 2
            @property
            def double(self):
                return self.area * 2
        unit = Circle(1)
        def f(x):
            return Circle(x).area + unit.double
    """,
    "operators": """
        @functools.total_ordering
        class Money:
            def __init__(self, cents):
                self.cents = cents
            def __add__(self, other):
                return Money(self.cents + other.cents)
            def __eq__(self, other):
                return self.cents == other.cents
            def __lt__(self, other):
                return self.cents < other.cents
            def __hash__(self):
                return hash(self.cents)
            def __repr__(self):
                return f"Money({self.cents})"
        ONE = Money(100)
        def f(x):
            total = Money(0)
            for i in range(x):
                total = total + ONE
            return sorted([total, ONE]), {total: 1}, repr(total), total < ONE
    """,
    "context_manager": """
        @contextlib.contextmanager
        def timed(times):
            begun = time.perf_counter()
            try:
                yield
            finally:
                times.append(time.perf_counter() - begun)
        def f(x):
            times = []
            with timed(times):
                pass
            return times
    """,
    "decorated": """
        def retried(fn):
            @functools.wraps(fn)
            def wrapper(*args, **kwargs):
                for attempt in range(3):
                    try:
                        return fn(*args, **kwargs)
                    except OSError:
                        continue
                raise RuntimeError
            return wrapper
        @retried
        def f(x):
            return x + 1
    """,
    "closure": """
        def make(factor, names):
            table = {name: factor for name in names}
            def f(x):
                return x * factor + table.get("a", 0)
            return f
        f = make(3, ["a"])
    """,
    "inheritance": """
        class Shape(abc.ABC):
            def __init__(self, name):
                self.name = name
                self.log = []
            @abc.abstractmethod
            def area(self): ...
            def describe(self):
                self.log.append(self.name)
                return f"{self.name}: {self.area()}"
        class Square(Shape):
            def __init__(self, side):
                super().__init__("square")
                self.side = side
            def area(self):
                return self.side ** 2
        class Cube(Square):
            def area(self):
                return super().area() * 6
        def f(x):
            return [shape.describe() for shape in (Square(x), Cube(x))]
    """,
    "visitor": """
        class Names(ast.NodeVisitor):
            def __init__(self):
                self.names = []
            def visit_Name(self, node):
                self.names.append(node.id)
                self.generic_visit(node)
        def f(x):
            v = Names()
            v.visit(ast.parse("a + b"))
            return v.names
    """,
    "html": """
        class Links(html.parser.HTMLParser):
            def __init__(self):
                super().__init__()
                self.links = []
            def handle_starttag(self, tag, attrs):
                self.links.append(tag)
        def f(x):
            parser = Links()
            parser.feed("<a>")
            return parser.links
    """,
    "coroutines": """
        async def one(x, rows):
            await asyncio.sleep(0)
            rows.append(x)
            return x
        async def main(x):
            rows = []
            await asyncio.gather(*(one(i, rows) for i in range(x)))
            return rows
        def f(x):
            return asyncio.run(main(x))
    """,
    "csv": """
        def f(x):
            rows = list(csv.DictReader(io.StringIO("a,b")))
            for row in rows:
                row["c"] = 1
            out = io.StringIO()
            csv.writer(out).writerows([[1]])
            return rows, collections.Counter("abc").most_common(1)
    """,
    "matrix": """
        def multiply(a, b):
            n = len(a)
            out = [[0] * n for _ in range(n)]
            for i in range(n):
                for j in range(n):
                    row = out[i]
                    for k in range(n):
                        row[j] += a[i][k] * b[k][j]
            return out
        IDENTITY = [[1, 0], [0, 1]]
        def f(x):
            return multiply(IDENTITY, multiply(IDENTITY, [[x, x], [x, x]]))
    """,
    "exceptions": """
        class Wrong(ValueError):
            def __init__(self, text, place):
                super().__init__(text)
                self.place = place
        def f(x):
            try:
                raise Wrong("a", x)
            except Wrong as error:
                return error.place, str(error)
    """,
    "own_random": """
        def f(x):
            rng = random.Random(x)
            rows = [1, 2, 3]
            rng.shuffle(rows)
            return rows, rng.random()
    """,
    "dispatch_inside": """
        def add(a, b):
            return a + b
        def times(a, b):
            return a * b
        def f(x):
            table = {"+": add, "*": times}
            stack = []
            for token in "1 2 + 3 *".split():
                if token in table:
                    b, a = stack.pop(), stack.pop()
                    stack.append(table[token](a, b))
                else:
                    stack.append(int(token))
            return stack[0]
    """,
    "callables_inside": """
        class Pipeline:
            def __init__(self, *steps):
                self.steps = steps
            def __call__(self, value):
                for step in self.steps:
                    value = step(value)
                return value
        def double(x):
            return x * 2
        def f(x):
            return Pipeline(double, str, lambda s: s + "a")(x)
    """,
    "counts_by_what_is_called_as_it_is": """
        def f(x):
            class Count:
                def __init__(self):
                    self.total = 0
                def add(self, n):
                    self.total += n
                    return self.total
                def twice(self):
                    return self.add(self.total())
            return Count
    """,
    "imports_by_name": """
        def f(x):
            import importlib
            return __import__("math").floor(x), importlib.import_module("cmath").sqrt(x)
    """,
    "reads_by_name": """
        class Settings:
            depth = 3
            def __init__(self):
                self.width = 2
        settings = Settings()
        def f(x):
            return getattr(settings, "width", 1) + getattr(math, "pi") + vars(settings)["width"]
    """,
}


def load(name, source):
    module = types.ModuleType(f"auto_unseen_{name}")
    text = HEAD + textwrap.dedent(source)
    sys.modules["this_module"] = sys.modules[module.__name__] = module
    try:
        exec(compile(text, f"{module.__name__}.py", "exec"), vars(module))
    except ImportError as error:
        pytest.skip(str(error))
    lines = [n for n, line in enumerate(text.splitlines(), 1) if line.endswith("# here")]
    return module, lines


def found(fn, *args):
    record, before, keywords = record_of(fn)
    return record.effect_on((*before, *args), keywords)


@pytest.mark.parametrize("name", KEPT)
def test_seen(name):
    module, lines = load(name, KEPT[name])
    effect = found(module.f, 1)
    assert effect is not None
    assert effect.line in lines, effect


@pytest.mark.parametrize("name", FREE)
def test_free(name):
    module, _ = load(name, FREE[name])
    assert found(module.f, 1) is None
