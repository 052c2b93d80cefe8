"""Reading cdk.json: each usual typing error is named by its line and its fix, in every command that reads it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from captune import account
from stacks.configuration.cdk_json import read_context
from stacks.configuration.settings import SettingsError
from tests.doubles import PATIENCE_SECONDS
from tests.doubles.aws_account import said

ROOT = Path(__file__).resolve().parents[2]
LICENCE, MAIL = '"accept_eula": false', '"alert_email": ""'
TEXT = f'{{\n  "context": {{\n    {MAIL},\n    {LICENCE},\n    "seed": 42\n  }}\n}}\n'


@pytest.mark.parametrize(
    ("right", "typed", "told"),
    [
        (LICENCE, '"accept_eula": True', "line 4: write true, not True"),
        (LICENCE, '"accept_eula": no', "line 4: write false, not no"),
        (MAIL, '"alert_email": None', 'line 3: write "", not None'),
        (f"{LICENCE},", LICENCE, "line 4: put a comma at the end"),
        (f"{LICENCE},", f"{LICENCE},,", "line 4: delete one of the two commas"),
        ('"seed": 42', '"seed": 42,', "line 5: delete the comma at the end"),
        (MAIL, "\"alert_email\": 'me@example.com'", "line 3: write straight double quotes"),
        (MAIL, '"alert_email": “me@example.com”', "line 3: write straight double quotes"),
        (MAIL, '"alert_email": me@example.com', 'line 3: put me@example.com in double quotes: "me@example.com"'),
        (MAIL, 'alert_email: ""', 'line 3: put alert_email in double quotes: "alert_email"'),
        (MAIL, '"alert_email": "me@example.com', "line 3: close the quotation marks"),
        (MAIL, '"alert_email": "a\\x"', "line 3: write \\\\ for a backslash"),
        (f"{LICENCE},", f"{LICENCE},  // Meta's", "line 4: delete the comment"),
        (MAIL, '"alert_email" = ""', "line 3: Expecting ':' delimiter"),
        ("  }\n}\n", "", "line 5: the file ends too early"),
        (TEXT, "", "is empty. Restore it: git checkout cdk.json"),
        (TEXT, "[]", 'has no object "context"'),
        ('"context"', '"contexts"', 'has no object "context"'),
    ],
)
def test_a_typing_error_is_named_by_line_and_fix(tmp_path: Path, right: str, typed: str, told: str) -> None:
    (tmp_path / "cdk.json").write_text(TEXT.replace(right, typed), "utf-8")
    with pytest.raises(SettingsError) as refused:
        read_context(tmp_path)
    assert f"cdk.json {told}" in str(refused.value)


def test_a_file_that_is_missing_or_not_utf_8_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cdk.json cannot be read .*git checkout cdk.json"):
        read_context(tmp_path)
    (tmp_path / "cdk.json").write_text(TEXT, "utf-16")
    with pytest.raises(SettingsError, match="not UTF-8"):
        read_context(tmp_path)
    (tmp_path / "cdk.json").write_text(TEXT, "utf-8-sig")
    assert read_context(tmp_path)["seed"] == 42


@pytest.mark.parametrize("words", [["check", "mine.txt"], ["check"], ["estimate"], ["ledger"], ["fetch", "one"]])
def test_every_command_names_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    (tmp_path / "cdk.json").write_text(TEXT.replace("false", "True"), "utf-8")
    monkeypatch.setattr(account, "PROJECT", tmp_path)
    assert said(*words) == (1, "cdk.json line 4: write true, not True\n")


@pytest.mark.slow
def test_the_app_names_the_line(tmp_path: Path) -> None:
    shutil.copy(ROOT / "app.py", tmp_path)
    (tmp_path / "cdk.json").write_text(TEXT.replace("false", "True"), "utf-8")
    done = subprocess.run([sys.executable, "app.py"], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_SECONDS)  # fmt: skip
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "captune: cdk.json line 4: write true, not True")
