"""What a run says: one line an event, and below them a progress bar where the output is a terminal."""

import sys
from typing import TextIO

WIDTH = 6  # of the word a line begins with


class Console:
    """Plain lines to ``stream``; on a terminal also a bar of the steps done. ``quiet`` is for every process but the first."""

    def __init__(self, stream: TextIO | None = None, terminal: bool | None = None, quiet: bool = False):
        self.stream, self.quiet = stream or sys.stdout, quiet
        self.terminal = self.stream.isatty() if terminal is None else terminal
        self._bar = self._task = None

    def say(self, head: str, text: str) -> None:
        """``head   text``; further lines of ``text`` are indented below it."""
        if self.quiet:
            return
        lines = f"{head:<{WIDTH}} " + text.replace("\n", "\n" + " " * (WIDTH + 1))
        if self._bar is not None:
            self._bar.console.print(lines, markup=False, highlight=False, soft_wrap=True)
        else:
            print(lines, file=self.stream, flush=True)

    def start(self, done: int, total: int) -> None:
        """Show the bar."""
        if self.quiet or not self.terminal:
            return
        from rich.console import Console as Rich
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        rich = Rich(file=self.stream, force_terminal=True)
        self._bar = Progress(*columns, console=rich, transient=True, refresh_per_second=4)
        self._task = self._bar.add_task("step", total=total, completed=done)
        self._bar.start()

    def move(self, done: int, what: str = "step") -> None:
        """Move the bar to ``done`` steps."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=what)

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None


def count(value: float) -> str:
    """684, 6.8k, 684k, 1.2M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def size(bytes_: float) -> str:
    """Bytes in the largest binary unit that leaves a number above 1."""
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if bytes_ >= 1024**power:
            return f"{bytes_ / 1024**power:.1f} {unit}"
    return f"{bytes_:.0f} B"


def duration(seconds: float) -> str:
    """0.08 s, 16 s, 4:05, 2:03:09."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def percent(share: float) -> str:
    """57%, 1.6%, 0.03%."""
    return f"{share:.0%}" if share >= 0.1 or share == 0 else f"{100 * share:.2g}%"


def shares(seconds: dict[str, float]) -> str:
    """A ledger as shares of its sum, largest first, ``other`` last."""
    total = sum(seconds.values()) or 1.0
    order = sorted(seconds, key=lambda account: (account == "other", -seconds[account]))
    return " ".join(f"{account} {percent(seconds[account] / total)}" for account in order)
