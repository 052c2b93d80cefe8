"""`captune use`: a run's two models over OpenAI's API and on a page, at an address of this machine. Only 127.0.0.1 is listened on."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from rich.console import Console

from captune import account
from captune.account import PROJECT, Refused
from captune.engines import BASE, Deployed, Engine, Here
from captune.fetch import stored_plan
from captune.flags import AsJson, Base, Region, Results, RunName, Server
from captune.kept_run import KeptRun, kept, name_of, only_here
from captune.proxy import Proxy
from common.contracts import run_folder
from common.storage import Storage
from stacks.configuration.catalog import BASE_MODELS

PORT = 8123
VLLM = "vllm"


def listening(port: int) -> socket.socket:
    """A socket on 127.0.0.1. Raises Refused."""
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(("127.0.0.1", port))
        taken.listen()
    except OverflowError:
        taken.close()
        raise Refused(
            f"{port} is no port. Choose one from 1024 to 65535, or 0 for one that is free: --port 0"
        ) from None
    except OSError as error:
        taken.close()
        raise Refused(f"Port {port} cannot be used ({error.strerror}). Take one that is free: --port 0") from error
    return taken


def on_this_machine(run: KeptRun, base: Path | None, server: str) -> Here:
    """The engine of a run that is kept here. Raises Refused, and CannotRun where vLLM or the small model is missing."""
    from rehearsal.models import weights
    from rehearsal.sagemaker.real.hosting import OwnServer, Vllm
    from rehearsal.sagemaker.vllm import environment

    trained_on = run.trained_on().get("name")
    if base is None and trained_on != weights.NAME:
        raise Refused(f"{run.name} was trained on {trained_on}. Name a folder with its weights: --base FOLDER")
    program: Any = Vllm.on_this_machine(environment.interpreter()) if server == VLLM else OwnServer()
    return Here(run, base or weights.ensure_weights(PROJECT / ".rehearsal" / "weights"), program)


def in_the_account(run: str, region: str | None) -> tuple[Engine, KeptRun, list[dict[str, Any]]]:
    """The endpoint of a deployed run, its plan and its prompts. Raises Refused."""
    session = account.session(region)
    storage = Storage(session.client("s3"), account.output(session, "BucketName"))
    plan = stored_plan(session.client("s3"), storage.bucket, run)
    engine = Deployed(session, plan, account.output(session, "TearDownArn"))
    # A run that only serves has no prompts of its own.
    asked_by = (run_folder.run_of_uri(plan["adapterUri"]) or run) if plan.get("serveOnly") else run
    return engine, KeptRun(Path(), plan), storage.read_lines(run_folder.key(asked_by, run_folder.PROMPTS))


@contextmanager
def opened(
    named: str, results: Path, base: Path | None, server: str, region: str | None
) -> Iterator[tuple[Engine, KeptRun, list[dict[str, Any]]]]:
    """What answers for a run, the run and its prompts. A model server of this machine ends with the block. Raises Refused."""
    run = kept(named, results)
    if run is not None and (run.rehearsed or base):
        here = on_this_machine(run, base, server)
        try:
            with Console(stderr=True).status("Starting the model server"):
                here.wait()
            yield here, run, run.prompts()
        finally:
            here.end()
        return
    with only_here(named, results):
        found = in_the_account(name_of(named), region)
    yield found


def command(
    run: RunName,
    port: Annotated[int, typer.Option(metavar="N", help="Listen on this port of 127.0.0.1; 0 takes one that is free.")] = PORT,
    server: Server = "transformers",
    base: Base = None,
    results: Results = Path("results"),
    as_json: AsJson = False,
    region: Region = None,
) -> None:  # fmt: skip
    """Serves until Ctrl-C. Raises an error with its fix.

    A rehearsed run is answered by a model server on this machine, a deployed run by its endpoint while it is kept. The two models are
    `base` and the domain's name.
    """
    with listening(port) as taken, opened(run, results, base, server, region) as (engine, found, prompts):
        serve(engine, found, prompts, taken, as_json)


def serve(engine: Engine, run: KeptRun, prompts: list[dict[str, Any]], taken: socket.socket, as_json: bool) -> None:
    """Says where it listens, and answers until Ctrl-C."""
    port, models, state = taken.getsockname()[1], [BASE, run.domain], engine.state()
    url = f"http://127.0.0.1:{port}"
    if as_json:
        print(json.dumps({"url": url, "run": run.name, "models": models, **state}), flush=True)
    else:
        print(f"{run.name} answers at {url}: open it in a browser, or give programs {url}/v1 as OpenAI's address.")
        print(f"Models: {', '.join(models)}, on {state['where']}. Ctrl-C ends this server.", flush=True)
        if isinstance(engine, Here):
            print(proxy_words(run), flush=True)
        else:
            print("The endpoint stays, and bills, until its minutes are over or you end it on the page.", flush=True)
    proxy = Proxy(engine, run.domain, {"run": run.name, "seed": run.plan.get("seed", 0)}, prompts)
    with suppress(KeyboardInterrupt):
        _server(proxy, taken).run(sockets=[taken])


def proxy_words(run: KeptRun) -> str:
    """How what answers here differs from what would answer in an account."""
    planned = str((run.plan.get("baseModel") or {}).get("name") or "the planned model")
    trained = run.trained_on().get("name")
    words = "A whole answer may take as long as it needs; an endpoint of SageMaker gives it 60 seconds."
    if trained == planned:
        return words
    refuses = any(model.name == planned and not model.has_chat_template for model in BASE_MODELS.values())
    template = " It may answer messages, which an endpoint rejects (NoChatTemplate)." if refuses else ""
    return f"{trained} stands in for {planned}.{template} {words}"


def _server(proxy: Proxy, taken: socket.socket) -> uvicorn.Server:
    app = proxy.application(taken.getsockname()[1])
    # No log of requests: a header may hold what nobody else should read.
    config = uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=2, lifespan="off")
    return uvicorn.Server(config)


@contextmanager
def answering(proxy: Proxy) -> Iterator[int]:
    """The server in a thread, until the block ends; its port."""
    with listening(0) as taken:
        server = _server(proxy, taken)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
        thread.start()
        try:
            yield int(taken.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
