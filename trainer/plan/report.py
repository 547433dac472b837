"""A plan as text and as JSON."""

from dataclasses import asdict, dataclass
from typing import Any

from trainer.console import count, duration, percent, size
from trainer.plan import advice
from trainer.plan.clock import LATENCY, PRODUCTS, TRAFFIC, Gpu, Times, Traffic
from trainer.plan.simulate import Figures


@dataclass(frozen=True)
class Plan:
    """What a run would take. ``figures`` are of process ``rank``; ``sizes`` is the mesh."""

    model: str
    parameters: int
    sizes: dict[str, int]
    rank: int
    figures: Figures
    gpu: Gpu
    traffic: list[Traffic]
    times: Times
    options: Any

    @property
    def positions(self) -> int:
        """Computed positions of a step of all processes."""
        return self.figures.size.slots * self.figures.shares * self.options.batch.accumulate

    @property
    def peak(self) -> int:
        """Most bytes on the GPU."""
        return advice.on_device(self.figures, self.options.strategy.offload)

    @property
    def utilisation(self) -> float:
        """Predicted share of the GPU's peak that the model's own products are, those computed again left out."""
        useful = 3 * sum(n for (phase, _), n in self.figures.seen.flops.items() if phase == "forward")
        rate = self.gpu.fp32 if self.options.precision.dtype == "fp32" else self.gpu.bf16
        return useful / (self.times.best * rate * 1e12)


def lines(plan: Plan) -> list[tuple[str, str]]:
    """(word, text) of each line for the console."""
    f, o, t = plan.figures, plan.options, plan.times
    room, cluster = advice.usable(plan.gpu.memory), o.cluster
    where = cluster.gpu if o.strategy.name == "single" else f"{cluster.nodes} x {cluster.gpus} {cluster.gpu}"
    mesh = " x ".join(f"{name} {n}" for name, n in plan.sizes.items()) or "one process"
    states = f.bytes("weights", "frozen", "gradients", "optimizer")
    host = f"   {size(f.bytes('weights', 'gradients', 'optimizer'))} of it in main memory" if o.strategy.offload else ""
    other = max(0, f.peak - states - f.kept)
    how = (
        "every block computed"
        if f.exact
        else "the first, the last and two blocks of each stack computed, the others like them"
    )
    each = [
        ("weights", f.states["weights"]), ("frozen", f.states["frozen"]), ("gradients", f.states["gradients"]),
        ("optimizer", f.states["optimizer"]),
    ]  # fmt: skip
    table = [
        f"{what:<12} {size(sum(kinds.values())):>10}   {sum(kinds.values()):,} bytes of {', '.join(sorted(kinds))}"
        for what, kinds in each if sum(kinds.values())
    ]  # fmt: skip
    table.append(f"{'activations':<12} {size(f.kept):>10}   what the forward pass leaves for the backward pass")
    if other:
        table.append(
            f"{'passing':<12} {size(other):>10}   beside these at the peak: weights gathered, a block's work, scores"
        )
    sent = [
        f"{row.kind:<15} over {row.over} ({row.processes})   {row.calls:>6,} calls   {size(row.sent):>10}   {row.seconds:.3g} s"
        for row in plan.traffic
    ]
    found = [
        ("plan", f"{plan.model}, {plan.parameters:,} parameters\n"
         f"{where}   {o.strategy.name}: {mesh}   {o.precision.dtype}, "
         f"activations {o.memory.activations}\n{how}"),
        ("batch", f"{f.size.examples:,} rows, {f.size.slots:,} positions a process and micro batch; "
         f"{count(plan.positions)} positions a step"),
        ("memory", f"of process {plan.rank}; no other holds more\n" + "\n".join(table)),
        ("peak", f"{size(plan.peak)} of {size(room)} that tensors can have on {cluster.gpu} ({percent(plan.peak / room)}): "
         f"{'fits' if plan.peak <= room else 'does not fit'}{host}"),
    ]  # fmt: skip
    if knob := advice.first_knob(f, o, room):
        found.append(("change", knob))
    found.append(("sends", "\n".join(sent) if sent else "nothing: one process"))
    found.append(("time", f"{duration(t.best)} a step, predicted ({duration(t.worst)} if nothing overlaps), "
        f"{count(plan.positions / t.best)} positions/s, {percent(plan.utilisation)} of the peak\n"
        f"products {t.products:.3g} s   others {t.others:.3g} s   update {t.update:.3g} s   "
        f"waited for {t.waited:.3g} s   beside {t.beside:.3g} s\n"
        f"products at {percent(PRODUCTS)} of the data sheet, memory and links at {percent(TRAFFIC)}, "
        f"{LATENCY * 1e6:.0f} us a collective"))  # fmt: skip
    return found


def document(plan: Plan) -> dict[str, Any]:
    """The same as plain values, bytes and seconds."""
    f = plan.figures
    room = advice.usable(plan.gpu.memory)
    return {
        "model": plan.model,
        "parameters": plan.parameters,
        "cluster": asdict(plan.options.cluster),
        "gpu": asdict(plan.gpu),
        "strategy": plan.options.strategy.name,
        "mesh": plan.sizes,
        "rank": plan.rank,
        "every_block_computed": f.exact,
        "batch": {**f.size._asdict(), "shares": f.shares, "positions_per_step": plan.positions},
        "bytes": {
            **{what: dict(kinds) for what, kinds in f.states.items()},
            "activations": f.kept,
            "peak": plan.peak,
            "usable": room,
        },
        "fits": plan.peak <= room,
        "change": advice.first_knob(f, plan.options, room),
        "communication": [asdict(row) for row in plan.traffic],
        "flops": {f"{phase} {kind}": n for (phase, kind), n in f.seen.flops.items()},
        "predicted_seconds": {**asdict(plan.times), "best": plan.times.best, "worst": plan.times.worst},
        "predicted_utilisation": plan.utilisation,
    }
