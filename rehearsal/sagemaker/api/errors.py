"""Errors as AWS sends them: a code, a message and an HTTP status."""

from __future__ import annotations

from collections.abc import Mapping

# The usual answer to each code, where a caller of `Faults` names only the code.
_USUAL: Mapping[str, tuple[int, str]] = {
    "ThrottlingException": (400, "Rate exceeded"),
    "TooManyRequestsException": (400, "Rate exceeded"),
    "InternalFailure": (500, "The request processing has failed because of an unknown error, exception or failure."),
    "InternalServerError": (500, "We encountered an internal error. Please try again."),
    "InternalErrorException": (500, "An error on the server occurred during the processing of your request."),
    "ServiceException": (500, "Something went wrong."),
    "ServiceUnavailable": (503, "The request has failed due to a temporary failure of the server."),
    "AccessDeniedException": (400, "User is not authorized to perform this action."),
    "ExpiredTokenException": (403, "The security token included in the request is expired"),
    "ModelError": (424, 'Received server error (500) from primary with message "Internal Server Error".'),
}


class ServiceError(Exception):
    """An answer that is an error.

    Args:
        code: the AWS error code, for example "ValidationException".
        message: the text AWS gives; the usual one of the code when left out.
        status: the HTTP status; the usual one of the code when left out.
        extra: further members of the error's body (ModelError has OriginalStatusCode).
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        status: int | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        usual_status, usual_message = _USUAL.get(code, (400, code))
        self.code = code
        self.message = usual_message if message is None else message
        self.status = usual_status if status is None else status
        self.extra = dict(extra or {})
        super().__init__(f"{self.code}: {self.message}")

    @property
    def members(self) -> dict[str, object]:
        """The members of the error's body, where a service answers in JSON."""
        return {"__type": self.code, "message": self.message, "Message": self.message, **self.extra}


def invalid(message: str) -> ServiceError:
    """Return the ValidationException that SageMaker uses for nearly every refusal."""
    return ServiceError("ValidationException", message)
