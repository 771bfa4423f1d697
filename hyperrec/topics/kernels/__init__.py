"""The loops of the E-step and the M-step, a file a family: typed contiguous arrays in, arrays out, no checks.

Every kernel works on *lifts*, lift_vt = p(t|v) / p(t), and the prior p(t). In these terms the posterior of an edge is

    p_te  ~  p(t) * prod_{v in e} lift_vt * context_t

for every model of the family (see `topics.em`). The work is cut into parts or chunks whose bounds depend on the data alone;
each adds to rows of its own, and what several of them share is added in their order: the number of threads changes no bit.
"""

import logging

from numba.core.event import Event, Listener, register

REORDER = {"reassoc", "contract", "nsz"}
"""Flags that let sums be reordered into vector lanes; nan and infinity keep their meaning. Not "arcp": with it the process that
compiles a kernel gets other last bits than those that read it from numba's cache."""


class _CompileNotice(Listener):
    """Says, once in a process, that the first call of a parallel kernel compiles it: others take a moment, cached ones none."""

    told = False

    def on_start(self, event: Event) -> None:
        kernel = event.data["dispatcher"]
        ours = kernel.py_func.__module__.startswith(f"{__name__}.") and kernel.targetoptions.get("parallel")
        if ours and not self.told:
            self.told = True
            logging.getLogger("hyperrec").warning(
                "hyperrec: compiling the kernels, once after an install or an update (up to half a minute) ..."
            )

    def on_end(self, event: Event) -> None:
        pass


register("numba:compile", _CompileNotice())
