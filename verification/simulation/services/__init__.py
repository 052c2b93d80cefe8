"""The services that the machines and Lambdas call, one fake of each, with what they share: errors and pages."""

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, ConnectTimeoutError

from rehearsal.calls import ServiceError
from rehearsal.step_functions.integrations import operations


def client_error(code: str, message: str = "", operation: str = "Operation") -> ClientError:
    """An error as botocore raises it."""
    return ClientError({"Error": {"Code": code, "Message": message or code}}, operation)


@dataclass(frozen=True)
class Pages:
    """A paginator of boto3's kind, faster than botocore's own. An answer without a token is the last page."""

    call: Callable[..., dict[str, Any]]

    def paginate(
        self, *, PaginationConfig: Mapping[str, int] | None = None, **arguments: Any
    ) -> Iterator[dict[str, Any]]:
        """The pages, one after the other."""
        if PaginationConfig:
            arguments["MaxResults"] = PaginationConfig["PageSize"]
        while True:
            page = self.call(**arguments)
            yield page
            token = next((name for name in ("NextToken", "nextToken") if name in page), None)
            if token is None:
                return
            arguments[token] = page[token]


@dataclass
class Client:
    """A client of boto3's kind for one service (boto3's name): `perform` performs the operations `played` in this process.

    While `answers` is false nothing that is paged through can be reached.
    """

    service: str
    played: Container[str]
    perform: Callable[[str, Mapping[str, Any]], dict[str, Any]]
    answers: bool = True

    def __getattr__(self, method: str) -> Callable[..., dict[str, Any]]:
        operation = operations(self.service).get(method, "")
        if operation not in self.played:
            raise AttributeError(method)

        def call(**asked: Any) -> dict[str, Any]:
            try:
                return self.perform(operation, asked)
            except ServiceError as error:
                raise client_error(error.code, error.message, operation) from error

        return call

    def get_paginator(self, method: str) -> Pages:
        """The pages of a list call."""
        if not self.answers:
            raise ConnectTimeoutError(endpoint_url=self.service)
        return Pages(getattr(self, method))
