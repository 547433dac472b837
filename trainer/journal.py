"""The two voices of a run: lines for people on the console, events for programs in the log."""

from collections.abc import Iterable, Mapping
from typing import Any

from trainer.console import Console
from trainer.progress import Progress
from trainer.tracking.base import Tracker


class Journal:
    """Says lines and notes events; an event carries the step the run is at unless it has its own."""

    def __init__(self, console: Console, trackers: Iterable[Tracker], progress: Progress):
        self.console, self._trackers, self._progress = console, list(trackers), progress
        self.say = console.say

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """Hand an event to every tracker; names and fields are listed in ``trainer.tracking.jsonl``."""
        for tracker in self._trackers:
            tracker.log(name, {"step": self._progress.step, **fields})

    def close(self) -> None:
        """Take the progress bar away and close the trackers."""
        self.console.stop()
        for tracker in self._trackers:
            tracker.close()
