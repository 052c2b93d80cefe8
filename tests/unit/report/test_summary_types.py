"""The form of a summary stands once, in types: the schema and the words of the verdict follow from it."""

# Without deferred annotations, as the types themselves.
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict, get_args, get_type_hints

import pytest

from verification.experiments.reports import schema
from verification.experiments.reports.examples import KINDS
from report.findings.verdict import VERDICTS
from report.summary_types import NOT_HELD, Summary, Verdict

EXAMPLE = Path(__file__).resolve().parents[3] / "results" / "example" / "summary.json"
# What came after the run that lies in results/example.
LATER = {"headline", "outside"}


def test_the_schema_in_the_file_is_the_one_of_the_types() -> None:
    assert schema.TARGET.read_text("utf-8") == schema.text(), (
        "make it again: python -m verification.experiments.reports.schema"
    )


def test_the_words_of_the_verdict_are_those_of_the_rule() -> None:
    assert get_args(Verdict) == VERDICTS


@pytest.mark.parametrize("name", KINDS)
def test_what_is_built_has_every_key_of_the_type_and_no_other(made: Mapping[str, Any], name: str) -> None:
    assert Summary.__required_keys__ <= made[name].keys() <= get_type_hints(Summary).keys()


def test_an_earlier_run_lacks_what_came_later_and_nothing_else() -> None:
    assert Summary.__required_keys__ - json.loads(EXAMPLE.read_text("utf-8")).keys() <= LATER


class Inner(TypedDict):
    """A part."""

    words: Annotated[int, NOT_HELD]


class Outer(TypedDict):
    """Of every
    kind."""

    text: Annotated[str, {"minLength": 1}, "Why."]
    number: float | None
    choice: Literal["a", "b"]
    fixed: Literal[1]
    inner: Inner | None
    inners: NotRequired[list[Inner]]
    free: dict[str, Any]
    seconds: dict[str, Annotated[float, {"minimum": 0}]]


def test_each_kind_of_type_has_its_schema() -> None:
    definitions: dict[str, schema.Schema] = {}
    found = schema.of_form(Outer, definitions)
    assert found["description"] == "Of every kind."
    assert found["required"] == ["text", "number", "choice", "fixed", "inner", "free", "seconds"]
    assert found["properties"] == {
        "text": {"type": "string", "minLength": 1, "description": "Why."},
        "number": {"type": ["number", "null"]},
        "choice": {"enum": ["a", "b"]},
        "fixed": {"const": 1},
        "inner": {"anyOf": [{"$ref": "#/$defs/inner"}, {"type": "null"}]},
        "inners": {"type": "array", "items": {"$ref": "#/$defs/inner"}},
        "free": {"type": "object"},
        "seconds": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
    }
    assert definitions["inner"]["properties"] == {"words": {}}, "told and not held"


def test_a_type_that_no_summary_has_is_refused() -> None:
    with pytest.raises(TypeError, match="a summary holds no"):
        schema.of_type(bytes, {})
