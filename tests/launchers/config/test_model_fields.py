"""The fields read from a page's text are those that the page has when it is imported."""

import ast
import dataclasses
import typing

import pytest

from catalog import registry
from catalog.configs import Config
from launchers.config.model_fields import PREFIX, model_fields

COMMON = {field.name for field in dataclasses.fields(Config)}


@pytest.mark.parametrize("name", registry.names())
def test_fields_types_and_defaults_are_the_pages_own(name):
    kind = registry.config_class(name)
    hints, defaults = typing.get_type_hints(kind), {field.name: field.default for field in dataclasses.fields(kind)}
    found = {key.removeprefix(PREFIX): field for key, field in model_fields(name).items()}
    own = {field.name for field in dataclasses.fields(kind)} - COMMON
    assert own - set(found) <= {
        name for name in own if any(word in str(hints[name]) for word in ("Mapping", "dict", "Config"))
    }
    for field, entry in found.items():
        assert entry.key.type == hints[field]
        assert ast.literal_eval(entry.text) == defaults[field]


@pytest.mark.parametrize("name", registry.names())
def test_the_line_of_a_field_is_where_it_stands(root, name):
    for key, field in model_fields(name).items():
        path, _, line = field.where.rpartition(":")
        assert (root / path).read_text().splitlines()[int(line) - 1].strip().startswith(f"{key.removeprefix(PREFIX)}: ")
