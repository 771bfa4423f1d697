"""The loops of the E-step and the M-step, a file a family: typed contiguous arrays in, arrays out, no checks.

Every kernel works on *lifts*, lift_vt = p(t|v) / p(t), and the prior p(t). In these terms the posterior of an edge is

    p_te  ~  p(t) * prod_{v in e} lift_vt * context_t

for every model of the family (see `topics.em`). The work is cut into parts or chunks whose bounds depend on the data alone;
each adds to rows of its own, and what several of them share is added in their order: the number of threads changes no bit.
"""

import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import update_wrapper
from threading import RLock
from typing import Any

from numba import njit, typeof
from numba.core.event import Event, Listener, install_listener

REORDER = {"reassoc", "contract", "nsz"}
"""Flags that let sums be reordered into vector lanes; nan and infinity keep their meaning."""

CHILD = (
    "import pickle, sys; sys.path[:], asked = pickle.load(sys.stdin.buffer); "
    "kernel, types = pickle.loads(asked); kernel.compile(types)"
)
LOCK = RLock()
if hasattr(os, "register_at_fork"):  # a thread that compiles is not in the child of a fork
    os.register_at_fork(after_in_child=lambda: globals().update(LOCK=RLock()))


class Kernel:
    """A function of numba that runs what is stored in numba's cache, and is compiled by a process of its own where it is not.

    A process that compiles runs other code than later ones, which read the cache: of a parallel loop numba makes two copies, and
    optimizes the stored one twice. Where sums may be reordered, their last bits differ.
    """

    told = False  # that it takes a moment, once in a process

    def __init__(self, function: Callable[..., None], **options: Any) -> None:
        self._made: Any = njit(**{"nogil": True, "cache": True, "parallel": True, **options})(function)
        self._ready: set[tuple[Any, ...]] = set()
        update_wrapper(self, function)

    def __call__(self, *args: Any) -> None:
        types = tuple(map(typeof, args))
        if types not in self._ready:
            with LOCK:
                self._load(types)
            self._ready.add(types)
        self._made(*args)

    def __reduce__(self) -> tuple[Any, ...]:
        return _named, (self._made.py_func.__module__, self._made.py_func.__name__)

    def compile(self, types: tuple[Any, ...]) -> None:
        """Compile for arguments of these types, and store; or read what is stored."""
        self._made.compile(types)

    def _load(self, types: tuple[Any, ...]) -> None:
        try:
            with install_listener("numba:compile", _Refusing(self._made)):
                return self.compile(types)
        except _NotStoredError:
            pass
        if not Kernel.told:
            Kernel.told = True
            logging.getLogger("hyperrec").warning(
                "hyperrec: compiling the kernels, once after an install or an update (up to half a minute) ..."
            )
        if "python" in (sys.executable or "").lower():  # else it is of a program that would start again
            told = pickle.dumps((sys.path, pickle.dumps((self, types))))
            with suppress(OSError):  # where no process can be started, this one compiles, whatever the last bits
                subprocess.run([sys.executable, "-c", CHILD], input=told, capture_output=True, check=False)
        self.compile(types)


def kernel(**options: Any) -> Callable[[Callable[..., None]], Kernel]:
    """Decorator: numba's options beside those that every kernel has."""
    return lambda function: Kernel(function, **options)


def _named(module: str, name: str) -> Kernel:
    from importlib import import_module

    found: Kernel = getattr(import_module(module), name)
    return found


class _NotStoredError(Exception):
    pass


class _Refusing(Listener):
    """Stops numba from compiling a function that it has not stored."""

    def __init__(self, made: Any) -> None:
        self.made = made

    def on_start(self, event: Event) -> None:
        if event.data["dispatcher"] is self.made:
            raise _NotStoredError

    def on_end(self, event: Event) -> None:
        pass
