"""What can stop a run, each with the exit code of the program that meets it and a message that is complete by itself."""


class TrainerError(Exception):
    """Base of all errors of the trainer; ``exit_code`` is what the program ends with."""

    exit_code = 1


class OptionError(TrainerError):
    """Options that are each possible but not together, or not with this task."""

    exit_code = 2


class DataError(TrainerError):
    """Rows, labels or token ids that cannot be trained on, or a loss that stays non-finite."""

    exit_code = 3


class DeviceError(TrainerError):
    """A device that is absent, lacks what was asked of it, or ran out of memory."""

    exit_code = 4


class DiskError(TrainerError):
    """A file that could not be written or read back."""

    exit_code = 4


class Stopped(TrainerError):
    """The run was asked to stop, saved what it had and can be resumed."""

    exit_code = 5
