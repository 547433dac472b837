"""What a tracker is."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol


class Tracker(Protocol):
    """Receives every event of a run; see ``jsonl`` for their names and fields."""

    def log(self, event: str, fields: Mapping[str, Any]) -> None:
        """Note one event: names and plain values."""

    def close(self) -> None:
        """Write out what is still held."""


class Trackers:
    """Several trackers as one."""

    def __init__(self, trackers: Iterable[Tracker]):
        self._all = list(trackers)

    def log(self, event: str, fields: Mapping[str, Any]) -> None:
        for tracker in self._all:
            tracker.log(event, fields)

    def close(self) -> None:
        for tracker in self._all:
            tracker.close()
