"""The same questions, the same seeds, to either model: a greedy answer and some sampled ones for each prompt."""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from common.aws import error_code, error_message
from common.errors import AdapterNotServed, EndpointAnsweredBadly, ServiceUnreachable
from common.logs import log

# The settings by which answers of this kind of project are usually compared.
MAX_TOKENS, TEMPERATURE, TOP_P = 64, 0.6, 0.9
# vLLM's `/invocations` overwrites the body's model with a header that InvokeEndpoint cannot send, and answers as the base
# model. The serving image takes a request with this attribute to vLLM's own completions, where the body's model counts.
ROUTE = "route=/v1/completions"
# Conversations go where the server writes them by the model's own chat template.
CHAT_ROUTE = "route=/v1/chat/completions"
# Answers are saved after 100 more prompts, or a quarter more: each save writes all of them, and the bucket keeps the old version
# (common/pricing/costs.py). A killed Lambda costs at most a quarter of an hour of prompts asked again.
SAVE_EVERY_PROMPTS, SAVE_EVERY_SHARE = 100, 0.25
# Nothing is asked in the last seconds of the Lambda's time, so that the requests in flight come back and are written. A prompt with many
# sampled answers may take longer.
MARGIN_SECONDS = 90
# When time is over and no answer has come for this long, the answers are saved before the requests in flight are waited for.
QUIET_SECONDS = 20
# After this many answers a transient error ends the call without failing it: the state machine repeats a failed call a few times only.
GOT_AHEAD_PROMPTS = 100
_AGAIN = "Start a new execution later, with the run's adapter as adapterUri."
# Transient errors: time-outs and too many requests of the container, and SageMaker's own.
_STATUS_THAT_MAY_PASS = {408, 425, 429}
_ERRORS_THAT_MAY_PASS = {
    "ThrottlingException", "ServiceUnavailable", "InternalFailure", "InternalDependencyException", "ModelNotReadyException",
}  # fmt: skip


class TooSlow(ServiceUnreachable):
    """The container did not answer within SageMaker's 60 seconds. It may, with fewer requests at once."""


@dataclass(frozen=True)
class Settings:
    """Which model is asked, how often, and how many requests are in flight at once."""

    endpoint: str
    model: str
    samples: int
    seed: int
    concurrency: int


def ask_all(
    runtime: Any,
    prompts: list[dict[str, Any]],
    done: list[dict[str, Any]],
    settings: Settings,
    seconds: float,
    save: Callable[[list[dict[str, Any]]], None],
    clock: Callable[[], float] = time.monotonic,
) -> list[dict[str, Any]]:
    """Asks every prompt that has no answer yet, until `seconds` are over. Saves now and then, when time is over, and at the end.

    `seconds` end MARGIN_SECONDS before the Lambda does; where a prompt has taken longer than that, nothing is begun that much earlier.
    At least one prompt is asked however little time is given, so that a repeated call always makes progress. Where the container is too
    slow, half as many requests are sent at once, and what was not answered is asked again. Returns all answers in the order of the
    prompts. Raises EndpointAnsweredBadly for a permanent error, AdapterNotServed for an answer of another model, and ServiceUnreachable
    for a transient error unless many prompts were answered before; nothing more is asked then, and the answers are kept.
    """
    longest = max((float(answer.get("seconds", 0)) for answer in done), default=0.0)
    answers = {answer["id"]: answer for answer in done}
    waiting = deque(prompt for prompt in prompts if prompt["id"] not in answers)
    deadline = clock() + seconds
    # The prompt of each request in flight, and how many were allowed at once when it left.
    flying: dict[Future[dict[str, Any]], tuple[dict[str, Any], int]] = {}
    at_once = settings.concurrency
    asked = unsaved = 0
    quiet = False
    problem: Exception | None = None
    too_slow = ""
    with ThreadPoolExecutor(settings.concurrency) as pool:
        while True:
            due = deadline - max(0.0, longest - MARGIN_SECONDS)
            late = asked > 0 and clock() >= due
            while waiting and len(flying) < at_once and not late and problem is None:
                prompt = waiting.popleft()
                flying[pool.submit(_ask, runtime, prompt, settings)] = prompt, at_once
                asked += 1
                late = clock() >= due
            if unsaved >= max(SAVE_EVERY_PROMPTS, SAVE_EVERY_SHARE * len(answers)) or (unsaved and quiet):
                # Requests in flight may take longer than the Lambda has; what is answered must not be lost with them.
                save(_in_order(prompts, answers))
                unsaved = 0
            if not flying:
                break
            patience = None if quiet else QUIET_SECONDS if late else max(0.0, due - clock())
            finished = wait(flying, patience, return_when=FIRST_COMPLETED).done
            quiet = late and not finished
            for future in finished:
                prompt, allowed = flying.pop(future)
                try:
                    answer = future.result()
                except TooSlow as error:
                    too_slow = str(error)
                    waiting.appendleft(prompt)
                    at_once = min(at_once, max(1, allowed // 2))
                    if allowed == 1:
                        problem = problem or ServiceUnreachable(too_slow)  # by this name the state machine tries again
                    continue
                except Exception as error:
                    problem = problem or error
                    continue
                answers[answer["id"]] = answer
                longest = max(longest, answer["seconds"])
                unsaved += 1
    if unsaved:
        save(_in_order(prompts, answers))
    gained = len(answers) - len(done)
    if problem is not None:
        if gained < GOT_AHEAD_PROMPTS or not isinstance(problem, ServiceUnreachable):
            raise problem
        log("stopped early, the next call goes on", answered=gained, reason=str(problem))
    if too_slow and not gained:  # a call that got nowhere must not be repeated without a limit
        raise ServiceUnreachable(too_slow)
    return _in_order(prompts, answers)


def samples_of(prompt: Mapping[str, Any], samples: int) -> int:
    """How many sampled answers a prompt gets in a run that asks for `samples`: of a starter people look at these first, so it has one at least."""
    return max(1, samples) if prompt["kind"] == "starter" else samples


def _in_order(prompts: list[dict[str, Any]], answers: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [answers[prompt["id"]] for prompt in prompts if prompt["id"] in answers]


def _ask(runtime: Any, prompt: dict[str, Any], settings: Settings) -> dict[str, Any]:
    started = time.monotonic()
    seeds = [settings.seed + number for number in range(samples_of(prompt, settings.samples))]
    greedy = _complete(runtime, prompt, settings, temperature=0.0, seed=settings.seed)
    samples = [_complete(runtime, prompt, settings, temperature=TEMPERATURE, seed=seed) for seed in seeds]
    return {
        "id": prompt["id"],
        "kind": prompt["kind"],
        "prompt": prompt["prompt"],
        "model": settings.model,
        "greedy": greedy,
        "samples": samples,
        "seeds": seeds,
        "max_tokens": MAX_TOKENS,
        "temperature": TEMPERATURE,
        "top_p": TOP_P,
        "seconds": round(time.monotonic() - started, 3),
    }


def _complete(runtime: Any, prompt: dict[str, Any], settings: Settings, temperature: float, seed: int) -> str:
    talks = "messages" in prompt
    body = {
        "model": settings.model,
        **({"messages": prompt["messages"]} if talks else {"prompt": prompt["prompt"]}),
        "max_tokens": MAX_TOKENS,
        "temperature": temperature,
        "top_p": TOP_P,
        "seed": seed,
    }
    if temperature == 0.0:
        body["top_p"] = 1.0
    try:
        answer = runtime.invoke_endpoint(
            EndpointName=settings.endpoint,
            ContentType="application/json",
            CustomAttributes=CHAT_ROUTE if talks else ROUTE,
            Body=json.dumps(body),
        )
        content = answer["Body"].read()
    except ClientError as error:
        raise _explain(error, settings) from error
    except BotoCoreError as error:
        raise ServiceUnreachable(f"Endpoint {settings.endpoint} did not answer: {error}. {_AGAIN}") from error
    return _text(content, settings, talks)


def _explain(error: ClientError, settings: Settings) -> Exception:
    code, message = error_code(error), error_message(error)
    # SageMaker wraps the container's own answer into a 424, with its status beside the error.
    original = int(error.response.get("OriginalStatusCode") or 0)
    refused = 400 <= original < 500 and original not in _STATUS_THAT_MAY_PASS
    if (code == "ModelError" and not refused) or code in _ERRORS_THAT_MAY_PASS:
        # The container's status is 0 where it has given none within the time.
        problem = TooSlow if code == "ModelError" and not original else ServiceUnreachable
        return problem(f"Endpoint {settings.endpoint} is busy or failing ({code}): {message} {_AGAIN}")
    return EndpointAnsweredBadly(
        f"Endpoint {settings.endpoint} rejected a prompt for the model {settings.model!r} ({code}): {message} Read its log in CloudWatch, group "
        f"/aws/sagemaker/Endpoints/{settings.endpoint}, and correct the prompt or hosting_image."
    )


def _text(content: bytes, settings: Settings, talks: bool) -> str:
    try:
        answer = json.loads(content)
        choice, model = answer["choices"][0], answer["model"]
        text = choice["message"]["content"] if talks else choice["text"]
    except (ValueError, KeyError, IndexError, TypeError):
        text = model = None
    if not isinstance(text, str) or not isinstance(model, str):
        raise EndpointAnsweredBadly(
            f"Endpoint {settings.endpoint} did not answer with an OpenAI completion: {content[:200]!r}. Set hosting_image in cdk.json to a vLLM image, and run make deploy."
        )
    if model != settings.model:
        raise AdapterNotServed(
            f"Endpoint {settings.endpoint} answered with the model {model!r} instead of {settings.model!r}, so the two models cannot be compared: its image "
            f"does not route CustomAttributes {CHAT_ROUTE if talks else ROUTE!r} to vLLM's completions. Empty hosting_image in cdk.json, or set it to a "
            "server-sagemaker-cuda image of AWS, and run make deploy."
        )
    return text
