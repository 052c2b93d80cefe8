"""One name per run, made once from the execution's name and carried by job, model, endpoint, schedule and ledger item.

No two executions share a run name, not even where case is ignored, as SageMaker does for endpoints. A plain execution name
(lower-case letters, digits and single hyphens between them, as the console gives) is carried as it is. Every other name is
cleaned and gets ten hexadecimal digits of its own SHA-256, which a plain name never ends with.
"""

import hashlib
import re

PREFIX = "captune"
REHEARSED_ACCOUNT = "123456789012"  # the account number of every rehearsal, which is moto's: AWS never assigns it
# SageMaker names hold 63 characters; "captune-" takes 8 and "-try0" of the trial takes 5.
BODY_LENGTH = 50
DIGEST_LENGTH = 10
# 0 is the trial; earlier versions gave the others to further attempts.
_ATTEMPT = re.compile(r"-try[0-9]$")
_DIGEST = re.compile(rf"-[0-9a-f]{{{DIGEST_LENGTH}}}$")
_PLAIN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_RUN = re.compile(rf"{PREFIX}(-+[A-Za-z0-9]+)+")


def is_rehearsed(execution_arn: object) -> bool:
    """Whether an execution was run on a machine and not in an AWS account."""
    return f":{REHEARSED_ACCOUNT}:" in str(execution_arn)


def console_page(execution_arn: str) -> str:
    """The page of an execution in the AWS console, without https:// and the region's own host."""
    region = execution_arn.split(":")[3]
    return f"console.aws.amazon.com/states/home?region={region}#/v2/executions/details/{execution_arn}"


def run_name(execution_name: str) -> str:
    """The run name of an execution: `captune-` and at most 50 characters of SageMaker's alphabet, in lower case."""
    if _is_plain(execution_name):
        return f"{PREFIX}-{execution_name}"
    digest = hashlib.sha256(execution_name.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_LENGTH]
    room = BODY_LENGTH - DIGEST_LENGTH - 1
    cleaned = re.sub(r"[^a-z0-9]+", "-", execution_name.lower()).strip("-")[:room].strip("-")
    return f"{PREFIX}-{cleaned or 'run'}-{digest}"


def execution_name_of(run: str) -> str | None:
    """The name of the execution behind a run name that carries it unchanged, else None: the ledger knows the others."""
    body = run.removeprefix(f"{PREFIX}-")
    return body if body != run and _is_plain(body) else None


def is_run_name(text: str) -> bool:
    """Whether a text can be a run's name, of this version or of an earlier one that kept upper case."""
    return len(text) <= len(PREFIX) + 1 + BODY_LENGTH and bool(_RUN.fullmatch(text)) and not _ATTEMPT.search(text)


def _is_plain(text: str) -> bool:
    if len(text) > BODY_LENGTH or not _PLAIN.fullmatch(text):
        return False
    return not _ATTEMPT.search(text) and not _DIGEST.search(text)


def trial_name(run: str) -> str:
    """The name under which a run tries what it needs later; a resource of this name belongs to the run."""
    return f"{run}-try0"


def belongs_to(resource_name: str, run: str) -> bool:
    """Whether a SageMaker resource is this run's: its exact name, or that name with `-tryN`."""
    return resource_name == run or _ATTEMPT.sub("", resource_name) == run


def run_of(resource_name: str) -> str:
    """The run that a resource of this project belongs to."""
    return _ATTEMPT.sub("", resource_name)
