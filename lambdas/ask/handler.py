"""AskBaseModel and AskFineTunedModel: put the prompts to one model of the endpoint and keep its answers."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from ask.questions import Settings, ask_all
from common.aws import client
from common.environment import required
from common.logs import log
from common.storage import Storage

# Stop asking this long before the Lambda's time is over, so that the answers so far are written.
MARGIN_SECONDS = 90


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Asks what is not answered yet; answers how many prompts are answered and how many remain."""
    storage = Storage(client("s3"), required("BUCKET_NAME"))
    settings = Settings(
        endpoint=event["endpointName"], model=event["model"], samples=event["samplesPerPrompt"], seed=event["seed"]
    )
    # The server batches what arrives together; one connection per request in flight.
    runtime = boto3.client(
        "sagemaker-runtime",
        config=Config(
            max_pool_connections=settings.concurrency,
            read_timeout=70,
            retries={"mode": "standard", "total_max_attempts": 5},
        ),
    )
    prompts = storage.read_lines(event["promptsKey"])
    done = storage.read_lines(event["answersKey"])
    seconds = context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS
    answers = ask_all(
        runtime, prompts, done, settings, seconds, lambda lines: storage.write_lines(event["answersKey"], lines)
    )
    remaining = len(prompts) - len(answers)
    log("asked", run=event["runName"], model=settings.model, answered=len(answers), remaining=remaining)
    return {"model": settings.model, "answered": len(answers), "remaining": remaining}
