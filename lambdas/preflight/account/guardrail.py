"""Whether the rules and the topic that end a run are deployed and enabled: without them only the run's own schedule would.

The Guardrail stack is deployed last and may fail, as in an account whose organisation has not turned AWS Budgets on; runs could start
all the same. And whoever manages the account may have disabled a rule.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Self

from common.aws import unless
from common.environment import required

_ON = "ENABLED"  # also of ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS
_MISSING = "ResourceNotFoundException NotFound NotFoundException"


@dataclass(frozen=True)
class Guards:
    """What has to be there: two rules with the target of each, and the topic of the kill switch, which calls the sweeper too."""

    run_ended_rule: str
    tear_down_arn: str
    sweep_rule: str
    sweeper_arn: str
    kill_switch_topic: str

    @classmethod
    def deployed(cls) -> Self:
        """As the stack names them to Preflight. Raises MisconfiguredFunction."""
        return cls(**{one.name: required(one.name.upper()) for one in fields(cls)})


def missing(events: Any, sns: Any, guards: Guards) -> list[str]:
    """What is not there or not on, and what it would have done."""
    found = [
        *_of_rule(events, guards.run_ended_rule, guards.tear_down_arn, "starts TearDown when a run ends"),
        *_of_rule(events, guards.sweep_rule, guards.sweeper_arn, "starts the sweeper every quarter of an hour"),
    ]
    heard = unless(_MISSING, sns.list_subscriptions_by_topic, TopicArn=guards.kill_switch_topic) or {}
    hearers = [(one["Protocol"], one["Endpoint"]) for one in heard.get("Subscriptions", [])]
    if ("lambda", guards.sweeper_arn) not in hearers:
        found.append(
            f"the kill switch ({guards.kill_switch_topic}), which stops every run at 100% of the budget, has no subscriber"
        )
    return found


def _of_rule(events: Any, name: str, target: str, does: str) -> Iterator[str]:
    rule = unless(_MISSING, events.describe_rule, Name=name)
    if not rule:
        yield f"the rule {name}, which {does}, does not exist"
    elif not str(rule["State"]).startswith(_ON):
        yield f"the rule {name}, which {does}, is {rule['State']}"
    elif target not in [one["Arn"] for one in events.list_targets_by_rule(Rule=name)["Targets"]]:
        yield f"the rule {name}, which {does}, has lost its target"
