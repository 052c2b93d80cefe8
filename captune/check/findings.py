"""The findings of a question, and the warning for one that AWS refuses or does not answer."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from common.aws import error_code, error_message

# "User: … is not authorized to perform: ecr:BatchGetImage on resource: …", in whatever service's words around it.
_REFUSED_ACTION = re.compile(r"perform:? ([a-z0-9-]+:[A-Za-z]+)")
_REFUSALS = ("AccessDenied", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized", "Forbidden", "403")
_BUSY = ("Throttl", "TooManyRequests", "RequestLimitExceeded", "SlowDown", "LimitExceeded")
# A proxy's page instead of AWS's answer raises ResponseParserError, which is no BotoCoreError.
NO_ANSWER = (BotoCoreError, ResponseParserError)
# Subjects on which the payer of an organisation, or AWS, has to act.
BUDGETS, QUOTAS = "AWS Budgets", "quotas"
_OTHERS_ACT = (BUDGETS, QUOTAS)
_LONGEST = 300  # characters of a message that is not ours
# AWS Budgets may deny an administrator too, and its text does not always name the cause.
_ALLOW_BUDGETS = (
    "deploy nothing yet. Signed in as root: Account > IAM user and role access to Billing information > Edit > Activate IAM Access. In an organisation: let "
    "the payer account open Budgets and Cost Explorer in Billing and Cost Management once (AWS takes an hour to a day), and let its administrator look for a "
    "service control policy that denies budgets:*. A policy of your own must allow {action}. Then run captune check again"
)


class Level(StrEnum):
    """How much a finding matters: a problem stops a run or its guard, a warning may."""

    OK = "ok"
    LATER = "later"  # cannot be asked before the stacks are deployed
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line of the check. `fix` says what to do, and is empty where there is nothing to do."""

    level: Level
    subject: str
    text: str
    fix: str = ""


Findings = Iterator[Finding]

ok = partial(Finding, Level.OK)
later = partial(Finding, Level.LATER, fix="make deploy, then captune check again")
warning = partial(Finding, Level.WARNING)  # may stop a run, or could not be asked
problem = partial(Finding, Level.PROBLEM)  # stops a run, or leaves it without a guard


def asking(subject: str, right: str, question: Findings) -> Findings:
    """The findings of a question. If AWS denies it, a warning with the IAM action to allow (the one that AWS names, or else `right`).

    AWS Budgets is an exception: a stack of ours needs it, so its denial is a problem.
    """
    try:
        yield from question
    except ClientError as error:
        yield _unanswered(subject, right, error)
    except NO_ANSWER as error:
        text = f"AWS did not answer: {one_line(str(error))}"
        yield warning(subject, text, "look at the network and the proxy, then run captune check again")


def order_of_fixing(found: Iterable[Finding]) -> str:
    """The order to fix problems in: first those that wait for others, then as they were found."""
    subjects = dict.fromkeys(one.subject for one in found if one.level == Level.PROBLEM)
    slow, own = [one for one in _OTHERS_ACT if one in subjects], [one for one in subjects if one not in _OTHERS_ACT]
    parts = [f"first what others have to do, which takes hours to days ({', '.join(slow)})"] if slow else []
    return f"Fix {'; then '.join([*parts, *([', '.join(own)] if own else [])])}."


def one_line(message: str) -> str:
    """A message that is not ours without its line ends, cut where it is too long."""
    text = " ".join(message.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _unanswered(subject: str, right: str, error: ClientError) -> Finding:
    code, message = error_code(error), one_line(error_message(error))
    if any(word in code for word in _REFUSALS):
        named = _REFUSED_ACTION.search(message)
        action = named[1] if named else right
        if right.startswith("budgets:"):
            text = f"AWS denies it, and without its budget Captune-Guardrail cannot be deployed ({code}: {message})"
            return problem(subject, text, _ALLOW_BUDGETS.format(action=action))
        return warning(subject, f"these credentials may not ask it ({code})", f"allow {action}, or ignore this")
    if any(word in code for word in _BUSY):
        return warning(subject, f"AWS was too busy to answer ({code})", "run captune check again in a minute")
    return warning(subject, f"AWS answered {code}: {message}", f"see what {right} says in this account and region")
