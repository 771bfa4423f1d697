"""The loops of the E-step and the M-step, a file a family: typed contiguous arrays in, arrays out, no checks.

Every kernel works on *lifts*, lift_vt = p(t|v) / p(t), and the prior p(t). In these terms the posterior of an edge is

    p_te  ~  p(t) * prod_{v in e} lift_vt * context_t

for every model of the family (see `topics.em`). The work is cut into parts or chunks whose bounds depend on the data alone;
each adds to rows of its own, and what several of them share is added in their order: the number of threads changes no bit.
"""

REORDER = {"reassoc", "contract", "nsz", "arcp"}
"""Flags that let sums be reordered into vector lanes; nan and infinity keep their meaning."""
