"""How many processes a strategy divides into what: inferred from their number, or refused with what would fit."""

from typing import TYPE_CHECKING

from trainer.errors import OptionError
from trainer.options import StrategyOptions
from trainer.strategies import processes

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

# The dimensions of each strategy's mesh, the innermost (neighbouring processes, most traffic) last. Of two, the one that
# an option gives decides the other. "data" is a whole model or stage each, "shard" a part of every tensor each.
DIMENSIONS = {
    "single": (),
    "ddp": ("data",),
    "fsdp": ("shard",),
    "hsdp": ("replicas", "shard"),
    "tp": ("tp",),
    "fsdp_tp": ("shard", "tp"),
    "cp": ("shard", "cp"),
    "pp": ("pp",),
    "pp_fsdp": ("pp", "shard"),
    "deepspeed_zero1": ("shard",),
    "deepspeed_zero2": ("shard",),
    "deepspeed_zero3": ("shard",),
}
GIVEN = ("tp", "cp", "pp", "replicas")  # the dimensions that are options
ABOUT = {**{name: name for name in GIVEN}, "schedule": "pp", "chunks": "pp"}  # an option, the dimension it is about


def check(options: StrategyOptions) -> dict[str, int]:
    """The mesh of the processes that were started. Raises as :func:`sizes` and :func:`processes.check` do; loads nothing."""
    processes.check(options.name)
    return sizes(options, processes.world(), processes.local_world())


def sizes(options: StrategyOptions, world: int, local: int | None = None) -> dict[str, int]:
    """Size of each dimension of the mesh, outermost first; their product is ``world``.

    ``local`` is the number of processes a machine. A size that is not given is the number of processes where nothing
    else divides them (``tp``, ``cp``, ``pp``); of ``fsdp_tp`` and ``pp_fsdp`` the smallest divisor; ``replicas`` is the
    number of machines, or the smallest divisor on one. Raises :class:`OptionError` with the legal sizes.
    """
    name, dimensions = options.name, DIMENSIONS[options.name]
    for given, about in ABOUT.items():
        if getattr(options, given) is not None and about not in dimensions:
            users = [other for other, its in DIMENSIONS.items() if about in its]
            raise OptionError(
                f"strategy.{given}={getattr(options, given)} means nothing to strategy={name}: it has no such division\n"
                f"   leave it out, or choose strategy={' or strategy='.join(users)}"
            )
    if options.compile and {"tp", "cp"} & set(dimensions):
        raise OptionError(
            f"strategy.compile=true and strategy={name}: compiled blocks were not compared with one process there yet\n"
            "   choose strategy.compile=false, or strategy=fsdp"
        )
    if options.chunks is not None and options.schedule != "interleaved":
        raise OptionError(
            f"strategy.chunks={options.chunks}: several stages a process need strategy.schedule=interleaved\n"
            "   add it, or leave strategy.chunks out"
        )
    if len(dimensions) < 2:
        asked = getattr(options, dimensions[0], None) if dimensions else None
        if asked not in (None, world):
            more = {"tp": "fsdp_tp", "pp": "pp_fsdp"}[name]
            raise OptionError(
                f"strategy.{name}={asked} and {world} processes: strategy={name} takes all of them; "
                f"legal: {name}={world}\n   or strategy={more}, which divides the rest among copies of each part"
            )
        return dict.fromkeys(dimensions, world)
    chosen = next(d for d in dimensions if d in GIVEN)
    asked = getattr(options, chosen)
    size = _inferred(name, chosen, world, local or world) if asked is None else asked
    if world % size:
        raise OptionError(
            f"strategy.{chosen}={size} does not divide {world} processes; legal: {chosen}={_list(divisors(world))}\n"
            f"   or start {' or '.join(map(str, _multiples(size, world)))} processes (--nproc-per-node)"
        )
    return {d: size if d == chosen else world // size for d in dimensions}


def _inferred(name: str, chosen: str, world: int, local: int) -> int:
    if name == "cp":
        return world
    if chosen == "replicas" and local < world and world % local == 0:
        return world // local
    between = divisors(world)[1:-1]
    if not between:
        raise OptionError(
            f"strategy={name} divides the processes twice, and {world} cannot be\n"
            f"   start {' or '.join(map(str, _composite(world)))} of them, or choose strategy=fsdp; "
            f"legal here: strategy.{chosen}={_list(divisors(world))}"
        )
    return between[0]


def divisors(n: int) -> list[int]:
    """All divisors of ``n``, smallest first."""
    return [d for d in range(1, n + 1) if n % d == 0]


def _list(numbers: list[int]) -> str:
    return ",".join(map(str, numbers))


def _multiples(size: int, world: int) -> list[int]:
    """The multiples of ``size`` nearest to ``world``."""
    return [n for n in (world // size * size, (world // size + 1) * size) if n]


def _composite(world: int) -> list[int]:
    """The nearest numbers of processes that divide twice."""
    below = [n for n in range(4, world) if len(divisors(n)) > 2][-1:]
    above = next(n for n in range(max(world, 4), 2 * world + 4) if len(divisors(n)) > 2)
    return [*below, above]


def make(options: StrategyOptions, device: str) -> "DeviceMesh":
    """The mesh of this run over processes that have joined, with a group for each dimension. ``device``: cpu or cuda."""
    from torch.distributed.device_mesh import init_device_mesh

    found = check(options)
    return init_device_mesh(device, tuple(found.values()), mesh_dim_names=tuple(found))
