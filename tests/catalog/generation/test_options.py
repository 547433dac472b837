"""Options that do not exist or contradict each other are refused in one sentence; published files are read."""

import json

import pytest

from catalog.errors import ConfigError
from catalog.generation.options import Decoding


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beam": 4}, "no decoding option 'num_beam'; did you mean 'num_beams'?"),
        ({"max_tokens": 4}, "no decoding option 'max_tokens'; did you mean '"),
        ({"num_beams": 0}, "num_beams: 0 is not 1 or more"),
        ({"num_beams": 2.5}, "num_beams: 2.5 is not int"),
        ({"temperature": 0.0, "do_sample": True}, "temperature: 0.0 is not larger than 0; for the best token"),
        ({"temperature": 0.7}, "temperature would change nothing without do_sample=True"),
        ({"top_p": 0.9, "top_k": 3}, "top_k, top_p would change nothing without do_sample"),
        ({"top_p": 1.5, "do_sample": True}, "top_p: 1.5 is not larger than 0 and at most 1"),
        ({"length_penalty": 2.0}, "length_penalty would change nothing with num_beams=1"),
        ({"early_stopping": "now", "num_beams": 2}, "early_stopping: 'now' is not True, False or"),
        ({"max_length": 4, "max_new_tokens": 3}, "max_length and max_new_tokens are two limits"),
        ({"max_new_tokens": 4, "min_new_tokens": 5}, "min_new_tokens is larger"),
        ({"num_beams": 4, "num_beam_groups": 3, "diversity_penalty": 0.1}, "does not divide"),
        ({"num_beams": 4, "num_beam_groups": 2, "do_sample": True}, "groups of beams are not drawn"),
        ({"num_beams": 4, "diversity_penalty": 0.5}, "give num_beam_groups"),
        ({"num_beams": 2, "num_return_sequences": 3}, "larger than num_beams"),
        ({"num_return_sequences": 3}, "draw several texts"),
        ({"penalty_alpha": 0.6}, "give top_k"),
        ({"penalty_alpha": 0.6, "top_k": 4, "num_beams": 2}, "contrastive"),
        ({"stop_strings": ["."], "num_beams": 2}, "stop_strings end one text"),
        ({"stop_strings": "."}, "stop_strings: '.' is not tuple"),
        ({"bad_words_ids": [3]}, "bad_words_ids: \\(3,\\) is not a list of lists"),
        ({"forced_decoder_ids": [[1]]}, "pairs of length and id"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Decoding().having(**options)
    assert caught.value.exit_code == 2


def test_the_later_limit_stands():
    assert Decoding(max_length=20).having(max_new_tokens=5).max_length is None
    assert Decoding(max_new_tokens=5).having(max_length=20).max_new_tokens is None
    assert Decoding(max_new_tokens=5).having(num_beams=2).max_new_tokens == 5


def test_none_is_not_set():
    assert Decoding(repetition_penalty=1.2).having(repetition_penalty=None) == Decoding()


def test_lists_become_tuples():
    d = Decoding().having(bad_words_ids=[[1, 2], [3]], suppress_tokens=[4])
    assert d.bad_words_ids == ((1, 2), (3,)) and d.suppress_tokens == (4,)


PUBLISHED = {
    "model_type": "bart", "num_beams": 4, "length_penalty": 2.0, "early_stopping": True, "no_repeat_ngram_size": 3,
    "forced_bos_token_id": 0, "max_length": 142, "min_length": 56, "temperature": 1.0, "top_k": 50, "do_sample": False,
    "forced_eos_token_id": None, "transformers_version": "4.27.0",
}  # fmt: skip


def test_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED))
    want = Decoding(
        num_beams=4, length_penalty=2.0, early_stopping=True, no_repeat_ngram_size=3, forced_bos_token_id=0,
        max_length=142, min_length=56,
    )  # fmt: skip
    assert Decoding.read(tmp_path) == want
    sampled = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "max_length": 4096, "eos_token_id": [2, 3]}
    (tmp_path / "generation_config.json").write_text(json.dumps(sampled))
    want = Decoding(do_sample=True, temperature=0.6, top_p=0.9, max_length=4096, eos_token_id=(2, 3))
    assert Decoding.read(tmp_path) == want


def test_read_names_the_file(tmp_path):
    with pytest.raises(ConfigError, match=r"neither generation_config\.json nor config\.json"):
        Decoding.read(tmp_path)
    path = tmp_path / "generation_config.json"
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"generation_config\.json: not JSON"):
        Decoding.read(tmp_path)
    path.write_text(json.dumps({"do_sample": True, "top_p": 3.0}))
    with pytest.raises(ConfigError, match=r"generation_config\.json: decoding\.top_p: 3\.0"):
        Decoding.read(tmp_path)
