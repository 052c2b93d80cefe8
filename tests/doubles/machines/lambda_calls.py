"""Reads from the Lambdas' source which AWS actions and environment variables each function uses."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import botocore.session
from botocore import xform_name

from tests.doubles.machines.stacks_bench import ROOT

LAMBDAS = ROOT / "lambdas"
# Services the Lambdas may call, with the prefix that IAM gives their actions.
_SERVICES = {
    "ecr": "ecr",
    "pricing": "pricing",
    "sagemaker": "sagemaker",
    "sagemaker-runtime": "sagemaker",
    "service-quotas": "servicequotas",
    "stepfunctions": "states",
}
# The two classes through which every function reaches DynamoDB and S3, by what each of their methods calls.
_LEDGER = {
    "committed_cents": {"GetItem", "Scan"},
    "damaged": {"GetItem", "Scan"},
    "run": {"GetItem"},
    "rows": {"Scan"},
    "items": {"Scan"},
    "count_start": {"GetItem", "PutItem"},
    "reserve": {"GetItem", "Scan", "PutItem"},
    "settle": {"GetItem", "PutItem"},
    "update": {"GetItem", "PutItem"},
}
# What of common/resources.py a module names, and what is called for it.
_FOUND = {
    "TRAINING_JOB": "sagemaker:ListTrainingJobs",
    "ENDPOINT": "sagemaker:ListEndpoints",
    "ENDPOINT_CONFIGURATION": "sagemaker:ListEndpointConfigs",
    "MODEL": "sagemaker:ListModels",
    "Tags": "sagemaker:ListTags",
}
_REACHED = {LAMBDAS / "common" / path for path in ("storage.py", "resources.py", "pricing/prices.py")}
_READS = {"read", "size", "fetch", "read_json", "read_lines"}
_WRITES = {"write", "write_json", "write_lines"}


def aws_actions(function: str) -> set[str]:
    """The IAM actions that a function's code needs, as far as its source shows them."""
    found: set[str] = set()
    for path in _closure(function):
        if path.parent == LAMBDAS / "common" / "ledger" or path in _REACHED:
            continue
        tree = ast.parse(path.read_text())
        texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)):
            assert isinstance(call.func, ast.Attribute)
            owner, method = ast.unparse(call.func.value), call.func.attr
            if owner.endswith("ledger"):
                found |= {f"dynamodb:{action}" for action in _LEDGER[method]}
            elif owner.endswith("storage") and method in _READS | _WRITES:
                found.add("s3:GetObject" if method in _READS else "s3:PutObject")
            elif method == "get_object":
                found.add("s3:GetObject")
            elif method == "list_objects_v2":
                found.add("s3:ListBucket")
        mentioned = texts | {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        found |= {action for name, action in _operations().items() if name in mentioned}
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        made = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "Files"]
        if any(ast.unparse(call.args[3]) != "{}" for call in made if len(call.args) > 3):  # with versions to be read
            found.add("s3:GetObjectVersion")
        found |= {action for name, action in _FOUND.items() if name in names}
        imported = {(n.module, name.name) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for name in n.names}
        if ("common.pricing.prices", "listed") in imported:
            found.add("pricing:GetProducts")
    return found


def variables(function: str) -> set[str]:
    """The environment variables that a function's code requires."""
    found: set[str] = set()
    for path in _closure(function):
        for call in (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)):
            if isinstance(call.func, ast.Name) and call.func.id == "required":
                name = ast.unparse(call.args[0]).strip("'\"")
                # staging.asset is called for both assets: f'{name}_ASSET_BUCKET'
                assets = ("DATA", "TRAINING") if "{name}" in name else ("",)
                found |= {name.removeprefix("f").strip("'\"").replace("{name}", asset) for asset in assets}
    return found


@cache
def _operations() -> dict[str, str]:
    session = botocore.session.get_session()
    found = {}
    for service, prefix in _SERVICES.items():
        for operation in session.get_service_model(service).operation_names:
            found[xform_name(operation)] = f"{prefix}:{operation}"
    del found["search"]  # the method of regular expressions has this name too
    return found


def _closure(function: str) -> list[Path]:
    """The modules that a function's handler imports, directly or not."""
    waiting, seen = [LAMBDAS / function / "handler.py"], set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                base = LAMBDAS / node.module.replace(".", "/")
                candidates = [base.with_suffix(".py"), *(base / f"{alias.name}.py" for alias in node.names)]
                waiting += [candidate for candidate in candidates if candidate.is_file()]
    return sorted(seen)
