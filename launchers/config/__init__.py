"""From ``conf/`` and a command line to a checked ``Config``, or to one message. Imports Hydra at most, and only when asked."""
