"""What plays an endpoint's container is started as AWS's image starts it, and its end is the endpoint's."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rehearsal.sagemaker.real.hosting import ModelHost, Vllm
from tests.doubles import PATIENCE_SECONDS
from tests.doubles.rehearsal.sagemaker_account import (
    SageMakerAccount,
    account,
    eventually,
    has_ended,
    model_request,
    refusal,
)

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
ADAPTER = '{"name":"medical","path":"/opt/ml/adapter","base_model_name":"base"}'


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_vllm_is_started_by_the_rules_of_the_image_with_a_number_format_that_is_fast_here(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = subprocess.run

    def measured(*command: Any, **options: Any) -> SimpleNamespace:
        assert run(*command, **options).stdout in ("bfloat16\n", "float32\n")
        return SimpleNamespace(stdout=f"{dtype}\n")

    monkeypatch.setattr(subprocess, "run", measured)
    variables = {
        "SM_VLLM_DTYPE": "bfloat16", "SM_VLLM_MAX_LORA_RANK": "16", "SM_VLLM_ENABLE_LORA": "true",
        "SM_VLLM_LORA_MODULES": ADAPTER, "SM_VLLM_TRUST_REMOTE_CODE": "False", "SM_VLLM_EMPTY": "", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    start = Vllm.on_this_machine(Path("/env/bin/python")).start(tmp_path, variables)
    assert start.command == [
        "/env/bin/python", "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1",
        "--port", start.port_file.read_text("utf-8"), "--dtype", dtype,
        "--empty", "--enable-lora", "--lora-modules", ADAPTER, "--max-lora-rank", "16",
        "--middleware", "captune_route.routing.RouteMiddleware",
    ]  # fmt: skip
    package = Path(start.environment["PYTHONPATH"]) / "captune_route"
    assert {file.name for file in package.iterdir()} == {"__init__.py", "routing.py"}


# An interpreter that plays vLLM: it listens, starts a child as vLLM's engine does, and neither ends when asked to.
STUBBORN = """#!/bin/sh
exec {python} - "$@" <<'CODE'
import http.server, json, os, signal, subprocess, sys
if os.environ.get("SM_VLLM_MODEL") == "broken":
    sys.exit("The model is broken.")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", code])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps([os.getpid(), child.pid, os.environ.get("SM_VLLM_MODEL"), sys.argv]).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
CODE
"""


@pytest.fixture
def host(tmp_path: Path) -> ModelHost:
    program = tmp_path / "python"
    program.write_text(STUBBORN.replace("{python}", sys.executable))
    program.chmod(0o755)
    return ModelHost(Vllm(program))


@pytest.fixture
def aws(tmp_path: Path, host: ModelHost) -> Iterator[SageMakerAccount]:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    with account(tmp_path, hosting=host, gated_weights=weights, time_scale=0.1) as made:
        yield made


def in_service(aws: SageMakerAccount) -> None:
    aws.deploy("it", model_request("it", Environment={"SM_VLLM_MODEL": "/opt/ml/model"}))
    eventually(lambda: aws.endpoint("it")["EndpointStatus"] == "InService")


@pytest.mark.slow
def test_a_deleted_endpoint_ends_server_and_children(aws: SageMakerAccount, host: ModelHost, tmp_path: Path) -> None:
    in_service(aws)
    server, child, model, words = aws.ask("it", prompt="Hello")
    assert model == words[words.index("--model") + 1]
    assert Path(str(model)).name == "model" and not str(model).startswith("/opt/ml")
    with socket.create_connection(("127.0.0.1", host.port_of("it")), timeout=PATIENCE_SECONDS):
        pass
    aws.sagemaker.delete_endpoint(EndpointName="it")
    eventually(lambda: aws.standin.control_plane.leftovers()["endpoints"] == [])
    eventually(lambda: has_ended(int(server)) and has_ended(int(child)))
    with pytest.raises(LookupError, match="it"):
        host.port_of("it")
    assert not list((host.context.workdir / "endpoints").iterdir())
    assert (tmp_path / "weights" / "config.json").exists()


@pytest.mark.slow
def test_a_server_that_dies_fails_its_endpoint_with_the_reason(aws: SageMakerAccount, host: ModelHost) -> None:
    in_service(aws)
    pid = host.pid_of("it")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: aws.endpoint("it")["EndpointStatus"] == "Failed")
    assert "signal 9 (SIGKILL)" in aws.endpoint("it")["FailureReason"]
    assert refusal(lambda: aws.ask("it", model="base", prompt="w0"))[0] == "ValidationError"


@pytest.mark.slow
def test_a_server_that_cannot_start_fails_its_endpoint_with_its_last_words(aws: SageMakerAccount) -> None:
    aws.deploy("it", model_request("it", Environment={"SM_VLLM_MODEL": "broken"}))
    eventually(lambda: aws.endpoint("it")["EndpointStatus"] == "Failed")
    reason = aws.endpoint("it")["FailureReason"]
    assert "did not pass the ping health check" in reason and "The model is broken." in reason
