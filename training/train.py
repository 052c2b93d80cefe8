"""python3 train.py --root /opt/ml

Fine-tunes a causal language model on a corpus with LoRA and measures, on the same tokens, what it knew before and what it
knows after. Runs in the Hugging Face training container 2.9.0-transformers5.3.0 without network, launched by SageMaker's
ContainerEntrypoint, and needs only the documented folders below --root. Where there is more than one GPU or host, it starts
itself once for each GPU by torchrun (launching.py), and the adapter is the same as of one process:

    input/config/hyperparameters.json    the settings (arguments.py)
    input/config/resourceconfig.json     the instance type, and with it whether there must be a GPU; the hosts
    input/data/model                     a model in the Hugging Face layout, not in a folder below
    input/data/corpus/*.txt              the text to learn; a line "# Title" begins a document
    input/data/corpus/corpus.jsonl       or records: prompt and completion, or messages, of which the answers are learnt
    input/data/evaluation/*.jsonl        heldout.jsonl; outside.jsonl and control.jsonl if they are there; and scale.jsonl or
                                         scale_control.jsonl, by which the adapter scale is chosen; and choices.jsonl,
                                         prompts with a right end and near misses
    checkpoints                          read at the start, written now and then; starts.json counts the job's starts
    model                                adapter_config.json, adapter_model.safetensors, metrics.json (there as soon as the
                                         last step is made; the tuned losses follow)
    output/data                          metrics.json again, and tensorboard/: the curves as event files
    output/failure                       on failure: what happened and how to fix it (exit code 1). An error after the adapter is
                                         saved is none: the losses that lack are null, and metrics.json says why (exit code 0)
"""

import os

# Before any import that reads them: nothing may wait for a hub or send usage data from an isolated container.
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1")
os.environ.update(HF_DATASETS_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TOKENIZERS_PARALLELISM="false")
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")  # less fragmentation: more fits
# Threads that wait must soon sleep: spinning on, they take the cores from each other wherever something else runs. On two cores
# beside one busy process: 82 tokens/s without any spinning, 64 with the short spin below, 55 with the library's own; alone the
# short spin was as fast as the library's own (172 and 169).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

import argparse  # noqa: E402
import sys  # noqa: E402
import traceback  # noqa: E402
from pathlib import Path  # noqa: E402

import driver  # noqa: E402
import failure  # noqa: E402
import launching  # noqa: E402
import progress  # noqa: E402
from arguments import Arguments, read_arguments  # noqa: E402
from inputs import Inputs, read_inputs  # noqa: E402
from progress import Clock, say  # noqa: E402


def main() -> int:
    """Runs the job; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("/opt/ml"), help="the folder with input/ and model/")
    root = parser.parse_args().root
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun has started this process
        return one_of_several(root)
    driver.restart_with(driver.libraries_for_older_driver())
    clock = Clock()
    clock.listen()
    for left in ("failure", failure.ADAPTER_SAVED):  # by an earlier attempt
        (root / "output" / left).unlink(missing_ok=True)
    try:
        say("phase", name="load")
        arguments, inputs = read(root, clock)
        layout = launching.read_layout(root)
        if layout.processes == 1:
            import job  # torch and all, only now: a wrong input is reported before

            job.run(root, inputs, arguments, clock)
        elif launching.run(layout, [__file__, "--root", str(root)], clock) != 0 and not failure.adapter_is_saved(root):
            say("failure", text=failure.written(root) or failure.write(root, launching.ended_silently(layout)))
            return 1
    except BaseException as error:
        reason = failure.explain(error)
        if reason is not error:
            traceback.print_exc()
        if failure.adapter_is_saved(root):
            return 0
        say("failure", text=failure.write(root, reason))
        return 1
    return 0


def read(root: Path, clock: Clock) -> tuple[Arguments, Inputs]:
    """The settings and the channels."""
    arguments = read_arguments(root / "input" / "config" / "hyperparameters.json")
    clock.budget_seconds = arguments.time_budget_seconds
    return arguments, read_inputs(root / "input" / "data", arguments.sequence_length)


def one_of_several(root: Path) -> int:
    """The same in a process that torchrun has started; the first that fails leaves its reason, and ends the others."""
    launching.end_with_parent()
    clock = Clock(started=float(os.environ[launching.STARTED]))
    clock.listen()
    progress.only_from_first(int(os.environ["RANK"]))
    try:
        arguments, inputs = read(root, clock)
        import job

        job.run(root, inputs, arguments, clock)
    except BaseException as error:
        import processes

        reason, own = processes.reason_of(error)
        if own and not isinstance(error, failure.TrainingFailure):
            traceback.print_exc()
        failure.write_first(root, reason)
        sys.stdout.flush()
        os._exit(1)  # a collective that waits for an ended process would not let the interpreter end
    return 0


if __name__ == "__main__":
    sys.exit(main())
