"""`captune export`: what each form holds, what is refused before anything is written, and that a failure leaves no folder behind."""

import json
import re
import shutil
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from captune import converters, export
from captune.kept_run import KeptRun
from rehearsal.models.weights import NAME
from stacks.configuration.catalog import BASE_MODELS
from tests.doubles.aws_account import Answers, FakeSession, said
from tests.doubles.rehearsal.toy_models import FAMILIES, References, make_adapter
from tests.doubles.run_bucket import RUN, kept_here

LLAMA = BASE_MODELS["llama-2-7b"]
assert LLAMA.jumpstart
URI = f"s3://jumpstart-private-cache-prod-us-east-1/{LLAMA.jumpstart.weights_prefix}"
# In place of a converter: writes its own arguments as the GGUF file, or ends as ENDS says.
CONVERTER = 'import sys\nENDS = ""\nif ENDS: sys.exit(ENDS)\nopen(sys.argv[3], "w").write(" ".join(sys.argv[1:]))\n'
CHATML = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A base model and an adapter of some thousand weights."""
    base, adapter = (tmp_path_factory.mktemp("toys") / name for name in ("base", "adapter"))
    FAMILIES["Llama 2"].make(base)
    make_adapter(base, adapter)
    (base / "LICENSE.txt").write_text("the licence")
    (base / "NOTICE.txt").write_text("the base model's own")
    return base, adapter


@pytest.fixture
def results(toys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one fetched run, and converters that say what they were given."""
    shape = {"hidden_size": 32, "layers": 2, "architecture": "LlamaForCausalLM", "name": "Tiny"}
    model = {"name": LLAMA.name, "weightsUri": URI}
    folder = kept_here(tmp_path, shape, toys[1], acceptEula=True, baseModel=model)
    (folder / "MODEL_CARD.md").write_text("# The model card")
    for script in (converters.ADAPTER, converters.MODEL):
        (tmp_path / script).write_text(CONVERTER)
    monkeypatch.setattr(converters, "ensure_converters", lambda: tmp_path)
    return tmp_path


def exported(results: Path, *words: object) -> tuple[str, Path]:
    """What the command prints, and its folder."""
    return said("export", RUN, "--results", results, "--out", results / "out", *words)[1], results / "out"


def test_the_peft_form_names_the_base_model_on_the_hub_and_its_licence(results: Path) -> None:
    told, out = exported(results, "--to", "peft", "--json")
    assert json.loads(told)["files"] == ["NOTICE.txt", "README.md", "adapter_config.json", "adapter_model.safetensors"]
    assert '"base_model_name_or_path": "meta-llama/Llama-2-7b-hf"' in (out / "adapter_config.json").read_text("utf-8")
    assert (out / "README.md").read_text("utf-8") == "# The model card"
    assert "Llama 2 is licensed under the Llama 2 Community License, Cop" in (out / "NOTICE.txt").read_text("utf-8")
    assert "apache-2.0" in export.notice(NAME, "us-east-1") and "see its publisher" in export.notice("Own", "us-east-1")
    assert "is there already" in exported(results, "--to", "peft")[0]


def test_a_gated_models_adapter_needs_the_hubs_configuration(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [{"LocalPath": f"/model/{name}", "Url": name} for name in ("config.json", "LICENSE.txt", "a.safetensors")]
    hub = Answers("sagemaker", create_hub_content_presigned_urls={"AuthorizedUrlConfigs": listed})
    monkeypatch.setattr(boto3, "Session", lambda **_: FakeSession(sagemaker=hub))
    fetched = iter([b"{}", b"the licence"])  # and nothing else
    monkeypatch.setattr(export, "fetch", lambda url: next(fetched))
    told, out = exported(results, "--to", "gguf")
    assert {path.name for path in out.iterdir()} == {"medical-lora.gguf", "README.md", "NOTICE.txt", "LICENSE.txt"}
    given = (out / "medical-lora.gguf").read_text("utf-8")
    assert given.startswith(str(results / RUN / "adapter")) and "--outtype f16 --base" in given
    assert (out / "LICENSE.txt").read_text("utf-8") == "the licence" and not list(fetched)
    shutil.rmtree(out)
    file, fetched = results / RUN / "plan.json", iter([b"the licence"])
    plan = file.read_text("utf-8")
    del listed[0]
    file.write_text(plan.replace('"acceptEula": true', '"acceptEula": false'))
    assert "hub shows no config.json" in exported(results, "--to", "gguf")[0] and not out.exists()
    asked = [one["AccessConfig"] for one in hub.called("create_hub_content_presigned_urls")]
    assert asked == [{"AcceptEula": accepted, "ExpectedS3Url": URI} for accepted in (True, False)]
    file.write_text(plan.replace(URI, "s3://own/weights/"))
    assert "--base FOLDER" in exported(results, "--to", "gguf")[0] and not out.exists()


def test_merged_weights_answer_as_base_and_adapter_do(results: Path, toys: tuple[Path, Path]) -> None:
    told, out = exported(results, "--to", "merged", "--base", str(toys[0]))
    merged: Any = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    text = torch.tensor([AutoTokenizer.from_pretrained(out)("the cell binds a gene")["input_ids"]])
    references = References(toys)
    with torch.inference_mode():
        assert torch.allclose(merged(text).logits, references.tuned(text).logits, atol=1e-4)
        with references.tuned.disable_adapter():
            assert not torch.allclose(merged(text).logits, references.tuned(text).logits, atol=0.1)
    assert (out / "LICENSE.txt").read_text("utf-8") == "the licence"
    assert "holds for these files too" in (out / "NOTICE.txt").read_text("utf-8")


def test_a_merged_gguf_has_a_modelfile_and_leaves_no_other_weights(results: Path, toys: tuple[Path, Path]) -> None:
    told, out = exported(results, "--to", "merged", "--base", str(toys[0]), "--gguf", "q8_0")
    assert f"ollama create medical -f {out / 'Modelfile'}" in told
    beside = {"Modelfile", "README.md", "NOTICE.txt", "LICENSE.txt"}
    assert {path.name for path in out.iterdir()} == {"medical-q8_0.gguf", *beside}
    assert "--outtype q8_0" in (out / "medical-q8_0.gguf").read_text("utf-8")
    expected = 'FROM ./medical-q8_0.gguf\nTEMPLATE """{{ .Prompt }}"""\nPARAMETER stop "</s>"\n'
    assert (out / "Modelfile").read_text("utf-8") == expected


def test_ollamas_template_asks_as_the_models_own_does(toys: tuple[Path, Path], tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(toys[0])
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(tmp_path)
    text = export.modelfile("x.gguf", tmp_path)
    template = re.findall(r'TEMPLATE """(.*?)"""', text, re.DOTALL)[0].partition("{{ .Response }}")[0]
    asked = re.sub(r"{{ (if .System|end) }}", "", template)
    asked = asked.replace("{{ .System }}", "Be brief.").replace("{{ .Prompt }}", "Hello")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    assert asked == tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert 'SYSTEM """Be kind."""' in text and 'PARAMETER stop "<|im_end|>"' in text
    tokenizer.chat_template = "{{ messages }}"
    tokenizer.save_pretrained(tmp_path)
    assert "TEMPLATE" not in export.modelfile("x.gguf", tmp_path)


@pytest.mark.parametrize(
    ("ends", "reason"),
    [("Model is unknown", "could not convert .*unknown"), ("OSError: No space left on device", "The disk with")],
)
def test_a_converter_that_fails_leaves_nothing(results: Path, toys: tuple[Path, Path], ends: str, reason: str) -> None:
    (results / converters.ADAPTER).write_text(CONVERTER.replace('ENDS = ""', f"ENDS = {ends!r}"))
    said, out = exported(results, "--to", "gguf", "--base", str(toys[0]))
    assert re.search(reason, said) and "Traceback" not in said
    assert not out.exists() and not list(results.glob(".out*"))
    (results / converters.ADAPTER).write_text("print('done')")
    assert "wrote nothing: done" in exported(results, "--to", "gguf", "--base", str(toys[0]))[0] and not out.exists()


def test_an_export_that_cannot_succeed_is_rejected_before_it_starts(
    results: Path, toys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    merged, other, base = ("--to", "merged"), results / "other", str(toys[0])
    shutil.copytree(toys[0], other, ignore=lambda *_: ["model.safetensors"])
    assert "as *.safetensors" in exported(results, *merged)[0]
    with monkeypatch.context() as changed:
        # The small model is no base of a rehearsal with another one.
        changed.setattr(KeptRun, "rehearsed", True)
        changed.setattr(export.weights, "ensure_weights", lambda cache: toys[0])
        assert "as *.safetensors" in exported(results, *merged)[0]
    assert "as *.safetensors" in exported(results, *merged, "--base", str(other))[0]
    (other / "config.json").write_text("cut off")
    assert "holds no model" in exported(results, "--to", "gguf", "--base", str(other))[0]
    (other / "config.json").write_text('{"hidden_size": 64}')
    assert "hidden_size 32 and not 64" in exported(results, "--to", "gguf", "--base", str(other))[0]
    assert "--gguf is for --to merged" in exported(results, "--to", "gguf", "--gguf", "f16")[0]
    assert "There is no run" in said("export", "nowhere", "--to", "peft")[1]
    with monkeypatch.context() as changed:
        changed.setattr(export.psutil, "virtual_memory", lambda: SimpleNamespace(available=10**9))
        assert "1.0 GB are free" in exported(results, *merged, "--base", base)[0]
    enough = (results / RUN / "adapter" / "adapter_model.safetensors").stat().st_size
    monkeypatch.setattr(export.shutil, "disk_usage", lambda folder: SimpleNamespace(free=enough))
    assert "GB are needed" in exported(results, *merged, "--base", base)[0]
    monkeypatch.setattr(export.shutil, "disk_usage", lambda folder: SimpleNamespace(free=enough - 1))
    assert "GB are needed" in exported(results, "--to", "peft")[0]
    assert not (results / "out").exists()


def test_of_the_source_package_only_the_converters_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{folder}{converters.ADAPTER}" for folder in ("vendor/llama.cpp/", "vendor/llama.cpp/src/")]
    (tmp_path / "file").write_text("text")

    def pip(command: list[str], tools: Path, what: str) -> str:
        assert "--require-hashes" in command and "--no-deps" in command
        with tarfile.open(tmp_path / "out" / "x.tar.gz", "w:gz") as package:
            for name in names:
                package.add(tmp_path / "file", f"llama_cpp_python-1/{name}")
        return ""

    (tmp_path / "out").mkdir()
    monkeypatch.setattr(converters, "_run", pip)
    converters._make(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [converters.ADAPTER]
    names.append("vendor/llama.cpp/conversion/../../outside")
    with pytest.raises(tarfile.OutsideDestinationError):
        converters._make(tmp_path / "out")
