"""Which IAM actions a call needs, on which resources, and which conditions let it through."""

from typing import Any

import pytest

from rehearsal.account.rights import Need, needs, speaks_of

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


KEYS, TYPES, LONGEST = "dynamodb:LeadingKeys", "sagemaker:InstanceTypes", "sagemaker:MaxRuntimeInSeconds"
VARIANTS = [{"InstanceType": "ml.g5.2xlarge"}, {"InstancePools": [{"InstanceType": "ml.p5.48xlarge"}]}]


@pytest.mark.parametrize(
    ("call", "request_", "context"),
    [
        ("dynamodb.GetItem", {"TableName": "ledger", "Key": {"pk": {"S": "RUN#x"}}}, {KEYS: ("RUN#x",)}),
        ("dynamodb.TransactWriteItems", {"TransactItems": [{"Put": {"TableName": "l", "Item": {"pk": {"S": "RUN#x"}}}}]},
         {KEYS: ("RUN#x",)}),
        ("dynamodb.Scan", {"TableName": "ledger"}, {KEYS: ()}),
        ("sagemaker.CreateTrainingJob", {"TrainingJobName": "one", "StoppingCondition": {"MaxRuntimeInSeconds": 60},
                                         "ResourceConfig": {"InstancePreferences": [{"InstanceType": "ml.g6.xlarge"}]}},
         {TYPES: ("ml.g6.xlarge",), LONGEST: ("60",)}),
        ("sagemaker.CreateEndpointConfig", {"EndpointConfigName": "one", "ProductionVariants": VARIANTS},
         {TYPES: ("ml.g5.2xlarge", "ml.p5.48xlarge"), LONGEST: ()}),
    ],
)  # fmt: skip
def test_a_condition_is_asked_about_every_item_and_instance_type_of_a_request(
    call: str, request_: dict[str, Any], context: dict[str, Any]
) -> None:
    service, operation = call.split(".")
    (need,) = needs(service, operation, request_, "us-east-1", "123456789012")
    assert dict(need.context) == context


@pytest.mark.parametrize(
    ("operator", "wanted", "given", "holds"),
    [
        ("StringEquals", "a*", ("a*",), True),
        ("StringEquals", "a*", ("ab",), False),
        ("StringLike", ["b", "a*"], ("ab",), True),
        ("StringLike", "a*", (), False),
        ("NumericLessThanEquals", "90", ("100",), False),
        ("NumericLessThanEquals", "90", ("90",), True),
        ("NumericLessThanEquals", "90", (), False),
        ("ForAllValues:StringLike", "a*", ("ab", "b"), False),
        ("ForAllValues:StringLike", ["a*", "b"], ("ab", "b"), True),
        ("ForAllValues:StringLike", "a*", (), True),
        ("Null", "false", (), False),
        ("Null", "false", ("a",), True),
        ("Null", "true", (), True),
    ],
)
def test_a_condition_holds_as_in_iam(operator: str, wanted: Any, given: tuple[str, ...], holds: bool) -> None:
    statement = {"Effect": "Allow", "Action": "a:B", "Resource": "*", "Condition": {operator: {"key": wanted}}}
    assert speaks_of(statement, Need("a:B", "*", (("key", given),))) == holds


@pytest.mark.parametrize(("operator", "key"), [
    ("StringNotEquals", "key"), ("ForAnyValue:StringEquals", "key"), ("StringEquals", "other"), ("ForAllValues:StringEquals", "other"),
])  # fmt: skip
def test_an_unknown_condition_allows_nothing_and_denies_everything(operator: str, key: str) -> None:
    statement = {"Action": "a:B", "Resource": "*", "Condition": {operator: {key: "a"}}}
    need = Need("a:B", "*", (("key", ("a",)),))
    assert [speaks_of({**statement, "Effect": effect}, need) for effect in ("Allow", "Deny")] == [False, True]
