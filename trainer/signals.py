"""Requests to stop, noted when they come and answered where the state of the run is whole."""

import signal
import threading
from collections.abc import Callable
from types import FrameType

import torch
from torch import Tensor

CAUGHT = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name))


class StopRequested(Exception):
    """Raised by :meth:`StopSignals.poll`; the loop saves and turns it into ``trainer.errors.Stopped``."""


class StopSignals:
    """A context in which SIGTERM, SIGINT and SIGUSR1 ask the run to stop at its next poll.

    A second SIGINT interrupts at once, for whoever does not want to wait. Outside the main thread nothing is caught:
    Python allows handlers only there. ``votes`` sums over the processes of the run: a signal to one stops all of them, at
    the same poll.
    """

    def __init__(self, votes: Callable[[Tensor], Tensor] = lambda values: values) -> None:
        self._votes = votes
        self.received: signal.Signals | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in CAUGHT}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received is signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)

    def poll(self) -> None:
        """Raise :class:`StopRequested` when a signal has come to any process; all poll together."""
        came = self._votes(torch.tensor([float(self.received == number) for number in CAUGHT]))
        if came.any():
            raise StopRequested(CAUGHT[int(came.argmax())].name)
