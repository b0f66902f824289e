"""What stands around the methods of modules and schedulers, and in which order; engine thread of
the worker only, knows neither files nor jobs.

A call goes down, its answer comes up again:

    bound       a module with adapters, as a job's pipeline has it, sets what its calls ask for
    parked      the call waits until the engine runs it, for all jobs of its group at once: whatever
                is below happens once for a group, and not while a job only waits
    moved       an offloaded part is on the device from here on, and only for the time of the call
    cast        a VAE in float32 takes and gives the dtype of the rest
    turned      a module with adapters works as its job asked, which the parked call kept
    compiled    the network's own code and nothing of ours, which torch would trace
    its method  as diffusers or transformers wrote it

`build` puts this around a module for as long as it lives, but for what is bound, which is an object
of the job's own (adapters.py). A job's scheduler has layers for as long as the job's call lasts,
`replace_step`: counted, which tells of steps that were made; seeded, which gives a step its noise;
its own `step`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from worker.gathering.gather import Gather
from worker.gathering.grounding import switch_of
from worker.loading.adapters import Adapters, follow
from worker.loading.offload import Offload
from worker.loading.tuning import compile_network
from worker.loading.vaes import cast_at_edges

Layer = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes of a method one that does more."""


def build(
    module: torch.nn.Module,
    name: str,
    gather: Gather,
    *,
    adapters: Adapters | None = None,
    is_compiled: bool = False,
    cast: torch.dtype | None = None,
    offload: Offload | None = None,
) -> None:
    """Put all that is asked for around `module`, which nobody has wrapped yet; pipelines call it
    by `name`. `adapters`: those of its model; `cast`: the dtype of the rest, for a VAE that has
    another."""
    adapters = adapters or Adapters()
    if is_compiled:
        compile_network(module)
    if adapters.is_adapted(module):
        follow(module, adapters.current)
    if cast is not None:
        cast_at_edges(module, cast)
    if offload is not None:
        offload.wrap(module, name)
    gather.wrap(module, name, state=adapters.state_of(module, switch_of(module)))


@contextmanager
def replace_step(scheduler: Any, *layers: Layer) -> Iterator[None]:
    """Let `scheduler`, which belongs to one job, step through `layers`, the first innermost. At the
    end they are all gone: the cycle through them would keep tensors until the next collection."""
    step = scheduler.step
    for layer in layers:
        step = layer(step)
    scheduler.step = step
    try:
        yield
    finally:
        del scheduler.step
