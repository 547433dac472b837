"""From ``conf/`` and a command line to a checked ``Config``, or to one message. Importing it imports nothing."""
