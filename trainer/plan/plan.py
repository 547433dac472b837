"""A plan: the figures of one process of a cluster, and what they mean on its GPUs."""

from typing import Any

from torch import nn

from trainer.plan import clock, cluster, pretend
from trainer.plan.report import Plan
from trainer.plan.simulate import simulate
from trainer.task import Feed, Task


def make(model: nn.Module, title: str, task: Task, feed: Feed, options: Any, rank: int = 0) -> Plan:
    """What ``options`` would take of process ``rank`` of ``options.cluster``, without it.

    ``model`` is on ``meta``, and stays as it is. No process has larger parts of tensors than the first. Raises as
    :func:`trainer.plan.cluster.check` does, and what the strategy refuses of the model.
    """
    gpu = clock.gpus()[options.cluster.gpu]
    sizes = cluster.check(options.strategy, options.cluster)
    nodes, gpus = cluster.machines(options.strategy, options.cluster)
    with pretend.processes(nodes, gpus, rank):
        figures = simulate(model, task, feed, options)
    rows = clock.traffic(figures, gpu, sizes, gpus)
    times = clock.predict(figures, gpu, rows, options.precision.dtype)
    parameters = sum(p.numel() for p in model.parameters())
    return Plan(title, parameters, sizes, rank, figures, gpu, rows, times, options)
