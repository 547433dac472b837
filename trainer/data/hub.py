"""Data sets of the hub by name, through ``datasets``; when the hub cannot be reached, an error at once."""

import threading
import urllib.error
import urllib.request
from collections.abc import Sequence

import datasets
import huggingface_hub.constants
from datasets.exceptions import DatasetNotFoundError

from trainer.data.media import undecoded
from trainer.data.rows import Origin, Rows, missing_column, nearest
from trainer.errors import DataError

PATIENCE = 5.0  # seconds to answer at all; the libraries' own retries take half a minute and more
WAYS_ON = "Two ways on: data.path=FILE_OR_FOLDER for your own copy, or scale=demo for the sample that ships here"


def read(name: str, config: str | None, split: str, columns: Sequence[str] | None = None) -> Rows:
    """Split ``split`` of a hub data set, from this machine's copy where the hub is out of reach.

    DataError when there is neither, when the data set, its ``config`` or the split does not exist (with those that do),
    or when a column is missing.
    """
    reached = _reachable()
    try:
        found = _load(name, config, offline=reached is not None)
    except DatasetNotFoundError as error:
        raise DataError(f"hub data set {name!r}: {_first_line(error)}") from None
    except Exception as error:
        if reached is not None:
            raise DataError(
                f"hub data set {name!r}: the hub cannot be reached ({reached}) and this machine has no copy of it. {WAYS_ON}"
            ) from None
        raise DataError(f"hub data set {name!r}: {type(error).__name__}: {_first_line(error)}. {WAYS_ON}") from None
    if split not in found:
        near = nearest(split, list(found))
        raise DataError(
            f"hub data set {name!r} has no split {split!r}{f'; did you mean {near!r}?' if near else '.'} "
            f"Splits there: {', '.join(found)}"
        )
    data = undecoded(found[split])
    place = f"{name}{f'/{config}' if config else ''} {split}"
    unused = []
    if columns is not None:
        missing_column(columns, data.column_names, place)
        unused = [column for column in data.column_names if column not in columns]
        data = data.select_columns(list(columns))
    rows = Rows(data, Origin(((place, len(data)),)), f"{place} {data._fingerprint}", tuple(unused))
    rows.require(columns or [])
    return rows


def _load(name: str, config: str | None, offline: bool) -> datasets.DatasetDict:
    """Load every split; offline both libraries are told so, or each request would be tried for seconds."""
    constants, settings = huggingface_hub.constants, datasets.config
    before = constants.HF_HUB_OFFLINE, settings.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE, settings.HF_HUB_OFFLINE = (True, True) if offline else before
    try:
        return datasets.load_dataset(name, config)
    finally:
        constants.HF_HUB_OFFLINE, settings.HF_HUB_OFFLINE = before


def _reachable() -> str | None:
    """None when the hub answers, whatever it answers; else why not. A name server that hangs counts as out of reach."""
    if huggingface_hub.constants.HF_HUB_OFFLINE or datasets.config.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    why: list[str | None] = [f"no answer in {PATIENCE:g} s"]

    def ask() -> None:
        request = urllib.request.Request(huggingface_hub.constants.ENDPOINT, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=PATIENCE).close()
            why[0] = None
        except urllib.error.HTTPError as error:
            why[0] = None if error.code < 500 else f"it answers {error.code}"
        except (OSError, ValueError) as error:
            why[0] = str(getattr(error, "reason", error))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return why[0]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
