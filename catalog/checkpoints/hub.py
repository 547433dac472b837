"""Fetching a checkpoint from the hub: one question, the files that loading needs, then the cache's folder.

Code in a repository (``*.py``) is never fetched.
"""

import os
from fnmatch import fnmatch
from pathlib import Path

from catalog.checkpoints.readers import BIN, BIN_INDEX, FOREIGN, SAFETENSORS, SAFETENSORS_INDEX
from catalog.errors import LoadError

TIMEOUT = 5  # seconds a hub has to answer a question; a file that has begun to come may take as long as it needs
WEIGHTS = ((SAFETENSORS_INDEX, "model-*-of-*.safetensors"), (SAFETENSORS, ""), (BIN_INDEX, "pytorch_model-*-of-*.bin"),
           (BIN, ""), *((name, "") for name in FOREIGN))  # fmt: skip
BESIDE = ("*.json", "*.txt", "*.model", "*.tiktoken", "*.bpe", "bpe.codes")  # configuration, tokenizer, processor


def fetch(repository: str, revision: str | None = None) -> Path:
    """The local folder of a hub repository, downloaded or from the cache: its settings and one form of its weights,
    safetensors where it has them.

    ``HF_ENDPOINT`` names another hub, ``HF_HUB_OFFLINE=1`` uses the cache alone; both are read at each call. A hub that
    cannot be reached costs ``TIMEOUT`` seconds, then the cache is used. Raises LoadError saying what can be done instead.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    where = f"'{repository}'" + (f" at revision '{revision}'" if revision else "")
    commit, files, reason = _ask(repository, revision, endpoint, where)

    def get(name: str, at: str | None) -> Path:
        return Path(hf_hub_download(
            repository, name, revision=at, endpoint=endpoint, etag_timeout=TIMEOUT, local_files_only=commit is None
        ))  # fmt: skip

    try:
        config = get("config.json", revision)  # asked for by the branch's name, which the cache so learns
        for name in _needed(files):
            config = get(name, commit).with_name("config.json")
        return config.parent
    except LocalEntryNotFoundError:
        raise LoadError(
            f"{where}: {reason or 'the hub stopped answering'}, and its cache has no copy. Two ways on: give a local folder "
            "in the published layout, or fetch it where there is a network and set HF_HOME to that cache"
        ) from None
    except EntryNotFoundError:
        raise LoadError(
            f"{where}: the repository has no config.json, so it is no model in the published layout"
        ) from None
    except HFValidationError as error:
        raise LoadError(f"{where} is neither a folder here nor the name of a repository ({_first(error)})") from None
    except OSError as error:
        raise LoadError(f"{where}: cannot be fetched or put into the cache ({_first(error)})") from None


def _ask(repository, revision, endpoint, where):
    """(commit, its files, "") of a repository; (``None``, (), why not) where the hub cannot be reached."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return None, (), "HF_HUB_OFFLINE forbids to ask the hub"
    hub = endpoint or "the hub"
    try:
        info = HfApi(endpoint=endpoint).model_info(repository, revision=revision, timeout=TIMEOUT)
        return info.sha, [file.rfilename for file in info.siblings], ""
    except GatedRepoError:
        raise LoadError(f"{where}: {hub} asks for its terms to be accepted; do so there, then set HF_TOKEN") from None
    except RepositoryNotFoundError:
        raise LoadError(
            f"{where} is neither a folder here nor a repository of {hub} (a private one needs HF_TOKEN)"
        ) from None
    except RevisionNotFoundError:
        raise LoadError(f"{where}: {hub} has the repository, but no such branch, tag or commit") from None
    except HFValidationError as error:
        raise LoadError(f"{where} is neither a folder here nor the name of a repository ({_first(error)})") from None
    except HfHubHTTPError as error:
        return None, (), f"{hub} answered with an error ({_first(error)})"
    except Exception as error:  # of requests, httpx or httpx2, as huggingface_hub's version has it
        return None, (), f"{hub} cannot be reached ({type(error).__name__})"


def _needed(files) -> list[str]:
    """Of a repository's files those that loading reads: settings beside the weights, and one form of the weights."""
    top = [name for name in files if "/" not in name]
    needed = [n for n in top if any(fnmatch(n, p) for p in BESIDE) and n != "config.json" and ".index." not in n]
    for first, shards in WEIGHTS:
        if first in top:
            return [*needed, first, *(name for name in top if shards and fnmatch(name, shards))]
    return needed


def _first(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]
