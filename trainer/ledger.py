"""Where the wall-clock went: every second of a run belongs to exactly one account, so the accounts sum to the whole."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Ledger:
    """Accounts of seconds. Time outside every ``spend`` is ``other``; inside a nested one it is the inner account's.

    On a device that works asynchronously the seconds fall to the account that waits for the result.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {"other": 0.0}
        self._account, self._since = "other", time.perf_counter()

    def _switch(self, account: str) -> str:
        now, before = time.perf_counter(), self._account
        self.seconds[before] = self.seconds.get(before, 0.0) + now - self._since
        self._account, self._since = account, now
        return before

    @contextmanager
    def spend(self, account: str) -> Iterator[None]:
        """Book the time of the block to ``account``."""
        before = self._switch(account)
        try:
            yield
        finally:
            self._switch(before)

    def close(self) -> dict[str, float]:
        """Seconds of each account up to now."""
        self._switch(self._account)
        return dict(self.seconds)
