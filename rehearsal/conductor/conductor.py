"""Conducts a rehearsal: weights, synthesis, deployment, the execution live, and the end that proves itself."""

import json
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.markup import escape

from common.contracts.run_folder import KEPT_ADAPTER
from common.names import run_name
from common.pricing.costs import for_runs
from rehearsal import threads
from rehearsal.account.cloud import Cloud
from rehearsal.models import STAND_INS
from rehearsal.models.weights import Substitute
from rehearsal.programs import CannotRun
from rehearsal.sagemaker import s3_folders
from rehearsal.sagemaker.real.hosting import ModelHost, Vllm
from rehearsal.sagemaker.real.training import TrainingHost
from rehearsal.sagemaker.vllm import environment as vllm_environment
from rehearsal.step_functions.executions import Execution
from stacks.assembly import Assembly, SynthesisFailed, synthesize
from stacks.configuration.cdk_json import read_context
from stacks.configuration.settings import Settings, SettingsError

from . import files, results, resuming
from .display import Display
from .folders import STATE, WEIGHTS, RunFolders, clear_abandoned, new_name
from .options import Options, refuse_what_needs_linux

STOPPED = 130  # what a shell reports for a program that Ctrl-C ended
# Each says what a person has to change first.
_REFUSALS = (SynthesisFailed, CannotRun, SettingsError)


Check = Callable[[Options, Settings], tuple[str, list[str]]]


class Interrupted(Exception):
    """A second Ctrl-C: the person does not want to wait for TearDown. Holds what is left, by kind."""

    def __init__(self, left: dict[str, list[str]]) -> None:
        super().__init__("stopped before TearDown had ended")
        self.left = left


class FilesRefused(Exception):
    """A run would refuse the person's files; the message is what a person reads."""


class Conductor:
    """One rehearsal.

    `keep` copies a run out of its bucket, as `captune fetch` does, and `check` says what a run would refuse the person's files for, as `captune
    check` does. Tests give engines, a `time_scale` for Wait seconds, an assembly that is deployed in place of the project, and another model.
    """

    def __init__(
        self,
        options: Options,
        display: Display,
        keep: results.Keep,
        check: Check,
        *,
        engines: dict[str, Any] | None = None,
        time_scale: float = 30,
        assembly: Assembly | None = None,
        model: Substitute | None = None,
    ) -> None:
        self.options, self.display, self._assembly = options, display, assembly
        self._keep, self._check = keep, check
        self.model = model or STAND_INS[options.model]
        self.summary: dict[str, Any] = {}  # of the run, once it has ended with one
        self.execution: Execution | None = None
        self._cloud: Cloud | None = None
        self._engines, self._time_scale = engines or {}, time_scale
        self._interrupts = 0
        self._name = new_name()
        self._folders = RunFolders(options.project, self._name)

    def run(self) -> int:
        """Rehearse, and return the exit code."""
        with self.display, self._signals():
            try:
                clear_abandoned(self.options.project)
                return self._run()
            except _REFUSALS as error:
                self.display.say(f"[red]The rehearsal cannot begin:[/] {escape(str(error))}")
                return 2
            except FilesRefused as refused:
                self.display.say(f"\n{escape(str(refused))}")
                return 1
            except KeyboardInterrupt:
                self.display.say("Stopped before anything was started. No resource is left.")
                return STOPPED
            except Interrupted as interrupted:
                self._say_what_is_left(interrupted.left)
                return STOPPED
            finally:
                self._folders.clear_away()
                if resuming.end(self.options.project, self._name):
                    self.display.say("To continue from the last checkpoint: [bold]captune rehearse --resume[/]")

    def _run(self) -> int:
        model, options = self.model, self.options
        self.display.say(
            f"Rehearsing with {model.name} ({model.parameters / 1e6:,.0f} million parameters) instead of Llama 2 7B. {model.note}"
        )
        if options.resumed is None and resuming.newest(options.project):
            self.display.say(
                "An earlier rehearsal left a checkpoint. To continue it instead: [bold]captune rehearse --resume[/]"
            )
        engines = dict(self._engines)
        if options.server == "vllm":
            engines.setdefault("hosting", ModelHost(Vllm.on_this_machine(vllm_environment.interpreter())))
            self.display.say("The real vLLM, built for a CPU, serves the endpoint.")
        if "training" not in engines:
            kept = resuming.begin(options.project, self._name, options.arguments, options.resumed)
            engines["training"] = TrainingHost(options.interruptions, kept)
        settings = options.context(files.QUICK_SETTINGS if options.quick else {})
        deployed = Settings.from_context({**read_context(options.project), **settings}, "--set")
        refuse_what_needs_linux(deployed.training_instance_count)
        target = options.results / (options.name or run_name(self._name))
        results.try_place(target, model.adapter_bytes(deployed.lora_rank))
        self._check_files(deployed)
        # Neither waits for the other, and each keeps about one core busy.
        made = (
            None
            if self._engines
            else threads.begin(lambda: model.ensure((options.project / WEIGHTS).absolute()), "weights")
        )
        assembly = self._assembly
        if assembly is None:
            with self.display.step("Synthesizing the stacks"):
                assembly = synthesize(options.project.absolute(), self._folders.assembly, settings)
        weights = None
        if made is not None:
            with self.display.step("Preparing the weights (half a minute, the first time only)"):
                weights = made.result()
        self._folders.logs.mkdir(parents=True, exist_ok=True)
        with (self._folders.logs / "training.log").open("a", encoding="utf-8") as log, Cloud(
            self._folders.account, gated_weights=weights, time_scale=self._time_scale, region=deployed.region,
            on_training_line=lambda job, line: self._training_line(log, line), **engines,
        ) as cloud:  # fmt: skip
            return self._rehearse(cloud, assembly, deployed, weights)

    def _check_files(self, deployed: Settings) -> None:
        """Check your files as Preflight does, before anything is synthesized. Raises FilesRefused."""
        options = self.options
        if not any((options.corpus, options.held_out, options.outside, options.prompts)):
            return
        with self.display.step("Checking the files"):
            refusal, told = self._check(options, deployed)
            if refusal:
                raise FilesRefused(refusal)
        for sentence in told:
            self.display.say(escape(sentence))

    def _training_line(self, log: Any, line: str) -> None:
        if not log.closed:
            log.write(line.rstrip("\n") + "\n")
            log.flush()
        self.display.training(line)

    def _rehearse(self, cloud: Cloud, assembly: Assembly, settings: Settings, weights: Path | None) -> int:
        with self.display.step("Deploying them into an account on this machine") as notes:
            deployment = cloud.deploy(assembly)
            notes.append(f"{len(assembly.stacks())} stacks")
            left_out = ", ".join(sorted(kind.removeprefix("AWS::") for kind in deployment.unsupported))
            if left_out:
                notes.append(f"declared but not simulated: {left_out}")
        if weights and settings.weights_uri:
            with self.display.step(f"Uploading them to {settings.weights_uri}, as your own weights"):
                s3_folders.store(cloud.client("s3"), weights, deployment.weights_uri)
        if self.options.budget_left_cents is not None:
            files.reserve_all_but(cloud, self.options.budget_left_cents, for_runs(settings.cap_cents))
        cloud.sagemaker.market.without_capacity = set(self.options.no_capacity)
        if settings.training_instance_count > 1:
            cloud.sagemaker.market.allow_training(settings.training_instance_type, settings.training_instance_count)
        run_input = files.upload(cloud, self.options, settings.domain)
        arns = {"FineTuning": deployment.fine_tuning, "TearDown": deployment.tear_down}
        machines = {arn.replace(":stateMachine:", ":execution:"): name for name, arn in arns.items()}
        cloud.on_history = lambda arn, event: self.display.history(machines[arn.rpartition(":")[0]], event)
        self.display.say(f"Starting FineTuning with {escape(json.dumps(run_input))}")
        self._cloud = cloud  # from here on a Ctrl-C stops the execution
        execution = self.execution = cloud.start(run_input, name=self._name)
        if self._interrupts:  # it came in between
            self._stop()
        self._wait(cloud, execution)
        self._end_a_kept_endpoint(cloud, execution)
        return self._finish(cloud, execution)

    def _wait(self, cloud: Cloud, execution: Execution) -> None:
        wanted = 0
        while True:
            try:
                cloud.settle(execution, timeout=0.5)
                return
            except TimeoutError:
                if answered := cloud.sagemaker.answered:
                    wanted = wanted or results.answers_of(cloud, run_name(execution.name))
                    self.display.asked(answered, wanted)
                if self._interrupts > 1:
                    raise Interrupted(cloud.leftovers()) from None

    def _end_a_kept_endpoint(self, cloud: Cloud, execution: Execution) -> None:
        """Move the clock on to the moment at which the schedule ends a kept endpoint, instead of waiting."""
        moment = cloud.events.next_moment()
        if moment is None or not cloud.leftovers()["endpoints"]:
            return
        minutes = (moment - cloud.clock()).total_seconds() / 60
        self.display.say(f"\nThe endpoint is kept for {minutes:.0f} more minutes. The rehearsal's clock skips them.")
        cloud.clock.advance(minutes=max(0.0, minutes), seconds=1)
        self._wait(cloud, execution)

    def _finish(self, cloud: Cloud, execution: Execution) -> int:
        run, options = run_name(execution.name), self.options
        name = options.name or run
        places = [
            folder / name
            for folder in (options.results, options.project / STATE / "results", Path(tempfile.gettempdir()))
        ]
        target, self.summary = results.copy_out(cloud, run, places, self.model, self.display, self._keep)
        summary, succeeded = self.summary, execution.status == "SUCCEEDED"
        if succeeded and summary:
            results.show_summary(self.display, summary)
            results.show_missed(self.display, summary, options.interruptions)
        clean = results.show_proof(self.display, cloud)
        clean = results.show_rights(self.display, cloud) and clean
        self.display.say()
        if summary:
            self.display.say(f"Report: [bold]{escape(str(target / 'report.html'))}[/]")
            if (target / KEPT_ADAPTER).is_dir():
                self.display.say(f"Ask both models yourself: [bold]captune use {escape(str(target))}[/]")
        self.display.say(f"[dim]Logs of Lambdas and training: {escape(str(self._folders.logs))}[/]")
        if not (succeeded and summary):
            if (kept := target / KEPT_ADAPTER).is_dir():
                self.display.say(f"The trained adapter is in {escape(str(kept))}.")
            self.display.say(f"\n[bold red]{execution.status}[/]: {escape(results.failure(execution))}")
        if self._interrupts:
            return STOPPED
        return 0 if succeeded and clean and summary else 1

    # Ctrl-C --------------------------------------------------------------------------------------------------------

    @contextmanager
    def _signals(self) -> Iterator[None]:
        handlers = {signal.SIGINT: self._interrupt, signal.SIGTERM: self._interrupt}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += 1
        if self._cloud is None:
            raise KeyboardInterrupt
        if self._interrupts == 1 and self.execution is not None:
            # In another thread: a handler must not wait for a lock that the interrupted code may hold.
            threading.Thread(target=self._stop, daemon=True).start()

    def _stop(self) -> None:
        assert self._cloud is not None
        assert self.execution is not None
        self.display.say(
            "\n[yellow]Stopping the execution, as Stop in the console does.[/] TearDown follows. A training job has two minutes to measure and save "
            "its adapter, as on AWS. Press Ctrl-C again to leave at once."
        )
        self._cloud.stop(
            self.execution,
            error="Stopped",
            cause="You stopped the rehearsal with Ctrl-C. Start it again with captune rehearse.",
        )

    def _say_what_is_left(self, left: dict[str, list[str]]) -> None:
        self.display.say(
            "[red]You left before TearDown ended.[/] Everything ran on this machine and ends with this program. On AWS these resources would be left:"
        )
        for kind, names in left.items():
            self.display.say(f"  {kind}: {escape(', '.join(names)) or 'none'}")
