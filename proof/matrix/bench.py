"""The account in which the matrix runs: deployed once for each process, emptied between two cells."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from common.ledger.ledger import Ledger
from proof.matrix.states import TaskState, task_states
from rehearsal.account.assembly import Assembly, synthesize
from rehearsal.account.cloud import Cloud
from rehearsal.sagemaker.fake import FakeHosting, FakeTraining, HostingPlan, TrainingPlan
from rehearsal.step_functions.executions import Execution

PROJECT = Path(__file__).resolve().parents[2]
TRAINING_MINUTES, HOSTING_MINUTES = 20, 10
PATIENCE = 90.0  # seconds until a cell that does not end is given up
_CORPUS, _PROMPTS = "corpora/small.txt", "corpora/small.jsonl"
# Few and short: what is learned is not what the matrix is about. The report judges too few documents at once.
INPUT = {"corpus": _CORPUS, "prompts": _PROMPTS, "samplesPerPrompt": 0}
_DOCUMENTS = [
    {"id": f"d{n}", "title": f"D{n}", "tokens": 50, "bytes": 250, "base_nll": 150.0, "tuned_nll": 140.0} for n in (1, 2)
]
_EVALUATION = {"documents": _DOCUMENTS, "base_loss": 3.0, "tuned_loss": 2.8, "tokens": 100}


class BillingTraining(FakeTraining):
    """A fake job whose instance is busy for a while before anyone looks, so that there is something to bill."""

    cloud: Cloud | None = None
    minutes = TRAINING_MINUTES

    def start(self, job: Any) -> None:
        """Begin, and let the time pass."""
        super().start(job)
        if self.cloud is not None and job.started is not None:
            self.cloud.clock.advance(minutes=self.minutes)


class BillingHosting(FakeHosting):
    """A fake endpoint that takes its time before anyone looks."""

    cloud: Cloud | None = None

    def start(self, endpoint: Any) -> None:
        """Begin, and let the time pass, unless no instance is found: then nothing bills."""
        finds_no_instance = self.plans[0].outcome == "capacity"
        super().start(endpoint)
        if self.cloud is not None and not finds_no_instance:
            self.cloud.clock.advance(minutes=HOSTING_MINUTES)


@cache
def assembly_folder() -> Path:
    """The synthesized project, made once for a process and its children."""
    folder = Path(tempfile.mkdtemp(prefix="matrix-assembly-"))
    Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=0)
    synthesize(PROJECT, folder, {"accept_eula": "true"})
    return folder


class Bench:
    """One deployed account. Use it in a with-statement."""

    def __init__(self, assembly: Path) -> None:
        self._assembly = assembly
        self._folder = tempfile.TemporaryDirectory(prefix="matrix-", ignore_cleanup_errors=True)
        self.cloud = Cloud(
            Path(self._folder.name),
            training=BillingTraining(),
            hosting=BillingHosting(),
            time_scale=20_000,
            quotas={"L-2D6DEB3C": 2.0, "L-CAEE7DB7": 2.0, "L-9614C779": 2.0},
        )

    def __enter__(self) -> Bench:
        self.cloud.__enter__()
        self.deployment = self.cloud.deploy(Assembly(self._assembly))
        self.definitions = {arn: json.loads(text) for arn, text in self.deployment.definitions.items()}
        return self

    def __exit__(self, *problem: object) -> None:
        self.cloud.__exit__(*problem)
        self._folder.cleanup()

    def states(self) -> list[TaskState]:
        """Every Task state of both machines, as it is deployed."""
        arns = (self.deployment.fine_tuning, self.deployment.tear_down)
        return [state for arn in arns for state in task_states(arn, self.definitions[arn])]

    def empty(
        self,
        *endpoints: HostingPlan,
        training: Any = "completed",
        training_minutes: int = TRAINING_MINUTES,
        jobs: Sequence[TrainingPlan] = (),
    ) -> None:
        """Takes away what the last cell left, and plans the endpoints to come, how a job ends and how long it takes.

        `jobs` are the plans of several jobs that end differently, in place of `training`.
        """
        plans = jobs or [TrainingPlan(training)]
        trainer = BillingTraining(*(replace(plan, metrics=plan.metrics or _metrics()) for plan in plans))
        trainer.minutes = training_minutes
        host = BillingHosting(*endpoints)
        trainer.cloud = host.cloud = self.cloud
        self.cloud.reset(training=trainer, hosting=host)
        s3 = self.cloud.client("s3")
        for key, body in ((_CORPUS, _corpus()), (_PROMPTS, _prompts())):
            s3.put_object(Bucket=self.deployment.bucket, Key=key, Body=body.encode())

    def role_of(self, machine: str) -> str:
        """The name of the role that a state machine acts as, which is the access key id of its calls."""
        arn = self.cloud.client("stepfunctions").describe_state_machine(stateMachineArn=machine)["roleArn"]
        return str(arn).rpartition("/")[2]

    def role_of_function(self, name: str) -> str:
        """The name of the role that a function acts as."""
        arn = self.cloud.client("lambda").get_function_configuration(FunctionName=name)["Role"]
        return str(arn).rpartition("/")[2]

    def ledger(self) -> Ledger:
        """The deployed ledger."""
        return Ledger(self.cloud.client("dynamodb"), self.deployment.table)

    def tear_downs(self) -> list[Execution]:
        """The executions of TearDown so far, in their order."""
        return self.cloud.executions.of(self.deployment.tear_down)

    def wait_for(self, what: Callable[[], bool], words: str, seconds: float = PATIENCE / 2) -> None:
        """Waits until something is so. Raises TimeoutError with the words."""
        pause, waited = threading.Event(), 0.0
        while not what():
            pause.wait(0.005)
            waited += 0.005
            if waited > seconds:
                raise TimeoutError(f"waited in vain for {words}")

    @contextmanager
    def altered(self, machine: str, edit: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        """Runs a machine with an edited definition for a while."""
        client, before = self.cloud.client("stepfunctions"), self.definitions[machine]
        after = json.loads(json.dumps(before))
        edit(after)
        if after == before:
            raise ValueError("the edit changed nothing")
        client.update_state_machine(stateMachineArn=machine, definition=json.dumps(after))
        self.definitions[machine] = after
        try:
            yield
        finally:
            client.update_state_machine(stateMachineArn=machine, definition=json.dumps(before))
            self.definitions[machine] = before

    @contextmanager
    def without_rule(self, timed: bool) -> Iterator[None]:
        """Disables the rule that fires at a rate, or the one that waits for events, for a while."""
        events, ends = self.cloud.client("events"), self.cloud.events.ends
        names = [rule.name for rule, _ in (ends.timed_rules() if timed else ends.rules())]
        if not names:
            raise ValueError("there is no such rule")
        for name in names:
            events.disable_rule(Name=name)
        try:
            yield
        finally:
            for name in names:
                events.enable_rule(Name=name)


def _metrics() -> Mapping[str, Any]:
    return {
        "schema": 1,
        "base_model": {
            "name": "fake",
            "architecture": "LlamaForCausalLM",
            "parameters": 1_000_000,
            "trainable_parameters": 1000,
            "hidden_size": 64,
            "layers": 2,
            "quantization": "none",
        },
        "settings": {},
        "environment": {"device": "cpu", "device_name": "", "python": "", "torch": "", "transformers": "", "peft": ""},
        "corpus": {"documents": 20, "tokens": 1500, "bytes": 8000, "words": 1200, "sequences": 3},
        "training": {
            "steps": 2,
            "planned_steps": 2,
            "epochs": 1.0,
            "seconds": 60.0,
            "tokens_seen": 1500,
            "tokens_per_second": 25.0,
            "peak_memory_bytes": 1,
            "stopped_early": None,
            "loss_curve": [{"step": step, "loss": 3.0 - step / 10, "learning_rate": 1e-4} for step in (1, 2)],
        },
        "evaluation": {"heldout": _EVALUATION, "training_text": _EVALUATION},
    }


def _corpus() -> str:
    """Twenty documents of words that occur once each: nothing in it repeats or leaks."""
    return "".join(f"# Title {n}\n\n" + " ".join(f"w{n}x{m}" for m in range(60)) + "\n\n" for n in range(20))


def _prompts() -> str:
    rows = [{"id": f"p{n}", "kind": "starter", "prompt": f"Question {n}", "facts": []} for n in (1, 2)]
    return "".join(json.dumps(row) + "\n" for row in rows)
