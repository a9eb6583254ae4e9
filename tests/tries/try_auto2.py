"""Each function alone in a module of its own; heavy, so that it goes away if it may."""
import faulthandler, sys; faulthandler.dump_traceback_later(280, exit=True)
import importlib.util, os, textwrap, time, types, copy
import plait
PRE = '''
import os, random, json, functools, itertools, collections, threading, time, io, contextvars, operator, copy, weakref, sys, logging, warnings, decimal, heapq
def work(x=1):
    s = 0
    for i in range(120000): s += i * x
    return s
'''
CASES = {
"default_list": ("def f(x, seen=[]):\n    work(); seen.append(x); return len(seen)", None),
"default_dict_get": ("def f(x, c={}):\n    work(); c[x % 3] = c.get(x % 3, 0) + 1; return c[x % 3]", None),
"kwdefault": ("def f(x, *, seen=[]):\n    work(); seen += [x]; return len(seen)", None),
"func_attr": ("def f(x):\n    work(); f.n = getattr(f, 'n', 0) + 1; return f.n", None),
"getattr_append": ("LOG = []\ndef f(x):\n    work(); getattr(LOG, 'app' + 'end')(x); return len(LOG)", None),
"map_append": ("LOG = []\ndef f(x):\n    work(); list(map(LOG.append, [x])); return len(LOG)", None),
"match": ("LOG = []\ndef f(x):\n    work()\n    match {'a': LOG}:\n        case {'a': l}:\n            l.append(x)\n            return len(l)", None),
"idx_getitem": ("class I:\n    c = 0\n    def __getitem__(self, i):\n        self.c += 1; return self.c\nI0 = I()\ndef f(x):\n    work(); return I0[x]", None),
"idx_add": ("class I:\n    c = 0\n    def __add__(self, i):\n        self.c += 1; return self.c\nI0 = I()\ndef f(x):\n    work(); return I0 + x", None),
"idx_str": ("class I:\n    c = 0\n    def __str__(self):\n        self.c += 1; return str(self.c)\nI0 = I()\ndef f(x):\n    work(); return f'{I0}'", None),
"idx_bool": ("class I:\n    c = 0\n    def __bool__(self):\n        self.c += 1; return self.c % 2 == 0\nI0 = I()\ndef f(x):\n    work(); return 1 if I0 else 0", None),
"idx_eq": ("class I:\n    c = 0\n    def __eq__(self, o):\n        self.c += 1; return self.c % 2 == 0\nI0 = I()\ndef f(x):\n    work(); return I0 == x", None),
"idx_contains": ("class I:\n    c = 0\n    def __contains__(self, o):\n        self.c += 1; return self.c % 2 == 0\nI0 = I()\ndef f(x):\n    work(); return x in I0", None),
"idx_iter": ("class I:\n    c = 0\n    def __iter__(self):\n        self.c += 1; return iter([self.c])\nI0 = I()\ndef f(x):\n    work(); return [*I0]", None),
"idx_len": ("class I:\n    c = 0\n    def __len__(self):\n        self.c += 1; return self.c\nI0 = I()\ndef f(x):\n    work(); return len(I0)", None),
"prop": ("class I:\n    c = 0\n    @property\n    def p(self):\n        self.c += 1; return self.c\nI0 = I()\ndef f(x):\n    work(); return I0.p", None),
"getattr_magic": ("class I:\n    def __init__(self): self.__dict__['c'] = 0\n    def __getattr__(self, n):\n        self.__dict__['c'] += 1; return self.__dict__['c']\nI0 = I()\ndef f(x):\n    work(); return I0.magic", None),
"call_obj": ("class I:\n    c = 0\n    def __call__(self, x):\n        self.c += 1; return self.c\nI0 = I()\ndef f(x):\n    work(); return I0(x)", None),
"descriptor": ("class D:\n    def __init__(self): self.k = 0\n    def __get__(self, o, t=None):\n        self.k += 1; return self.k\nclass I:\n    d = D()\nI0 = I()\ndef f(x):\n    work(); return I0.d", None),
"metaclass": ("class M(type):\n    n = 0\n    def __call__(cls, *a):\n        M.n += 1; return M.n\nclass I(metaclass=M): pass\ndef f(x):\n    work(); return I()", None),
"singleton_new": ("class S:\n    made = None\n    n = 0\n    def __new__(cls):\n        if cls.made is None: cls.made = object.__new__(cls)\n        cls.made.n += 1\n        return cls.made\ndef f(x):\n    work(); return S().n", None),
"init_reg": ("ALL = []\nclass S:\n    def __init__(self): ALL.append(self)\ndef f(x):\n    work(); S(); return len(ALL)", None),
"init_subclass": ("ALL = []\nclass B:\n    def __init_subclass__(cls): ALL.append(cls)\ndef f(x):\n    work()\n    class C(B): pass\n    return len(ALL)", None),
"decor_state": ("def deco(g):\n    calls = [0]\n    @functools.wraps(g)\n    def w(x):\n        calls[0] += 1\n        return g(x), calls[0]\n    return w\n@deco\ndef f(x): return work(x)", None),
"cache_obj": ("@functools.lru_cache\ndef h(x): work(); return object()\ndef f(x): return id(h(x % 4)) and h(x % 4)", "identity"),
"singledispatch": ("LOG=[]\n@functools.singledispatch\ndef g(x): LOG.append(x); return len(LOG)\ndef f(x): work(); return g(x)", None),
"partial_append": ("LOG=[]\np=functools.partial(LOG.append)\ndef f(x): work(); p(x); return len(LOG)", None),
"methodcaller": ("LOG=[]\nm=operator.methodcaller('append', 1)\ndef f(x): work(); m(LOG); return len(LOG)", None),
"itemgetter_pop": ("LOG=list(range(1000))\ndef f(x): work(); return [].__class__.pop(LOG)", None),
"list_type_append": ("LOG=[]\ndef f(x): work(); list.append(LOG, x); return len(LOG)", None),
"dunder_setitem": ("D={}\ndef f(x): work(); D.__setitem__(x, 1); return len(D)", None),
"setdefault_chain": ("D={}\ndef f(x): work(); D.setdefault('a', []).append(x); return len(D['a'])", None),
"defaultdict_read": ("D=collections.defaultdict(lambda: len(D))\ndef f(x): work(); return D[x]", None),
"deque_rotate": ("D=collections.deque(range(5))\ndef f(x): work(); D.rotate(1); return D[0]", None),
"sum_iter": ("IT=iter(range(10000))\ndef f(x): work(); return sum(itertools.islice(IT, 3))", None),
"for_iter": ("IT=iter(range(10000))\ndef f(x):\n    work()\n    for v in IT: return v", None),
"unpack_iter": ("IT=iter(range(10000))\ndef f(x): work(); a, b = itertools.islice(IT, 2); return a + b", None),
"zip_iter": ("IT=iter(range(100000))\ndef f(x): work(); return next(zip(IT, [1]))", None),
"in_iter": ("IT=iter(range(100000))\ndef f(x): work(); return x * 2 in IT", None),
"counter_itc": ("C=itertools.count()\ndef f(x): work(); return next(C)", None),
"file_global": ("F=open(__file__)\ndef f(x): work(); return F.readline()", None),
"stringio": ("B=io.StringIO()\ndef f(x): work(); print('a', file=B); return B.tell()", None),
"stdout_swap": ("def f(x): work(); sys.stdout = sys.__stdout__; sys.foo = getattr(sys,'foo',0)+1; return sys.foo", None),
"logging_handler": ("LOG=[]\nclass H(logging.Handler):\n    def emit(self, r): LOG.append(r.msg)\nL=logging.getLogger('zz'); L.addHandler(H()); L.propagate=False\ndef f(x): work(); L.warning('x'); return len(LOG)", None),
"warn_registry": ("def f(x): work(); warnings.warn('w'); return len(globals().get('__warningregistry__', {}))", None),
"environ_read": ("def f(x): work(); return os.environ.get('ZZZ')", "env"),
"cfg_changed": ("CFG={'k':1}\ndef f(x): work(); return CFG['k'] * x", "cfg"),
"int_changed": ("K=1\ndef f(x): work(); return K * x", "k"),
"mod_int_changed": ("import json\ndef f(x): work(); return getattr(json, 'my_k', 0) * x", "jsonk"),
"class_attr_changed": ("class C:\n    k=1\ndef f(x): work(); return C.k * x", "ck"),
"monkeypatched": ("def h(x): return x\ndef f(x): work(); return h(x)", "h"),
"contextvar": ("CV=contextvars.ContextVar('c', default=0)\ndef f(x): work(); return CV.get()", "cv"),
"random": ("def f(x): work(); return random.random()", None),
"random_inst": ("R=random.Random(3)\ndef f(x): work(); return R.random()", None),
"shuffle_arg": ("def f(l): work(); random.Random(1).shuffle(l); return l[0]", "lists"),
"arg_nested": ("def f(l): work(); l[0].append(1); return len(l[0])", "nested"),
"arg_alias_ret": ("def f(l): work(); return l", "lists"),
"arg_in_tuple": ("def f(l): work(); return (l, 1)", "lists"),
"shared_arg": ("def f(l): work(); return len(l)", "shared"),
"getpid": ("def f(x): work(); return os.getpid()", None),
"thread_name": ("def f(x): work(); return threading.current_thread().name", None),
"thread_ident_alias": ("from threading import get_ident as gi\ndef f(x): work(); return gi()", None),
"local": ("T=threading.local()\ndef f(x): work(); T.n = getattr(T,'n',0)+1; return T.n", None),
"frame": ("def f(x): work(); return sys._getframe(1).f_code.co_name", None),
"recursion_depth": ("def f(x): work(); return len(__import__('inspect').stack()) > 0", None),
"exec_": ("N=0\ndef f(x): work(); exec('global N; N += 1'); return N", None),
"setattr_mod": ("def f(x): work(); setattr(sys.modules[__name__], 'N', getattr(sys.modules[__name__], 'N', 0) + 1); return sys.modules[__name__].N", None),
"weak": ("class O: pass\nD=weakref.WeakValueDictionary()\nK=[]\ndef f(x): work(); o=O(); K.append(o); D[x]=o; return len(D)", None),
"del_effect": ("LOG=[]\nclass O:\n    def __del__(self): LOG.append(1)\ndef f(x): work(); O(); return len(LOG)", None),
"ctxmgr": ("LOG=[]\nimport contextlib\n@contextlib.contextmanager\ndef cm():\n    LOG.append(1); yield len(LOG)\ndef f(x):\n    work()\n    with cm() as n: return n", None),
"gen_fn": ("LOG=[]\ndef g():\n    LOG.append(1); yield len(LOG)\ndef f(x): work(); return next(g())", None),
"gen_comp": ("LOG=[]\ndef f(x): work(); return sum(LOG.append(1) or 1 for _ in range(2)) + len(LOG)", None),
"sorted_key": ("LOG=[]\ndef key(v): LOG.append(v); return v\ndef f(x): work(); return sorted([2,1], key=key) and len(LOG)", None),
"reduce_fn": ("LOG=[]\ndef g(a,b): LOG.append(b); return len(LOG)\ndef f(x): work(); return functools.reduce(g, [1,2,3])", None),
"callback_table": ("LOG=[]\ndef a(x): LOG.append(x); return len(LOG)\nT={'a': a}\ndef f(x): work(); return T['a'](x)", None),
"callback_attr": ("LOG=[]\ndef a(x): LOG.append(x); return len(LOG)\nclass NS: pass\nns=NS(); ns.a=a\ndef f(x): work(); return ns.a(x)", None),
"method_super": ("class A:\n    n=0\n    def go(self): A.n += 1; return A.n\nclass B(A):\n    def go(self): return super().go()\nb=B()\ndef f(x): work(); return b.go()", None),
"str_format_attr": ("class I:\n    c=0\n    def __format__(self, s):\n        self.c += 1; return str(self.c)\nI0=I()\ndef f(x): work(); return '{}'.format(I0)", None),
"pickle_side": ("N=[0]\nclass A:\n    def __reduce__(self):\n        N[0]+=1; return (A, ())\ndef f(x): work(); return N[0]", None),
"nonlocal_deep": ("def mk():\n    n=0\n    def g():\n        nonlocal n\n        n+=1\n        return n\n    def f(x): work(); return g()\n    return f\nf=mk()", None),
"cell_list_alias": ("def mk():\n    l=[]\n    push=l.append\n    def f(x): work(); push(x); return len(l)\n    return f\nf=mk()", None),
"async_in": ("LOG=[]\nimport asyncio\nasync def a(x): LOG.append(x); return len(LOG)\ndef f(x): work(); return asyncio.run(a(x))", None),
"lambda_default": ("f = lambda x, s=[]: (work(), s.append(x), len(s))[2]", None),
"star_args": ("LOG=[]\ndef g(*a): a[0].append(1); return len(a[0])\ndef f(x): work(); return g(*[LOG])", None),
"kw_star": ("LOG=[]\ndef g(**k): k['l'].append(1); return len(k['l'])\ndef f(x): work(); return g(**{'l': LOG})", None),
"np_global": ("import numpy as np\nA=np.zeros(3)\ndef f(x): work(); np.add(A,1,out=A); return float(A[0])", None),
"np_copyto": ("import numpy as np\nA=np.zeros(3)\ndef f(x): work(); np.copyto(A, A+1); return float(A[0])", None),
"np_put": ("import numpy as np\nA=np.zeros(3)\ndef f(x): work(); np.put(A,[0],A[0]+1); return float(A[0])", None),
"np_fill": ("import numpy as np\nA=np.zeros(3)\ndef f(x): work(); A.fill(A[0]+1); return float(A[0])", None),
"np_rand": ("import numpy as np\nnp.random.seed(1)\ndef f(x): work(); return float(np.random.rand())", None),
"np_generator": ("import numpy as np\nG=np.random.default_rng(1)\ndef f(x): work(); return float(G.random())", None),
"ba_into": ("B=bytearray(4)\ndef f(x): work(); memoryview(B)[0] = (B[0]+1) % 256; return B[0]", None),
"struct_into": ("import struct\nB=bytearray(8)\ndef f(x): work(); struct.pack_into('q', B, 0, struct.unpack('q', B)[0]+1); return B[0]", None),
"array_global": ("import array\nA=array.array('q',[0])\ndef f(x): work(); A[0]+=1; return A[0]", None),
"ctypes_": ("import ctypes\nA=ctypes.c_int(0)\ndef f(x): work(); A.value += 1; return A.value", None),
"sqlite": ("import sqlite3\nC=sqlite3.connect(':memory:')\nC.execute('create table t(x)')\ndef f(x): work(); C.execute('insert into t values(1)'); return C.execute('select count(*) from t').fetchone()[0]", None),
"plain": ("def f(x): return work(x)", None),
"reads_const_tuple": ("T=(1,2,3)\ndef f(x): work(); return T[x % 3]", None),
"reads_list": ("T=[1,2,3]\ndef f(x): work(); return T[x % 3]", None),
"returns_global": ("T=[1,2,3]\ndef f(x): work(); return T", "identity"),
"returns_none_singleton": ("class N: pass\nS=N()\ndef f(x): work(); return S", "identity"),
"enum_ret": ("import enum\nclass E(enum.Enum):\n    A=1\ndef f(x): work(); return E.A", "identity"),
"exc_identity": ("class Oops(ValueError): pass\ndef f(x):\n    work()\n    if x % 9 == 8: raise Oops(x)\n    return x", None),
}
N = 45
def load(name, src, k):
    path = f"/tmp/stranger/gen/{name}_{k}.py"; os.makedirs("/tmp/stranger/gen", exist_ok=True)
    open(path, "w").write(PRE + src + "\n")
    spec = importlib.util.spec_from_file_location(f"{name}_{k}", path); m = importlib.util.module_from_spec(spec); sys.modules[spec.name] = m
    import random; random.seed(1)
    spec.loader.exec_module(m); return m
def items(how):
    if how == "lists": return [[3, 2, i] for i in range(N)]
    if how == "nested": return [[[i]] for i in range(N)]
    if how == "shared":
        l = [1]; return [l] * N
    return list(range(N))
def change(m, how):
    if how == "env": os.environ["ZZZ"] = "later"
    if how == "cfg": m.CFG["k"] = 5
    if how == "k": m.K = 5
    if how == "jsonk": m.json.my_k = 5
    if how == "ck": m.C.k = 5
    if how == "h": m.h = lambda x: -x
    if how == "cv": m.CV.set(7)
def run(m, how, auto):
    xs = items(how); out = []
    import json; json.__dict__.pop("my_k", None); os.environ.pop("ZZZ", None); sys.__dict__.pop("foo", None)
    for part in range(2):
        if part: change(m, how)
        it = iter(plait.map(m.f, xs) if auto else map(m.f, xs))
        while True:
            try: out.append(next(it))
            except StopIteration: break
            except ValueError as e: out.append(("E", type(e).__name__, str(e)))
    ident = None
    if how == "identity": ident = len({id(o) for o in out})
    if how == "lists": ident = [any(o is x for x in xs) for o in out]
    return out, xs, ident
def main():
    plait.submit(abs, 1, on="process").result()  # the pool is up
    bad = 0; only = sys.argv[1:]
    t0 = time.time()
    for name, (src, how) in CASES.items():
        if only and name not in only: continue
        a, b = load(name, src, "a"), load(name, src, "b")
        random_state = __import__("random"); 
        import random; random.seed(1)
        want = run(a, how, False); random.seed(1)
        if "np" in a.__dict__: a.np.random.seed(1)
        if "np" in name:
            import numpy; numpy.random.seed(1); want = want
        if name == "np_rand":
            import numpy; numpy.random.seed(1); a2 = load(name, src, "a"); want = run(a2, how, False); numpy.random.seed(1)
        try: got = run(b, how, True)
        except BaseException as e: got = ("!!", type(e).__name__, str(e)[:200])
        norm = lambda v: repr(v).replace("_b", "_a") if how != "identity" else repr(v[2])
        import re
        norm2 = lambda v: re.sub(r"0x[0-9a-f]+", "0x", norm(v))
        ok = norm2(got) == norm2(want)
        ex = plait.explain(b.f)
        bad += not ok
        print(f"{'ok ' if ok else 'BAD'} {name:22} {ex.decision!s:8} {ex.reason[:120]}", flush=True)
        if not ok: print("     want", norm2(want)[:160], "\n     got ", norm2(got)[:160])
    print("bad", bad, f"{time.time()-t0:.0f}s")
if __name__ == "__main__": main()
