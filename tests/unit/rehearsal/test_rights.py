"""Which IAM actions a call needs, on which resources."""

from typing import Any

import pytest

from rehearsal.account.rights import needs

ROLE = "arn:aws:iam::123456789012:role/scheduler"
TABLE, SCHEDULE = (
    f"arn:aws:{kind}:us-east-1:123456789012:{name}"
    for kind, name in (("dynamodb", "table/ledger"), ("scheduler", "schedule/default/one"))
)
IMAGE = "arn:aws:ecr:us-east-1:763104351884:repository/vllm"


@pytest.mark.parametrize(
    ("call", "request_", "needed"),
    [
        ("scheduler.CreateSchedule", {"Name": "one", "Target": {"RoleArn": ROLE}},
         [("scheduler:CreateSchedule", SCHEDULE), ("iam:PassRole", ROLE)]),
        ("scheduler.DeleteSchedule", {"Name": "one"}, [("scheduler:DeleteSchedule", SCHEDULE)]),
        ("dynamodb.GetItem", {"TableName": "ledger"}, [("dynamodb:GetItem", TABLE)]),
        ("dynamodb.TransactWriteItems", {"TransactItems": [{"Put": {"TableName": "ledger"}}] * 2},
         [("dynamodb:PutItem", TABLE)] * 2),
        ("ecr.BatchGetImage", {"registryId": "763104351884", "repositoryName": "vllm"}, [("ecr:BatchGetImage", IMAGE)]),
        ("pricing.GetProducts", {}, [("pricing:GetProducts", "*")]),
    ],
)  # fmt: skip
def test_a_call_needs_actions_on_what_its_request_names(call: str, request_: dict[str, Any], needed: Any) -> None:
    service, operation = call.split(".")
    found = needs(service, operation, request_, "us-east-1", "123456789012")

    assert [(one.action, one.resource) for one in found] == needed
