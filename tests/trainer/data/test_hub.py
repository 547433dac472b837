"""The hub: out of reach is said at once, with the ways on; a copy on this machine is used."""

import http.server
import socket
import threading

import datasets
import huggingface_hub.constants
import pytest

from trainer.data import hub
from trainer.errors import DataError


def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)


@pytest.fixture
def unreachable(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)


def test_out_of_reach_names_the_ways_on(unreachable):
    with pytest.raises(
        DataError, match=r"'some/set': the hub cannot be reached \(.*refused.*data\.path=.*scale=demo"
    ) as error:
        hub.read("some/set", "sst2", "train")
    assert error.value.exit_code == 3
    assert not huggingface_hub.constants.HF_HUB_OFFLINE and not datasets.config.HF_HUB_OFFLINE  # as they were


def test_told_to_be_offline(unreachable, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="HF_HUB_OFFLINE is set"):
        hub.read("some/set", None, "train")


def test_a_server_that_never_answers(monkeypatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(hub, "PATIENCE", 0.1)
        assert hub._reachable()


@pytest.mark.parametrize(("status", "reached"), [(200, True), (404, True), (503, False)])
def test_what_counts_as_an_answer(monkeypatch, status, reached):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.handle_request, daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    why = hub._reachable()
    server.server_close()
    assert why is None if reached else why == f"it answers {status}"


@pytest.fixture
def copy(unreachable, monkeypatch):
    """What ``datasets`` finds offline."""
    data = datasets.Dataset.from_dict({"sentence": ["a", "b"], "label": [0, None], "idx": [0, 1]})

    def load_dataset(name, config):
        assert datasets.config.HF_HUB_OFFLINE and huggingface_hub.constants.HF_HUB_OFFLINE
        return datasets.DatasetDict({"train": data, "validation": data})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


def test_the_copy_on_this_machine(copy):
    rows = hub.read("some/set", "sst2", "train", columns=["sentence"])
    assert rows.data.to_dict() == {"sentence": ["a", "b"]} and rows.unused == ("label", "idx")
    assert rows.where(1) == "some/set/sst2 train row 2"


@pytest.mark.parametrize(
    ("split", "columns", "message"),
    [
        ("validaton", None, r"no split 'validaton'; did you mean 'validation'\? Splits there: train, validation"),
        ("train", ["sentense"], r"some/set/sst2 train: no column 'sentense'; did you mean 'sentence'\?"),
        ("train", ["label"], r"some/set/sst2 train row 2: column 'label' has no value"),
    ],
)
def test_faults_of_a_hub_data_set(copy, split, columns, message):
    with pytest.raises(DataError, match=message):
        hub.read("some/set", "sst2", split, columns)
