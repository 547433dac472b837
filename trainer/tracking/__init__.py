"""Where the figures of a run go: always a file of JSON lines (``jsonl``), other trackers beside it by choice."""
