"""The cloud assembly is read as the CDK and CloudFormation read it."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from rehearsal.account.assembly import Assembly, FileAsset, SynthesisFailed, substituted, synthesize


def test_substitutions_replace_names_and_nothing_else() -> None:
    definition = '{"A": "${One}", "B": "{% $x & \'${Two}\' %}", "C": "$not {this}"}'

    assert (
        substituted(definition, {"One": "1", "Two": "2"}) == '{"A": "1", "B": "{% $x & \'2\' %}", "C": "$not {this}"}'
    )


def test_a_name_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\$\{Two\}"):
        substituted("${One} ${Two}", {"One": "1"})


def test_stacks_come_after_those_they_depend_on(tmp_path: Path) -> None:
    artifacts = {
        name: {
            "type": "aws:cloudformation:stack",
            "dependencies": dependencies,
            "properties": {"templateFile": f"{name}.json"},
        }
        for name, dependencies in (("Guard", ["Work"]), ("Work", ["Store", "Store.assets"]), ("Store", []))
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
    for name in artifacts:
        (tmp_path / f"{name}.json").write_text(json.dumps({"Resources": {}}))

    assert [stack.name for stack in Assembly(tmp_path).stacks()] == ["Store", "Work", "Guard"]


def test_a_folder_is_zipped_the_same_way_every_time(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "module.py").write_text("x = 1\n")
    (tmp_path / "main.py").write_text("import package.module\n")
    asset = FileAsset("bucket", "key.zip", tmp_path, is_folder=True)

    first = asset.content()
    (tmp_path / "main.py").touch()

    assert asset.content() == first
    assert zipfile.ZipFile(io.BytesIO(first)).namelist() == ["main.py", "package/module.py"]


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("sys.exit('a warning of node\\ncaptune: Mend these:\\n  - epochs\\n  - seed')", "captune: Mend these:\n  - epochs\n  - seed"),
        ("raise RuntimeError('no node')", "RuntimeError: no node"),
        ("sys.exit(3)", "app.py ended with code 3"),
    ],
    ids=["all that it says of settings", "the last line of a traceback", "its code when it says nothing"],
)  # fmt: skip
def test_a_refusal_of_the_app_is_told_in_its_own_words(program: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "cdk.json").write_text("{}")
    (tmp_path / "app.py").write_text(f"import sys; {program}")

    with pytest.raises(SynthesisFailed) as refused:
        synthesize(tmp_path, tmp_path / "out", {})

    assert str(refused.value) == message


def test_settings_reach_the_app_on_top_of_cdk_json(tmp_path: Path) -> None:
    (tmp_path / "cdk.json").write_text(json.dumps({"context": {"a": 1, "b": 2}}))
    (tmp_path / "app.py").write_text(
        "import json, os, pathlib\n"
        "out = pathlib.Path(os.environ['CDK_OUTDIR']); out.mkdir()\n"
        "(out / 'manifest.json').write_text(json.dumps({'artifacts': {}, 'context': json.loads(os.environ['CDK_CONTEXT_JSON'])}))\n"
    )

    synthesize(tmp_path, tmp_path / "out", {"b": "3"})

    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["context"] == {"a": 1, "b": "3"}
