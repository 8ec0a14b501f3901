"""Pydantic's findings in plain words: what is wrong, what was expected, the nearest valid key."""

from collections.abc import Iterator, Sequence
from typing import get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from pymigrate.scenario.text.fields import Model, listed, nearest, shown
from pymigrate.scenario.text.positions import Key, Mistake, Path

_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing_size": "a number of at most 64 bits",
    "bool_type": "true or false",
    "float_type": "a number",
    "float_parsing": "a number",
    "int_from_float": "a whole number",
    "finite_number": "a finite number",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "string_pattern_mismatch": "a name: a letter or _, then letters, digits, _ and -",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "string_too_short": "at least {min_length} character",
    "string_too_long": "at most {max_length} characters",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
}


def mistakes(error: ValidationError, model: type[Model], path: Path) -> Iterator[Mistake]:
    """What *error* found wrong in the data at *path*, from which a *model* was to be made."""
    seen: dict[Path, list[str]] = {}
    for details in error.errors(include_url=False):
        where = path + tuple(details["loc"])
        if where[-1:] == ("[key]",):  # a key that is no valid one of its mapping
            yield Mistake(where[:-1], f"wrong key {_expectation(details)}", at_key=True)
        elif details["type"] in ("extra_forbidden", "invalid_key"):
            yield Mistake(where, _unknown_key(details["loc"], model), at_key=True)
        elif details["type"] == "missing":
            yield Mistake(where[:-1], _missing_key(details["loc"], model))
        else:
            # A value that may be of several types fails once for each: the place is the same.
            seen.setdefault(where, []).append(_wrong_value(details))
    for where, messages in seen.items():
        yield Mistake(where, messages[0])


def expected_mapping(value: object) -> str:
    """The message about *value* where a mapping should be."""
    return f"wrong value {shown(value)}; expected a mapping"


def _wrong_value(details: ErrorDetails) -> str:
    if details["type"] == "value_error":
        return str(details["ctx"]["error"])
    return f"wrong value {_expectation(details)}"


def _expectation(details: ErrorDetails) -> str:
    """The value that *details* is about, what was expected instead, and the nearest valid one."""
    value = details["input"]
    if details["type"] == "literal_error":
        words = [
            word.strip("'") for word in details["ctx"]["expected"].replace(" or ", ", ").split(", ")
        ]
        near = nearest(value, words, "value") if isinstance(value, str) else ""
        return f"{shown(value)}; expected {listed(words)}{near}"
    expected = _EXPECTED.get(details["type"])
    if expected is None:
        return f"{shown(value)}; expected otherwise: {details['msg']}"
    hint = ""
    if details["type"] == "string_type" and isinstance(value, bool | int | float):
        hint = " in quotes, for YAML reads this otherwise"
    return f"{shown(value)}; expected {expected.format(**details.get('ctx', {}))}{hint}"


def _unknown_key(loc: Sequence[Key], model: type[Model]) -> str:
    keys = list(_fields(_model_at(loc[:-1], model)))
    near = nearest(str(loc[-1]), keys, "key")
    if isinstance(loc[-1], int):
        near = "; a list of numbers needs quotes, as in cpus: '0,1'"
    return f"unknown key {shown(loc[-1])}; expected {listed(keys)}{near}"


def _missing_key(loc: Sequence[Key], model: type[Model]) -> str:
    field = _fields(_model_at(loc[:-1], model)).get(str(loc[-1]))
    if field is None:  # an item of a list of fixed length: only runs are such
        return "too short a list; expected a run [count, node]"
    return f"missing key {shown(loc[-1])}; expected {field.description or 'it'}"


def _fields(model: type[Model]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _model_at(loc: Sequence[Key], model: type[Model]) -> type[Model]:
    """The model of the mapping at *loc* in what *model* describes."""
    for step in loc:
        field = _fields(model).get(str(step))
        if field is not None:
            model = _model_in(field.annotation) or model
    return model


def _model_in(annotation: object) -> type[Model] | None:
    """The one model that *annotation* mentions."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    for part in get_args(annotation):
        found = _model_in(part)
        if found is not None:
            return found
    return None
