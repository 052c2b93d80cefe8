"""Reads the settings in cdk.json. A typing error in it is named by its line and its fix."""

import json
import re
from pathlib import Path
from typing import Any

from stacks.configuration.settings import SettingsError

FILE = "cdk.json"
_RESTORE = "Restore it: git checkout cdk.json"
_MEANT = {"true": "true", "yes": "true", "false": "false", "no": "false", "none": '""'}  # by the word in lower case
_COMMENT = re.compile(r"#|//|/\*")
_WORD = re.compile(r'[^\s"\',:{}\[\]]+')


def read_context(project: Path) -> dict[str, Any]:
    """The settings in a project's cdk.json, as they are written there. Raises SettingsError."""
    try:
        text = (project / FILE).read_text("utf-8-sig")  # Windows' editors write the mark, and the CDK accepts it
    except OSError as error:
        raise SettingsError(f"{project / FILE} cannot be read ({error.strerror}). {_RESTORE}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{FILE} is not UTF-8. Save it as UTF-8.") from None
    if not text.strip():
        raise SettingsError(f"{FILE} is empty. {_RESTORE}")
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        line, fix = _fix(text, error)
        raise SettingsError(f"{FILE} line {line}: {fix}") from None
    context = found.get("context") if isinstance(found, dict) else None
    if not isinstance(context, dict):
        raise SettingsError(f'{FILE} has no object "context" with the settings. {_RESTORE}')
    return context


def _fix(text: str, error: json.JSONDecodeError) -> tuple[int, str]:
    """The line of a typing error and its fix, as far as the place where reading stopped shows it."""
    before, rest = text[: error.pos].rstrip(), text[error.pos :].lstrip()
    line, earlier = text[: len(text) - len(rest)].count("\n") + 1, before.count("\n") + 1
    last, word = before[-1:], (found[0] if (found := _WORD.match(rest)) else "")
    if error.msg.startswith(("Invalid control character", "Unterminated string")):
        return error.lineno, "close the quotation marks"
    if error.msg.startswith("Invalid \\escape"):
        return error.lineno, "write \\\\ for a backslash"
    if not rest:
        return earlier, f"the file ends too early: a closing }} or ] is missing. {_RESTORE}"
    if _COMMENT.match(rest):
        return line, "delete the comment: JSON has none"
    if meant := _MEANT.get(word.lower()):
        return line, f"write {meant}, not {word}"
    if rest[0] in "'‘’“”":
        return line, f'write straight double quotes ("), not {rest[0]}'
    if last == "," and rest[0] in "}],":
        return (line, "delete one of the two commas") if rest[0] == "," else (earlier, "delete the comma at the end")
    if error.msg.startswith("Illegal trailing comma"):  # Python 3.13 stops at the comma
        return line, "delete the comma at the end"
    if error.msg.startswith("Expecting ',' delimiter") and line > earlier:
        return earlier, "put a comma at the end"
    if error.msg.startswith(("Expecting property name", "Expecting value")) and word:
        return line, f'put {word} in double quotes: "{word}"'
    return line, f"{error.msg}. The JSON is wrong at {rest.splitlines()[0][:40]!r}"
