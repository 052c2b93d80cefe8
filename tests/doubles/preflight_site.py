"""An account in which Preflight and StageInput can be run, and what a test can change in it."""

import json
from typing import Any

import pytest

from common.contracts.fine_tuning import PreflightEvent
from common.errors import CaptuneError
from preflight import handler
from stacks.configuration.settings import Settings
from stacks.definitions import settings_json
from stage import handler as stage_handler
from tests.doubles.lambda_fakes import (
    NOW,
    S3,
    TEAR_DOWN,
    Ecr,
    Events,
    Pricing,
    SageMaker,
    ServiceQuotas,
    Sns,
    StepFunctions,
    arn,
)
from tests.doubles.ledger_fakes import FakeLedger
from tests.doubles.texts import GOOD, lines, prose
from verification.simulation.material import zipped

SWEEPER, KILL_SWITCH = "arn:aws:lambda:us-east-1:1:function:sweeper", "arn:aws:sns:us-east-1:1:kill-switch"
KEPT = "runs/captune-abc/"
EARLIER = "runs/captune-first/training/captune-first/output/model/"
ADAPTER = {"adapterUri": f"s3://bucket/{EARLIER}"}
# The settings that a deployed Preflight has: the defaults, but for what the tests look for.
_DEPLOYED: dict[str, Any] = json.loads(settings_json(Settings()))
SETTINGS: dict[str, Any] = {
    **_DEPLOYED, "epochs": 3, "accept_eula": True,
    "training_image": "763104351884.dkr.ecr.us-east-1.amazonaws.com/training:1", "hosting_image": "763104351884.dkr.ecr.us-east-1.amazonaws.com/vllm:2",
    "base_model": {**_DEPLOYED["base_model"], "weights_uri": "s3://gated/llama/", "eula_uri": "s3://public/eula/llamaEula.txt"},
}  # fmt: skip


def titled(documents: int, words: int, seed: int) -> bytes:
    return "\n\n".join(f"# Part {n}\n\n{prose(words, seed + n)}" for n in range(documents)).encode()


class Site:
    """An account in which a run can start, until a test changes something."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data = {
            "medicaldataset.txt": titled(30, 100, 100),
            "medicalheldout.txt": titled(8, 60, 300),
            "control.txt": titled(3, 60, 400),
            "medicalprompts.jsonl": lines([GOOD]),
            "README.md": b"about",
        }
        self.settings = dict(SETTINGS)
        self.s3 = S3({("gated", "llama/config.json"): b"{}"})
        self.sagemaker, self.stepfunctions, self.ledger = SageMaker(), StepFunctions(), FakeLedger()
        self.quotas = ServiceQuotas({"L-2D6DEB3C": 1.0, "L-CAEE7DB7": 1.0, "L-9614C779": 1.0})
        self.pricing, self.ecr = Pricing(), Ecr()
        self.events = Events(run_ended=("ENABLED", TEAR_DOWN), sweep=("ENABLED", SWEEPER))
        self.sns = Sns({KILL_SWITCH: [("email", "owner@example.org"), ("lambda", SWEEPER)]})
        self.cap_cents = 2500
        self.version = self.deployed_version = "v1"
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(handler, "client", self.client)
        monkeypatch.setattr(handler, "brisk_client", self.client)
        monkeypatch.setattr(stage_handler, "client", self.client)
        monkeypatch.setattr(handler, "now", lambda: NOW)

    def client(self, service: str, region: str | None = None) -> Any:
        # Only prices and images have a region of their own.
        assert (region is not None) == (service in ("pricing", "ecr"))
        return self.ledger.table if service == "dynamodb" else getattr(self, service.removeprefix("service-"))

    def upload(self, name: str, content: bytes) -> None:
        self.s3.objects["bucket", f"corpora/{name}"] = content

    def add_adapter(self, name: str = "", content: Any = None) -> None:
        """Adds the folder of an earlier run; the file called so gets another content, or is missing where that is None."""
        files: dict[str, Any] = {
            f"{EARLIER}adapter_config.json": {"r": 16, "peft_type": "LORA"},
            f"{EARLIER}adapter_model.safetensors": bytes(64),
            f"{EARLIER}metrics.json": {"evaluation": {"heldout": {"documents": []}}},
            "runs/captune-first/plan.json": {"baseModel": {"weightsUri": "s3://gated/llama/"}},
        }
        files |= {key: content for key in files if name and name in key}
        for key, value in files.items():
            if value is not None:
                self.s3.objects["bucket", key] = value if isinstance(value, bytes) else json.dumps(value).encode()

    def run(self, execution_input: Any = None, name: str = "abc") -> Any:
        """Preflight: the plan of a run."""
        self.deploy()
        event: PreflightEvent = {
            "executionName": name,
            "executionArn": arn(name),
            "definitionVersion": self.version,
            "input": execution_input or {},
        }
        before = dict(self.s3.objects)
        try:
            return handler.handle(event, None)
        finally:
            assert self.s3.objects == before, "Preflight writes nothing"

    def begin(self, execution_input: Any = None, name: str = "abc") -> Any:
        """Preflight and StageInput: the plan of a run whose input lies under its prefix."""
        plan = self.run(execution_input, name)
        self.stage(plan)
        return plan

    def stage(self, plan: dict[str, Any]) -> Any:
        """StageInput, with the plan as the state machine hands it on."""
        return stage_handler.handle(json.loads(json.dumps(plan)), None)

    def deploy(self) -> None:
        """Uploads data and code, and sets the variables of the functions."""
        self.s3.objects["assets", "data.zip"] = zipped(self.data)
        self.s3.objects["assets", "training.zip"] = zipped({"train.py": b"train", "lib/loss.py": b"loss"})
        variables = {
            "SETTINGS_JSON": json.dumps(self.settings),
            "BUCKET_NAME": "bucket",
            "LEDGER_TABLE": "ledger",
            "CAP_CENTS": str(self.cap_cents),
            "DEFINITION_VERSION": self.deployed_version,
            "DATA_ASSET_BUCKET": "assets",
            "DATA_ASSET_KEY": "data.zip",
            "TRAINING_ASSET_BUCKET": "assets",
            "TRAINING_ASSET_KEY": "training.zip",
            "RUN_ENDED_RULE": "run-ended",
            "TEAR_DOWN_ARN": TEAR_DOWN,
            "SWEEP_RULE": "sweep",
            "SWEEPER_ARN": SWEEPER,
            "KILL_SWITCH_TOPIC": KILL_SWITCH,
        }
        for key, value in variables.items():
            self._monkeypatch.setenv(key, value)

    def refusal(self, kind: type[CaptuneError], execution_input: Any = None) -> str:
        with pytest.raises(CaptuneError) as refused:
            self.run(execution_input)
        assert type(refused.value) is kind, f"{type(refused.value).__name__}: {refused.value}"
        return str(refused.value)

    @property
    def staged(self) -> dict[str, bytes]:
        return {
            key.removeprefix(KEPT): body for (bucket, key), body in self.s3.objects.items() if key.startswith("runs/")
        }

    def documents(self, path: str) -> list[dict[str, Any]]:
        """The documents of a file of JSON lines; none where it was not staged."""
        return [json.loads(line) for line in self.staged.get(path, b"").decode().split("\n") if line]
