"""The cluster that is planned for, and what of it a strategy takes. Loads nothing."""

from trainer.errors import OptionError
from trainer.options import ClusterOptions, StrategyOptions
from trainer.strategies import mesh

PLANNED = ("single", "ddp", "fsdp", "hsdp", "tp", "fsdp_tp", "cp")


def machines(strategy: StrategyOptions, cluster: ClusterOptions) -> tuple[int, int]:
    """(nodes, GPUs of each) that the run would have: ``single`` has one."""
    return (1, 1) if strategy.name == "single" else (cluster.nodes, cluster.gpus)


def check(strategy: StrategyOptions, cluster: ClusterOptions) -> dict[str, int]:
    """The mesh over the cluster. Raises :class:`OptionError` where the strategy is not planned yet, or does not fit it."""
    if strategy.name not in PLANNED:
        raise OptionError(f"plan=true: strategy={strategy.name} is not planned yet; planned are {', '.join(PLANNED)}")
    nodes, gpus = machines(strategy, cluster)
    return mesh.sizes(strategy, nodes * gpus, gpus)
