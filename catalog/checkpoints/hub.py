"""Fetching a checkpoint from the hub: one try, then a message that says what can be done instead."""

import os
from pathlib import Path

from catalog.errors import LoadError

PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model", "*.tiktoken", "tokenizer*")


def fetch(repository: str, revision: str | None = None, patterns: tuple[str, ...] = PATTERNS) -> Path:
    """The local folder of a hub repository, downloaded or from the cache. Safetensors are preferred to ``.bin``.

    ``HF_ENDPOINT`` names another hub, ``HF_HUB_OFFLINE=1`` uses the cache alone. Raises LoadError at once where the hub
    cannot be reached and the cache has nothing.
    """
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "5")
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "15")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    def download(more: tuple[str, ...], offline: bool) -> Path:
        return Path(snapshot_download(
            repository, revision=revision, allow_patterns=[*patterns, *more], local_files_only=offline
        ))  # fmt: skip

    try:
        folder = download((), offline=False)
        has_weights = any(folder.glob("*.safetensors"))
        return folder if has_weights else download(("*.bin",), offline=False)
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise LoadError(
            f"'{repository}' is neither a folder here nor a repository of the hub ({str(error).splitlines()[0]})"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise LoadError(
            f"'{repository}': the hub cannot be reached and its cache has no copy ({type(error).__name__}). "
            "Two ways on: give a local folder in the published layout, or fetch it where there is a network and set HF_HOME "
            "to that cache"
        ) from None
