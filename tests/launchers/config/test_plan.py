"""``plan=true`` on the command line."""

import pytest

from launchers.config.errors import OptionError
from launchers.config.load import load

RUN = ["recipe=llama_clm", "strategy=fsdp"]


def test_a_plan_is_asked_for_as_text_or_json():
    assert load([*RUN, "plan=true"]).command == ("plan", "table")
    assert load([*RUN, "print=json", "plan=true"]).command == ("plan", "json")


def test_the_cluster_is_a_group_with_keys():
    cluster = load([*RUN, "plan=true", "cluster=a100", "cluster.nodes=64"]).config.cluster
    assert (cluster.nodes, cluster.gpus, cluster.gpu) == (64, 8, "a100-80")


@pytest.mark.parametrize(
    "more, message",
    [
        (["plan=yes"], "plan=yes: not a plan"),
        (["plan=true", "print=config"], "plan=true with print=config"),
        (["plan=true", "explain=seed"], "plan=true with explain=seed"),
        (["plan=true", "cluster.gpu=h1000"], "did you mean 'h100'"),
        (["plan=true", "cluster.nodes=0"], "cluster.nodes=0"),
    ],
)
def test_what_is_no_plan_is_refused(more, message):
    with pytest.raises(OptionError) as raised:
        load([*RUN, *more])
    assert message in str(raised.value) and raised.value.exit_code == 2
