"""lambdas/report/summary.schema.json, made of the types of lambdas/report/summary_types.py.

python -m verification.experiments.summary_schema
"""

from __future__ import annotations

import json
import re
import types
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from report import summary_types
from report.summary_types import CLOSED, NOT_HELD, TITLE, Summary

TARGET = Path(summary_types.__file__).parent / "summary.schema.json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SIMPLE = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}

Schema = dict[str, Any]


def text() -> str:
    """The schema as it lies in the file."""
    return json.dumps(of_summary(), indent=2, ensure_ascii=False) + "\n"


def of_summary() -> Schema:
    """The schema of a whole summary."""
    definitions: dict[str, Schema] = {}
    return {
        "$schema": _DIALECT,
        "title": TITLE,
        **of_form(Summary, definitions),
        "$defs": dict(sorted(definitions.items())),
    }


def of_form(form: Any, definitions: dict[str, Schema]) -> Schema:
    """The schema of a TypedDict. Those that it names are put into `definitions`, each once."""
    hints = get_type_hints(form, include_extras=True)
    schema: Schema = {
        "description": re.sub(r"\s+", " ", form.__doc__ or "").strip(),
        "type": "object",
        "required": [name for name in hints if name in form.__required_keys__],
        "properties": {name: of_type(hint, definitions) for name, hint in hints.items()},
    }
    if form in CLOSED:
        schema["additionalProperties"] = False
    return {key: value for key, value in schema.items() if value != []}


def of_type(hint: Any, definitions: dict[str, Schema]) -> Schema:
    """The schema of one annotation. Raises TypeError for a kind of type that no summary has."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is NotRequired:
        return of_type(arguments[0], definitions)
    if origin is Annotated:
        return _with_notes(arguments, definitions)
    if origin is Literal:
        return {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return _either([of_type(one, definitions) for one in arguments])
    if origin is list:
        return {"type": "array", "items": of_type(arguments[0], definitions)}
    if origin is dict:
        values = {} if arguments[1] is Any else {"additionalProperties": of_type(arguments[1], definitions)}
        return {"type": "object", **values}
    if is_typeddict(hint):
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", hint.__name__).lower()
        if name not in definitions:
            definitions[name] = {}  # its place, should it name itself
            definitions[name] = of_form(hint, definitions)
        return {"$ref": f"#/$defs/{name}"}
    if hint in _SIMPLE:
        return {"type": _SIMPLE[hint]}
    raise TypeError(f"a summary holds no {hint}")


def _with_notes(arguments: tuple[Any, ...], definitions: dict[str, Schema]) -> Schema:
    hint, *notes = arguments
    if NOT_HELD in notes:
        return {}
    schema = of_type(hint, definitions)
    for note in notes:
        schema |= {"description": note} if isinstance(note, str) else note
    return schema


def _either(choices: list[Schema]) -> Schema:
    """One of several, of which all but one are plain types: their names beside one another, or a choice where one has a name."""
    if any("$ref" in choice for choice in choices):
        return {"anyOf": choices}
    names = [choice["type"] for choice in choices]
    merged: Schema = {}
    for choice in choices:
        merged |= choice
    return merged | {"type": names}


def main() -> None:
    """Writes the file."""
    TARGET.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
