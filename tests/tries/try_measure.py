import sys, time, signal, threading, faulthandler, traceback
faulthandler.dump_traceback_later(240, exit=True)
import plait, things, functools, io, json, math, zlib, socket
def ask(name, fn, *args, **kw):
    kw.setdefault("batch", 100); kw.setdefault("budget", 0.3)
    t = time.perf_counter()
    threads = threading.active_count()
    try:
        m = plait.measure(fn, *args, **kw)
        out = f"{m.best:8} calls={m.calls} {m.reason}"
    except BaseException as e:
        out = f"!! {type(e).__name__}: {e} notes={getattr(e,'__notes__',None)}"
    print(f"{name:18} {time.perf_counter()-t:5.2f}s thr+{threading.active_count()-threads} {out}"[:400], flush=True)
T = things
import numpy as np
if len(sys.argv) > 1 and sys.argv[1] == "forever":
    ask("forever", T.forever); sys.exit()
for name in "compute sleeper printing raising raising_later recursive nested_measure sql sql_global sql_heavy sub sub_cpu regex npsort npbig gen returns_gen returns_lambda opens writes lockwait kbd allocates leaks logs coro coro_cpu coro_raises agen returns_coro many_small rnd threads_inside slow asks exits lam closure part".split():
    ask(name, getattr(T, name))
ask("method", T.model.predict, 3); ask("mutating method", T.model.learn, 3); ask("callable", T.model, 3)
ask("classmethod", T.Model.cm); ask("staticmethod", T.Model.sm); ask("class", T.Model)
ask("unbound", T.Model.predict, T.model, 3)
ask("ufunc", np.sin, np.ones(1_000_000)); ask("np.dot", np.dot, np.ones((600,600)), np.ones((600,600)))
ask("nparg", T.nparg, np.ones(5_000_000))
ask("len", len, "abc"); ask("math.factorial", math.factorial, 5000); ask("json.dumps", json.dumps, list(range(20000)))
ask("time.sleep", time.sleep, 0.01); ask("print", print, "printed"); ask("zlib", zlib.compress, bytes(3_000_000))
ask("file arg", T.file_arg, open(__file__)); s = socket.socket(); ask("sock arg", T.sock_arg, s)
ask("gen arg", T.gen_arg, (i for i in range(1000)))
ask("functools.cache", functools.cache(T.compute)); ask("lru method", functools.partial(T.model.predict))
ask("str method", "abc".upper); ask("dict.get", {}.get, 1); ask("not callable", 3)
ask("bad args", T.compute, "x"); ask("batch 0", T.compute, batch=0); ask("batch 1", T.compute, batch=1); ask("batch huge", T.compute, batch=10**6)
ask("input builtin", input)
ask("exec lambda", eval("lambda: sum(range(30000))"))
ns={}; exec("def f(n=30000):\n    return sum(range(n))", {"__name__":"__main__"}, ns); ask("exec def", ns["f"])
ask("time.time", time.time)
ask("super slow batch1", T.slow, batch=1)
import asyncio
async def inloop():
    ask("in loop fn", T.compute); ask("in loop coro", T.coro)
asyncio.run(inloop())
th = threading.Thread(target=lambda: (ask("in thread", T.compute), ask("in thread coro", T.coro))); th.start(); th.join()
with plait.ProcessPoolExecutor(1) as p:
    def inner():
        import plait, things
        return plait.measure(things.compute, batch=20).best
    try: print("in worker", p.submit(inner).result(60))
    except BaseException as e: print("in worker !!", type(e), e)
print("done; threads", threading.active_count())
