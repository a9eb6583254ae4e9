"""What is known of functions and methods whose code is not read: those in C, and of libraries."""

from __future__ import annotations

import contextvars
import functools
import os
import random
import site
import sys
import sysconfig
import threading
from types import CodeType, ModuleType
from typing import Any

__all__ = [
    "ADOPTING",
    "ALIASING",
    "CHANGING_ARGUMENT",
    "CHANGING_FIRST",
    "COPYING",
    "MUTATORS",
    "PASSING",
    "changed_argument",
    "is_generator_state",
    "is_harmless",
    "is_place_bound",
    "is_user_code",
    "is_user_file",
    "passes_on",
    "place_question",
    "shared_state",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Methods that change their object, whatever it is.
MUTATORS = _words(
    "append extend insert remove pop clear sort reverse update setdefault popitem add discard "
    "difference_update intersection_update symmetric_difference_update appendleft popleft "
    "extendleft rotate write writelines write_through truncate put put_nowait get_nowait send "
    "sendall sendto recv recv_into recvfrom seek readline readlines readinto fill resize itemset "
    "partition setflags byteswap set subtract move_to_end release acquire next __next__ throw "
    "close commit rollback execute executemany executescript fetchone fetchmany fetchall "
    "__setitem__ __delitem__ __setattr__ __delattr__ __iadd__ __ior__ __isub__ __iand__ __ixor__ "
    "__imul__ push flush submit setLevel addHandler removeHandler addFilter set_trace seed shuffle "
    "set_result set_exception cancel load_state_dict add_ sub_ mul_ div_ zero_ copy_ fill_ "
    "backward step zero_grad cache_clear"
)

#: Methods whose result is, or leads to, what is in their object.
ALIASING = _words(
    "get pop popitem setdefault items values keys __getitem__ reshape view ravel squeeze transpose "
    "swapaxes diagonal next __next__ __iter__ popleft elements most_common children find iter "
    "find_all findall first last head tail iloc loc __enter__ __getattribute__ groups"
)

#: Methods that put their arguments into their object.
ADOPTING = _words(
    "append extend insert update setdefault add appendleft extendleft put put_nowait push "
    "__setitem__ __setattr__ __iadd__ __ior__ register subscribe"
)


_LOCK = type(threading.Lock())


def _of(module: str, names: str) -> set[int]:
    # By identity: some callables cannot be hashed.
    found = sys.modules.get(module) or __import__(module)
    return {id(getattr(found, name)) for name in names.split() if hasattr(found, name)}


#: Functions whose result is, or leads to, one of their arguments.
PASSING = frozenset(
    _of("builtins", "enumerate zip iter next reversed min max map filter vars memoryview")
    | _of("itertools", "chain islice cycle repeat tee takewhile dropwhile starmap groupby")
    | _of("operator", "itemgetter attrgetter getitem")
)

#: Functions that make a new container of what is in their arguments.
COPYING = frozenset(
    _of("builtins", "list tuple dict set frozenset sorted")
    | _of("copy", "copy")
    | _of("collections", "deque defaultdict OrderedDict Counter ChainMap")
    | _of("dataclasses", "replace")
)

#: Functions that change their first argument.
CHANGING_FIRST = frozenset(
    _of("builtins", "next")
    | _of("heapq", "heappush heappop heapify heapreplace heappushpop")
    | _of("bisect", "insort insort_left insort_right")
    | _of("operator", "setitem delitem iadd iand iconcat ior isub ixor imul")
    | _of("functools", "update_wrapper")
)

#: Functions and methods of libraries that change an argument, by name: which one.
CHANGING_ARGUMENT = {
    "pack_into": 1,
    **dict.fromkeys(_words("recv_into recvfrom_into readinto readinto1 shuffle"), 0),
}
# Functions of numpy that change their first argument.
_FILLING = _words("copyto put place putmask put_along_axis fill_diagonal at")

# Functions that tell where they are called.
_QUESTIONS = (
    _of("os", "getpid getppid getpgid getsid getpgrp sched_getaffinity")
    | _of("threading", "get_ident get_native_id current_thread enumerate active_count main_thread")
    | _of("_thread", "get_ident get_native_id _count")
    | _of("sys", "_getframe _current_frames exc_info settrace setprofile gettrace getprofile")
    | _of("inspect", "stack currentframe trace")
    | _of("traceback", "print_stack extract_stack format_stack walk_stack")
    | _of("multiprocessing", "current_process parent_process active_children")
    | _of("asyncio", "get_running_loop get_event_loop current_task all_tasks _get_running_loop")
    | _of("signal", "signal set_wakeup_fd setitimer alarm pthread_sigmask pthread_kill")
    | _of("time", "thread_time thread_time_ns process_time process_time_ns")
    | _of("resource", "getrusage")
    | _of("gc", "isenabled get_threshold get_count get_objects get_stats get_debug")
    | _of("signal", "getsignal getitimer")
    | _of("sys", "getswitchinterval")
    | _of("builtins", "input breakpoint")
)

# Functions that change something of the whole process.
_SHARED = (
    _of("os", "chdir fchdir putenv unsetenv umask setuid setgid nice chroot dup2 close kill _exit")
    | _of("os", "fork forkpty setpgid setsid setpriority sched_setaffinity register_at_fork")
    | _of("os", "closerange posix_spawn")
    # What is read or written moves on where the next begins, for all who have the descriptor.
    | _of("os", "read readv write writev lseek ftruncate sendfile splice copy_file_range fdopen")
    | _of("sys", "setrecursionlimit setswitchinterval set_int_max_str_digits addaudithook exit")
    | _of("sys", "set_asyncgen_hooks setdlopenflags")
    | _of("locale", "setlocale")
    | _of("warnings", "simplefilter filterwarnings resetwarnings warn catch_warnings")
    | _of("gc", "enable disable collect freeze unfreeze set_threshold set_debug")
    | _of("logging", "basicConfig disable setLoggerClass addLevelName captureWarnings shutdown")
    | _of("atexit", "register unregister")
    | _of("socket", "setdefaulttimeout")
    | _of("tracemalloc", "start stop clear_traces")
    | _of("faulthandler", "enable disable register")
    | _of("resource", "setrlimit")
    | _of("time", "tzset")
    | _of("importlib", "reload invalidate_caches")
    | _of("sys", "settrace setprofile")
    | _of("builtins", "exec eval globals")
    | _of("weakref", "finalize")
    | _of("decimal", "setcontext localcontext getcontext")
)


# Functions of numpy whose result may share the data of what they are given.
_VIEWS = _words(
    "asarray asanyarray ascontiguousarray asfortranarray ravel reshape transpose squeeze swapaxes "
    "moveaxis rollaxis expand_dims broadcast_to broadcast_arrays atleast_1d atleast_2d atleast_3d "
    "split array_split hsplit vsplit diagonal frombuffer real imag flip fliplr flipud rot90 "
    "asmatrix require sliding_window_view"
)


def passes_on(obj: Any) -> bool:
    """Whether the result of a library's function may be, or share, what it is given."""
    module, name = getattr(obj, "__module__", None), getattr(obj, "__name__", None)
    return isinstance(module, str) and module.startswith("numpy") and name in _VIEWS


def changed_argument(obj: Any) -> int | None:
    """Tell which argument a function of a library changes; None: none that is known."""
    module, name = getattr(obj, "__module__", None), getattr(obj, "__name__", "")
    owner = getattr(obj, "__self__", None)
    if name == "pack_into" and type(owner).__name__ == "Struct":
        return 0
    if (isinstance(module, str) and module.startswith("numpy")) or hasattr(owner, "nin"):
        return 0 if name in _FILLING else CHANGING_ARGUMENT.get(name)
    return CHANGING_ARGUMENT.get(name)


def is_harmless(obj: Any) -> bool:
    """Whether what the methods of an object change is no result."""
    return type(obj) is _LOCK


def place_question(obj: Any) -> bool:
    """Whether a function tells where it is called."""
    return id(obj) in _QUESTIONS


def shared_state(obj: Any) -> bool:
    """Whether a function changes something of the whole process."""
    return id(obj) in _SHARED


def is_generator_state(obj: Any) -> bool:
    """Whether an object is a generator of random numbers, which every number moves on."""
    if isinstance(obj, random.SystemRandom):
        return False
    if isinstance(obj, random.Random):
        return True
    kind = type(obj)
    return kind.__module__.startswith("numpy.random") and not isinstance(obj, ModuleType | type)


def is_place_bound(obj: Any) -> str | None:
    """Tell whether an object is another in every thread, or context; and which."""
    if isinstance(obj, threading.local):
        return "thread"
    if isinstance(obj, contextvars.ContextVar):
        return "context"
    return None


def _libraries() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found.update(site.getsitepackages())
    found.add(site.getusersitepackages())
    # plait itself, also where it is installed in place.
    found.add(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return tuple(sorted(os.path.join(os.path.realpath(path), "") for path in found))


_LIBRARIES = _libraries()


@functools.lru_cache(maxsize=4096)
def is_user_file(name: str) -> bool:
    """Whether a file of code is the user's, or what stands for one is."""
    if name.startswith("<frozen "):
        return False
    if name.startswith("<"):
        # Typed at a prompt, in a notebook, or made by `exec`; but not by `dataclass`.
        return True
    return not os.path.realpath(name).startswith(_LIBRARIES)


def is_user_code(code: CodeType) -> bool:
    """Whether code is the user's: of neither the standard library nor an installed package."""
    return is_user_file(code.co_filename)
