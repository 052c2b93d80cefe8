"""`captune export`: a run's adapter in a form that other programs load. A folder gets its name when all of it is written."""

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import psutil
import typer
from rich.console import Console

from captune import account, converters
from captune.account import PROJECT, Refused
from captune.engines import refuse_other_base
from captune.fetch import DiskFull
from captune.flags import AsJson, Base, Results, RunName
from captune.kept_run import KeptRun, kept, not_found
from common.architecture import CONFIGURATION
from common.contracts import run_folder
from preflight.account.weights import fetch, hub_content, hub_files
from rehearsal.models import weights
from report.content.figures import HUB
from stacks.configuration.catalog import BASE_MODELS, public_bucket

_LEGAL = re.compile(r"(licen[cs]e|notice|use_policy)", re.IGNORECASE)
_OF_TOKENIZER = ("tokenizer*", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json", "*.jinja")
_SPARE_BYTES = 1 << 30  # of memory beside the weights: PyTorch and the largest layer, in 32 bits
_GGUF_SHARE = {None: 0.0, "f16": 1.0, "q8_0": 34 / 64}  # bytes of a GGUF file beside 16-bit weights
# By what stands in the model's own chat template: the same for Ollama, and the end of an answer.
_CHATML = (
    "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}<|im_start|>user\n{{ .Prompt }}<|im_end|>\n"
    "<|im_start|>assistant\n{{ .Response }}<|im_end|>\n"
)
_LLAMA_2 = (
    "[INST] {{ if .System }}<<SYS>>\n{{ .System }}\n<</SYS>>\n\n{{ end }}{{ .Prompt }} [/INST]{{ .Response }} </s><s>"
)
_TEMPLATES = {"<|im_start|>": (_CHATML, "<|im_end|>"), "<<SYS>>": (_LLAMA_2, "</s>")}
Form = Literal["peft", "gguf", "merged"]
Precision = Literal["f16", "q8_0"]


def command(
    run: RunName,
    to: Annotated[Form, typer.Option(help="Write the adapter for PEFT or llama.cpp, or one merged model.", show_default=False)],
    base: Base = None,
    gguf: Annotated[Precision | None, typer.Option(help="Write the merged model as GGUF, with a Modelfile for Ollama.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write to this folder (default: results/RUN/export-FORM).")] = None,
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Writes one form of a run that is on this machine.

    - `--to peft` writes the adapter for PEFT and vLLM, with the base model's name on the Hugging Face Hub.

    - `--to gguf` writes the adapter for llama.cpp (`llama-server --lora`). Of the base model it needs config.json only.

    - `--to merged` writes base model and adapter as one model: safetensors, or with `--gguf` a GGUF file and a Modelfile for Ollama.

    Each has a model card and the licence.
    """
    found = kept(run, results)
    if found is None:
        names = [plan.parent.name for plan in results.glob(f"*/{run_folder.PLAN}")]
        raise not_found(run, names, f"in {results}. A run of your account comes there with `captune fetch`")
    if gguf and to != "merged":
        raise Refused("--gguf is for --to merged; --to gguf writes the adapter alone.")
    final = out or found.folder / "-".join(["export", to, *([gguf] if gguf else [])])
    with Console(stderr=True).status(f"Writing {final}"):
        files = export(found, to, base, gguf, final)
    if as_json:
        told = {"run": found.name, "rehearsed": found.rehearsed, "folder": str(final), "files": files}
        print(json.dumps(told))
        return
    print(f"{found.name} ({'rehearsed' if found.rehearsed else 'of your account'}) is in {final}: {', '.join(files)}")
    use = {
        "peft": f'PeftModel.from_pretrained(base_model, "{final}")',
        "gguf": f"llama-server -m BASE.gguf --lora {final / found.domain}-lora.gguf, where BASE.gguf is the base model",
        "merged": f"ollama create {found.domain} -f {final / 'Modelfile'}"
        if gguf
        else f'AutoModelForCausalLM.from_pretrained("{final}")',
    }
    print(f"Load it: {use[to]}")


def export(run: KeptRun, to: Form, base: Path | None, gguf: Precision | None, final: Path) -> list[str]:
    """Writes a folder and answers the names of its files. Raises Refused, and DiskFull."""
    adapter, base = run.adapter(), _base_here(run, to, base)
    if final.exists():
        raise Refused(f"{final} is there already. Move it away, or name another folder with --out.")
    needed = float((adapter / run_folder.ADAPTER_WEIGHTS).stat().st_size)
    if to == "merged":
        needed += (1 + _GGUF_SHARE[gguf]) * _refuse_without_weights(run, base)
    there = next(folder for folder in final.absolute().parents if folder.is_dir())
    full = f"The disk with {there} is too full: {{}}. Nothing was kept there. Make room, or name another folder with --out."
    if (free := shutil.disk_usage(there).free) < needed:
        raise DiskFull(full.format(f"{needed / 1e9:.2f} GB are needed, and {free / 1e9:.2f} GB are free"))
    with tempfile.TemporaryDirectory(prefix="captune-export-") as folder:
        if base is None and to == "gguf":
            session = account.session(str(run.plan["region"]))
            base = configuration_from_hub(session.client("sagemaker"), run, Path(folder))
        try:
            weights.make_once(final.parent, final.name, lambda part: _write(run, to, base, gguf, part))
        except Exception as error:  # safetensors and the converters have errors of their own for it
            if "No space left" not in str(error):
                raise
            raise DiskFull(full.format("writing stopped")) from error
    return sorted(path.name for path in final.iterdir())


def _base_here(run: KeptRun, to: Form, base: Path | None) -> Path | None:
    """The base model's folder, as far as this machine has one. Raises Refused for another model's, CannotRun where the small one cannot be made."""
    if base is not None:
        refuse_other_base(run.adapter(), base)
        return base
    if to == "peft" or not run.rehearsed or _base_name(run) != weights.NAME:
        return None
    return weights.ensure_weights(PROJECT / ".rehearsal" / "weights")


def _base_name(run: KeptRun) -> str:
    """A rehearsal trains another model than its plan names."""
    return str(run.trained_on().get("name") if run.rehearsed else run.plan["baseModel"]["name"])


def _refuse_without_weights(run: KeptRun, base: Path | None) -> int:
    """The bytes of the base model's weights. Raises Refused where there are none or they cannot be loaded."""
    size = sum(path.stat().st_size for path in base.glob("*.safetensors")) if base else 0
    if not size:
        raise Refused(
            f"Merging needs the weights of {_base_name(run)} as *.safetensors: --base FOLDER. Of gated weights that you have no copy of, "
            "export the adapter: --to gguf or --to peft."
        )
    if (free := psutil.virtual_memory().available) < (needed := size + _SPARE_BYTES):
        raise Refused(
            f"Merging takes {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free. End other programs, or export the adapter: --to gguf"
        )
    return size


def configuration_from_hub(sagemaker: Any, run: KeptRun, folder: Path) -> Path:
    """Puts a gated model's config.json and licence into a folder, from addresses that JumpStart's hub gives. Raises Refused."""
    name, uri = _base_name(run), str(run.plan["baseModel"]["weightsUri"])
    model = next((one for one in BASE_MODELS.values() if one.name == name), None)
    hosted = model.jumpstart if model else None
    if model is None or hosted is None or not uri.endswith(hosted.weights_prefix):
        raise Refused(
            f"JumpStart's hub does not have {name}, which {run.name} was trained on. Name a folder with its config.json: --base FOLDER"
        )
    content = hub_content(hosted.id, hosted.last_version)
    accepted = model.licence.must_be_accepted and bool(run.plan["acceptEula"])
    for path, url in hub_files(sagemaker, content, uri, accepted).items():
        file = Path(path).name
        if file == CONFIGURATION or _LEGAL.match(file):
            (folder / file).write_bytes(fetch(url))
    if not (folder / CONFIGURATION).is_file():
        raise Refused(f"JumpStart's hub shows no config.json of {name}. Name a folder with it: --base FOLDER")
    return folder


def _write(run: KeptRun, to: Form, base: Path | None, gguf: Precision | None, folder: Path) -> None:
    adapter = run.adapter()
    if to == "peft":
        shutil.copy(adapter / run_folder.ADAPTER_WEIGHTS, folder)
        configuration = json.loads((adapter / run_folder.ADAPTER_CONFIGURATION).read_bytes())
        if known := HUB.get(_base_name(run).casefold()):
            configuration["base_model_name_or_path"] = known.name
        (folder / run_folder.ADAPTER_CONFIGURATION).write_text(json.dumps(configuration, indent=2) + "\n", "utf-8")
    elif to == "gguf":
        file = folder / f"{run.domain}-lora.gguf"
        converters.convert(converters.ADAPTER, adapter, file, "--outtype", "f16", "--base", str(base))
    elif base and not gguf:
        _merge(adapter, base, folder, "auto")
    elif base:
        file, whole = folder / f"{run.domain}-{gguf}.gguf", folder / "whole"
        _merge(adapter, base, whole, "float16")
        converters.convert(converters.MODEL, whole, file, "--outtype", str(gguf))
        shutil.rmtree(whole)
        (folder / "Modelfile").write_text(modelfile(file.name, base), "utf-8")
    for card in (adapter / "README.md", run.folder / run_folder.MODEL_CARD):
        if card.is_file():
            shutil.copy(card, folder / "README.md")
    (folder / "NOTICE.txt").write_text(notice(_base_name(run), str(run.plan["region"])), "utf-8")
    for path in base.iterdir() if base else []:
        if _LEGAL.match(path.name) and not (folder / path.name).exists():
            shutil.copy(path, folder)


def _merge(adapter: Path, base: Path, folder: Path, dtype: str) -> None:
    """Adds an adapter to its base model's weights; PEFT does so in 32 bits, a layer at a time."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, local_files_only=True)
    merged: Any = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    merged.save_pretrained(folder)
    for path in (path for pattern in _OF_TOKENIZER for path in base.glob(pattern)):
        shutil.copy(path, folder)


def modelfile(file: str, base: Path) -> str:
    """What `ollama create` reads: the weights, the model's prompt format, and its stop texts."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    own = str(tokenizer.chat_template or "")
    template, end = next((found for mark, found in _TEMPLATES.items() if mark in own), ("{{ .Prompt }}", ""))
    # Of a chat template that is not known here, Ollama takes the one in the file.
    lines = [f"FROM ./{file}", *([f'TEMPLATE """{template}"""'] if end or not own else [])]
    if end == "<|im_end|>":  # a template of this kind may begin with a system message of its own
        asked = str(tokenizer.apply_chat_template([{"role": "user", "content": ""}], tokenize=False))
        before = re.match(r"<\|im_start\|>system\n(.*?)<\|im_end\|>", asked, re.DOTALL)
        lines += [f'SYSTEM """{before[1]}"""'] if before else []
    stops = dict.fromkeys(text for text in (str(tokenizer.eos_token), end) if text)
    return "\n".join([*lines, *(f'PARAMETER stop "{text}"' for text in stops), ""])


def notice(base: str, region: str) -> str:
    """The notice on the base model's licence to pass on with an adapter or a merged model."""
    model, known = next((one for one in BASE_MODELS.values() if one.name == base), None), HUB.get(base.casefold())
    if model is None:
        name, licence = known or (base, "see its publisher")
        return f"The base model is {name}. Licence: {licence}.\n"
    asks = f"The base model is {base}. Its licence, {model.licence.name}, holds for these files too.\n"
    if model.licence.licensor != "Meta":
        return asks
    family = model.licence.name.removesuffix(" Community License")
    return (
        f"{asks}{family} is licensed under the {model.licence.name}, Copyright (c) Meta Platforms, Inc. All Rights Reserved.\n"
        f"Pass on its text too: s3://{public_bucket(region)}/{model.licence.eula_file}\n"
    )
