"""The output of an execution at each end of both machines, checked against the contracts of `lambdas/common/contracts`."""

from typing import Any, get_type_hints

from common.contracts.fine_tuning import Reported, Served
from common.contracts.tear_down import NoOutput, TearDownResult

# By machine: each state that leads to a Succeed state, and the contract of the output there.
ENDS: dict[str, dict[str, type]] = {
    "fine_tuning": {"WriteReport": Reported, "EndpointReady?": Served},
    "tear_down": {"PublishResult": TearDownResult, "KeepEndpointForNow": NoOutput, "AllGone?": NoOutput},
}


def broken(machine: str, states: list[str], output: Any) -> list[str]:
    """The fields of a successful execution's output that are missing, unexpected or of another type, each in words."""
    contract = ENDS[machine][states[-2]]
    expected = get_type_hints(contract)
    found = {name: type(value) for name, value in output.items()} if isinstance(output, dict) else {}
    return [
        f"{machine} ends after {states[-2]} with {output}, and {contract.__name__} differs in {name}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) is not found.get(name)
    ]
