"""captune use RUN: ask a run's two models, over OpenAI's API and on a page, at an address of this machine.

A rehearsed run is answered by a model server that this command starts, a deployed one by its endpoint while it is kept. `base` and the
domain's name are the two models. Nothing but 127.0.0.1 is listened on.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from rich.console import Console

from captune import account
from captune.account import PROJECT, NotDeployed, Refused
from captune.engines import BASE, Deployed, Engine, Here, OtherBase
from captune.kept_run import KeptRun, kept, kept_names, name_of, not_found
from captune.proxy import Proxy
from common.contracts import run_folder
from common.storage import Storage

PORT = 8123


class PortTaken(Refused):
    """Another program listens on the port."""


def listening(port: int) -> socket.socket:
    """A socket on 127.0.0.1. Raises PortTaken."""
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(("127.0.0.1", port))
        taken.listen()
    except OSError as error:
        taken.close()
        raise PortTaken(
            f"Port {port} of this machine is taken ({error.strerror}). Name another one: --port {port + 1}"
        ) from error
    return taken


def on_this_machine(run: KeptRun, base: Path | None, server: str) -> Here:
    """The engine of a run that is kept here. Raises NoAdapter, OtherBase, and what the missing part is."""
    from rehearsal.models import weights
    from rehearsal.sagemaker.real.programs import OwnServer, Vllm
    from rehearsal.sagemaker.vllm import environment

    adapter = run.adapter()
    if base is None:
        trained_on = json.loads((adapter / run_folder.METRICS).read_bytes())["base_model"]["name"]
        if trained_on != weights.NAME:
            raise OtherBase(
                f"{run.name} was trained on {trained_on}. Give a folder with its weights, in Hugging Face's layout: --base FOLDER"
            )
        base = weights.ensure_weights(PROJECT / ".rehearsal" / "weights")
    try:
        program: Any = (
            Vllm.on_this_machine(environment.interpreter())
            if server == "vllm"
            else OwnServer("rehearsal.sagemaker.real.streaming")
        )
    except environment.VllmMissing as error:
        raise Refused(str(error)) from error
    return Here(run, base, program)


def in_the_account(named: str, region: str | None) -> tuple[Engine, KeptRun, list[dict[str, Any]]]:
    """The endpoint of a deployed run, its plan and its prompts. Raises RunNotFound and NoEndpoint."""
    session = account.session(region)
    storage = Storage(session.client("s3"), account.output(session, "BucketName"))
    run = name_of(named)
    plan = storage.read_json(run_folder.key(run, run_folder.PLAN))
    if plan is None:
        raise not_found(run, [], f"in the bucket {storage.bucket}")
    prompts = storage.read_lines(run_folder.key(run, run_folder.PROMPTS))
    return Deployed(session, plan, account.output(session, "TearDownArn")), KeptRun(Path(), plan), prompts


def parse(arguments: list[str] | None, prog: str) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", help="the run's name, or its folder")
    parser.add_argument(
        "--port", type=int, default=PORT, help=f"of 127.0.0.1 (default: {PORT}; 0 takes one that is free)"
    )
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="FOLDER", help="where runs are kept on this machine"
    )
    parser.add_argument(
        "--server", choices=("transformers", "vllm"), default="transformers", help="what answers on this machine"
    )
    parser.add_argument(
        "--base", type=Path, metavar="FOLDER", help="the weights of the base model: a fetched run is answered here too"
    )
    parser.add_argument("--region", help="the AWS region (default: the one in cdk.json)")
    parser.add_argument("--json", action="store_true", help="print the address and the models as JSON")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None, prog: str = "captune use") -> int:
    """Serves until Ctrl-C. Raises what a person has to mend, by its name."""
    given = parse(arguments, prog)
    run = kept(given.run, given.results)
    taken = listening(given.port)
    with taken:
        if run is not None and (run.rehearsed or given.base):
            engine: Engine = on_this_machine(run, given.base, given.server)
            return serve(engine, run, run.prompts(), taken, given.json)
        try:
            engine, run, prompts = in_the_account(given.run, given.region)
        except NotDeployed as error:
            here = kept_names(given.results)
            raise not_found(given.run, here, f"in {given.results}, and no account was found ({error})") from error
        return serve(engine, run, prompts, taken, given.json)


def serve(engine: Engine, run: KeptRun, prompts: list[dict[str, Any]], taken: socket.socket, as_json: bool) -> int:
    """Says where it listens, and answers until Ctrl-C."""
    port = taken.getsockname()[1]
    url, models = f"http://127.0.0.1:{port}", [BASE, run.domain]
    console = Console(stderr=True)
    try:
        if isinstance(engine, Here):
            with console.status("Starting the model server"):
                engine.wait()
        about = {"run": run.name, "seed": run.plan.get("seed", 0)}
        app = Proxy(engine, run.domain, about, prompts).application(port)
        if as_json:
            print(json.dumps({"url": url, "run": run.name, "models": models, **engine.state()}), flush=True)
        else:
            print(
                f"{run.name} answers at {url}: open it in a browser, or give programs {url}/v1 as OpenAI's address.",
                flush=True,
            )
            print(f"Models: {', '.join(models)}, on {engine.state()['where']}. Ctrl-C ends this server.", flush=True)
            if not isinstance(engine, Here):
                print(
                    "The endpoint stays, and bills, until its minutes are over or you end it on the page.", flush=True
                )
        config = uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=2, lifespan="off")
        uvicorn.Server(config).run(sockets=[taken])
    except KeyboardInterrupt:
        pass
    finally:
        if isinstance(engine, Here):
            engine.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
