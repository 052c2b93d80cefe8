"""What `captune export` writes of the newest rehearsed run, read by PEFT and by llama.cpp itself, on the run's held-out documents.

With llama.cpp each token's log-probability is compared: the tuned model may be no farther from PEFT than twice what the base model is from
transformers. An adapter of zeros, and one whose query and key are not in llama.cpp's order, must be noticed.
"""

import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from captune import converters
from captune.export import export
from captune.kept_run import ADAPTER, KeptRun, kept
from common.contracts import run_folder
from rehearsal.models.weights import NAME, ensure_weights
from rehearsal.programs import FOREIGN, PROJECT, CannotRun, StepFailed, beside_python, node_packages
from verification.conformance.contracts import Contract, Setting

_HERE = Path(__file__).parent
_NATS, _TIMES = 0.02, 2.0  # a token, from the run's own losses; the base model's distance
_TOKENS, _FEW = 1500, 500  # read by PEFT, and of them by llama.cpp, whose addon gives the whole vocabulary for each
Logs = list[list[float]]  # of each token of each text


def run(setting: Setting) -> list[Contract]:
    """Return what the other programs made of a run.

    Raises:
        CannotRun: no rehearsed run is here, or llama.cpp or the weights of the rehearsal's model cannot be had on this machine.
    """
    found, packages = _newest_run(), node_packages(_HERE, "conformance-export")
    machine = ("mac" if sys.platform == "darwin" else sys.platform, {"x86_64": "x64"}.get(platform.machine(), "arm64"))
    built = f"node_modules/@node-llama-cpp/{'-'.join(machine)}*/bins/*/llama-addon.node"
    if (addon := next(packages.glob(built), None)) is None:
        raise CannotRun(f"node-llama-cpp has no llama.cpp for {' on '.join(machine)}")
    weights = ensure_weights(FOREIGN / "weights")
    with tempfile.TemporaryDirectory(prefix="captune-conformance-") as folder:
        setting.say(f"exporting {found.name}, and adapters with planted faults")
        return _compared(found, weights, Path(folder), addon)


def _newest_run() -> KeptRun:
    every = (PROJECT / "results").glob(f"*/{ADAPTER}/{run_folder.METRICS}")
    for metrics in sorted(every, key=lambda file: file.stat().st_mtime, reverse=True):
        found, measured = kept(str(metrics.parents[1]), PROJECT), json.loads(metrics.read_bytes())
        of_rehearsals = found and found.rehearsed and measured["base_model"]["name"] == NAME
        if found and of_rehearsals and not measured["training"]["unmeasured"]:
            return found
    raise CannotRun("results/ holds no rehearsed run whose losses were measured: run make rehearse")


def _compared(found: KeptRun, weights: Path, folder: Path, addon: Path) -> list[Contract]:
    from transformers import AutoTokenizer

    metrics = json.loads((found.adapter() / run_folder.METRICS).read_bytes())
    windows = list(_windows(found, AutoTokenizer.from_pretrained(weights), metrics["settings"]["sequence_length"]))
    texts = [text for _, text in windows]
    export(found, "peft", None, None, folder / "peft")
    export(found, "gguf", None, None, folder / "gguf")
    export(found, "merged", None, "f16", folder / "merged")
    converters.convert(converters.MODEL, weights, folder / "base.gguf", "--outtype", "f16")
    _plant_faults(found.adapter(), weights, folder)

    problems, apart = list[str](), list[float]()
    logs = _by_transformers(weights, folder / "peft", metrics["base_model"]["dtype"], texts)
    for document in metrics["evaluation"]["heldout"]["documents"]:
        mine = [one for text, (name, _) in zip(logs, windows, strict=True) if name == document["id"] for one in text]
        if len(mine) == document["tokens"]:  # all of it was read
            apart.append(abs(-sum(mine) - document["tuned_nll"]) / len(mine))
            problems += [f"{document['id']}: {apart[-1]:.4f} nats a token apart"] if not apart[-1] <= _NATS else []
    most = f"at most {max(apart, default=0):.4f} nats a token apart"
    losses = Contract("the run's held-out losses", len(apart), "PEFT on the exported adapter", problems, most)

    few = texts[: 1 + _FEW // len(texts[0])]
    base, tuned = (_by_transformers(weights, adapter, "float32", few) for adapter in (None, folder / "peft"))
    plain, merged, adapter = (next(folder.glob(name)) for name in ("base.gguf", "merged/*.gguf", "gguf/*.gguf"))
    read = {
        "adapter": (plain, adapter), "merged": (merged, None),
        "zeros": (plain, folder / "zeros.gguf"), "other order": (plain, folder / "order.gguf"),
    }  # fmt: skip
    allowed = _TIMES * _distance(_by_llama_cpp(addon, plain, None, few), base)
    far = {name: _distance(_by_llama_cpp(addon, *files, few), tuned) for name, files in read.items()}
    shown = f"nats a token: {', '.join(f'{name} {value:.4f}' for name, value in far.items())}; allowed {allowed:.4f}"
    good = [f"{name} is {far[name]:.4f} from PEFT" for name in ("adapter", "merged") if not far[name] <= allowed]
    bad = [f"{name}: {far[name]:.4f} was not noticed" for name in ("zeros", "other order") if not far[name] > allowed]
    count, against = 2 * sum(map(len, base)), f"llama.cpp in {addon.parents[2].name} of node-llama-cpp"
    return [
        losses,
        Contract("tokens of GGUF files as of PEFT", count, against, good, shown),
        Contract("adapters with planted faults differ", count, against, bad),
    ]


def _windows(found: KeptRun, tokenizer: Any, length: int) -> Iterator[tuple[str, list[int]]]:
    """Documents as training scores them: their id, and so many tokens at once after the start token."""
    read = 0
    for line in (found.folder / Path(run_folder.HELD_OUT).name).read_text("utf-8").splitlines():
        document = json.loads(line)
        tokens = tokenizer(document["text"], add_special_tokens=False)["input_ids"]
        for start in range(0, len(tokens), length):
            yield document["id"], [tokenizer.bos_token_id, *tokens[start : start + length]]
        read += len(tokens)
        if read > _TOKENS:
            return


def _plant_faults(adapter: Path, weights: Path, folder: Path) -> None:
    """Converts an adapter of zeros, and one of which the converter takes heads of two numbers to be in llama.cpp's order already."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(adapter, folder / "zeros")
    file, base = folder / "zeros" / run_folder.ADAPTER_WEIGHTS, folder / "two"
    save_file({name: 0 * tensor if "lora_B" in name else tensor for name, tensor in load_file(file).items()}, file)
    configuration = json.loads((weights / "config.json").read_bytes())
    times = configuration["hidden_size"] // configuration["num_attention_heads"] // 2
    heads = {name: times * configuration[name] for name in ("num_attention_heads", "num_key_value_heads")}
    base.mkdir()
    (base / "config.json").write_text(json.dumps({**configuration, **heads, "head_dim": 2}))
    for name, source, beside in (("zeros", folder / "zeros", weights), ("order", adapter, base)):
        options = ("--outtype", "f16", "--base", str(beside))
        converters.convert(converters.ADAPTER, source, folder / f"{name}.gguf", *options)


def _by_transformers(weights: Path, adapter: Path | None, dtype: str, texts: list[list[int]]) -> Logs:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(weights, dtype=dtype)
    model = PeftModel.from_pretrained(model, str(adapter)) if adapter else model
    found = Logs()
    with torch.inference_mode():
        for text in texts:
            logs = model(input_ids=torch.tensor([text])).logits[0, :-1].float().log_softmax(-1)
            found.append(logs.gather(1, torch.tensor(text[1:])[:, None])[:, 0].tolist())
    return found


def _by_llama_cpp(addon: Path, model: Path, adapter: Path | None, texts: list[list[int]]) -> Logs:
    command = [str(beside_python("node")), str(_HERE / "reader.cjs"), str(addon), str(model), str(adapter or "")]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepFailed(f"llama.cpp could not read {model.name}: {done.stderr[-500:]}")
    found: Logs = json.loads(done.stdout)
    return found


def _distance(one: Logs, other: Logs) -> float:
    pairs = zip((log for text in one for log in text), (log for text in other for log in text), strict=True)
    return statistics.fmean(abs(left - right) for left, right in pairs)
