"""AskBaseModel and AskFineTunedModel: put the prompts to one model of the endpoint and keep its answers."""

from typing import Any

from botocore.config import Config

from ask.questions import MARGIN_SECONDS, Settings, ask_all
from common.aws import client, reaching
from common.contracts.fine_tuning import Asked, AskEvent
from common.environment import required
from common.errors import ReportIncomplete
from common.logs import log
from common.outside import outside
from common.storage import Storage


def handle(event: AskEvent, context: Any) -> Asked:
    """Asks what is not answered yet; answers how many prompts are answered and how many remain."""
    storage = Storage(client("s3"), required("BUCKET_NAME"))
    settings = Settings(
        endpoint=event["endpointName"],
        model=event["model"],
        samples=event["samplesPerPrompt"],
        seed=event["seed"],
        concurrency=int(required("REQUESTS_AT_ONCE")),
    )
    with reaching("Asking the endpoint"):
        prompts = storage.read_lines(event["promptsKey"])
        if not prompts:
            raise ReportIncomplete(
                f"The run's prompts are missing at {storage.uri(event['promptsKey'])}. Start a new execution with the run's adapter as adapterUri."
            )
        done = storage.read_lines(event["answersKey"])
        seconds = context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS
        answers = ask_all(
            _runtime(settings),
            prompts,
            done,
            settings,
            seconds,
            lambda lines: storage.write_lines(event["answersKey"], lines),
        )
    remaining = len(prompts) - len(answers)
    log("asked", run=event["runName"], model=settings.model, answered=len(answers), remaining=remaining)
    return {"model": settings.model, "answered": len(answers), "remaining": remaining}


def _runtime(settings: Settings) -> Any:
    """A client with one connection for each request in flight. SageMaker itself gives a request up after 60 seconds."""
    patience = {"mode": "standard", "total_max_attempts": 4}
    return outside().make_client(
        "sagemaker-runtime",
        config=Config(max_pool_connections=settings.concurrency, connect_timeout=5, read_timeout=70, retries=patience),
    )
