"""The services that the machines and Lambdas call, one fake of each, with what they share: errors and pages."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError


def client_error(code: str, message: str = "", operation: str = "Operation") -> ClientError:
    """An error as botocore raises it."""
    return ClientError({"Error": {"Code": code, "Message": message or code}}, operation)


@dataclass(frozen=True)
class Pages:
    """A paginator that puts all on one page."""

    call: Callable[..., dict[str, Any]]

    def paginate(self, **arguments: Any) -> Iterator[dict[str, Any]]:
        """The page."""
        yield self.call(**{name: value for name, value in arguments.items() if name != "PaginationConfig"})
