"""What goes wrong on the way to an S3 server and there, as errors of our own.

No message repeats what a server says of a signature: only its code and its one sentence.
"""

import re
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

from snap.errors import SnapError

from .base import (
    BackendError,
    BackendUnavailable,
    ObjectNotFound,
    ObjectRetained,
    PermissionDenied,
    StorageFull,
)

CLOCK_HINT = "set this machine's clock: requests whose time is far off are refused"
_MOST_OF_A_MESSAGE = 200

_FOR_NOW = frozenset(
    {
        "SlowDown",
        "InternalError",
        "ServiceUnavailable",
        "Busy",
        "RequestTimeout",
        "RequestTimeoutException",
        "Throttling",
        "ThrottlingException",
        "RequestLimitExceeded",
        "TooManyRequests",
        "OperationAborted",
        "ConditionalRequestConflict",
        # Damaged on the way.
        "BadDigest",
        "IncompleteBody",
        "XAmzContentSHA256Mismatch",
        "XAmzContentChecksumMismatch",
    }
)
_MISSING = frozenset({"NoSuchKey", "NotFound", "404"})
_RETAINED = frozenset({"ObjectLocked", "ObjectLockedError"})
_FULL = frozenset(
    {
        "QuotaExceeded",
        "StorageFull",
        "InsufficientStorage",
        "InsufficientCapacity",
        "XMinioStorageFull",
        "XMinioAdminBucketQuotaExceeded",
    }
)
_WRONG_KEY = {
    "InvalidAccessKeyId": "the server does not know this access key id",
    "SignatureDoesNotMatch": "the secret access key is not the one of this access key id",
    "ExpiredToken": "the session token has expired",
    "InvalidToken": "the session token is not valid",
    "TokenRefreshRequired": "the session token has to be refreshed",
}
_ELSEWHERE = frozenset(
    {
        "PermanentRedirect",
        "TemporaryRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "IncorrectEndpoint",
    }
)
_OTHERS = {
    "NoSuchBucket": "make the bucket first, or check its name, the endpoint and the account",
    "RequestTimeTooSkewed": CLOCK_HINT,
    "RequestExpired": CLOCK_HINT,
    "InvalidBucketName": "check the bucket's name",
    "InvalidStorageClass": "take another data_class=, or leave it out",
    "InvalidObjectState": "the object is in an archive class: have the store bring it back first",
    "NotImplemented": "this store cannot do what is needed here; see 'snap check --backend'",
}
_OF_STATUS = {
    407: "the proxy wants a login: HTTPS_PROXY and HTTP_PROXY say which one is used, and as whom",
}
_FAILED = "check the server, or try again later"
_FAILED_PUT = "look into the server's log: its disk may be full; or try again later"
_VERBS = {"put": "writing", "get": "reading", "stat": "reading", "list": "listing"}


def translate_answer(
    response: Mapping[str, Any], operation: str, name: str, place: str
) -> BackendError:
    """Return the error that a refusal by the server means.

    ``response`` is that of botocore's ClientError, ``operation`` a method of `Backend`.
    """
    error = response.get("Error", {})
    meta = response.get("ResponseMetadata", {})
    code, status = str(error.get("Code", "")), int(meta.get("HTTPStatusCode", 0) or 0)
    where = f"{place}: {name}" if name else place
    said = f"{where}: {_sentence(error, code, status)}"
    found = BackendError(said, _OTHERS.get(code, _OF_STATUS.get(status, "")))
    if code in _ELSEWHERE or 300 <= status < 400:
        found = BackendError(said, _region_hint(error, meta))
    elif code in _OTHERS:
        pass
    elif code in _FULL or status == 507:
        found = StorageFull(said, "free some space there; nothing that was stored is lost")
    elif code in _FOR_NOW or status in (408, 429) or status >= 500:
        hint = _FAILED_PUT if _may_be_full(operation, status) else _FAILED
        found = BackendUnavailable(said, hint)
    elif code in _MISSING:
        found = ObjectNotFound(f"{name}: not found in {place}")
    elif code in _RETAINED:
        found = retained(name, place)
    elif status in (401, 403) or code in _WRONG_KEY:
        found = _refusal(where, code, operation)
    return found


def _may_be_full(operation: str, status: int) -> bool:
    """Return whether a store that has no room may have answered so: few have a code for it."""
    return operation == "put" and status == 500


def _refusal(where: str, code: str, operation: str) -> PermissionDenied:
    if code in _WRONG_KEY:
        return PermissionDenied(
            f"{where}: {_WRONG_KEY[code]}",
            "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN or the profile",
        )
    verb = _VERBS.get(operation, "deleting")
    return PermissionDenied(
        f"{where}: {verb} is not allowed with these credentials",
        f"let their policy allow {verb} in this bucket ({_ACTIONS[operation]})",
    )


def retained(name: str, place: str, until: str = "") -> ObjectRetained:
    """Return the error for an object that may not be deleted yet."""
    return ObjectRetained(
        f"{place}: {name}: the store keeps it" + (f" until {until}" if until else ""),
        "it is protected by Object Lock until its retention has ended; if deleting is refused then "
        "as well, let the policy of these credentials allow it (s3:DeleteObject)",
    )


_ACTIONS = {
    "put": "s3:PutObject",
    # Without the second, what is not there is answered with "forbidden" as well.
    "get": "s3:GetObject, s3:ListBucket",
    "stat": "s3:GetObject, s3:ListBucket",
    "list": "s3:ListBucket",
    "delete": "s3:DeleteObject",
}


def _sentence(error: Mapping[str, Any], code: str, status: int) -> str:
    message = " ".join(str(error.get("Message", "")).split())[:_MOST_OF_A_MESSAGE]
    if not code or code.isdigit():
        return f"the server answered {code or status}" + (f", {message}" if message else "")
    return f"{code}: {message}" if message else code


def _region_hint(error: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    region = error.get("Region") or meta.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    if region:
        return f"the bucket is in the region {region}: write region={region} in the place"
    return (
        "write the bucket's region= in the place, and check its endpoint=, and that no proxy "
        "answers for it"
    )


def failures() -> tuple[type[Exception], ...]:
    """Return what botocore and what is below it raise, but for the server's own refusals."""
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - an extra
    from botocore.parsers import ResponseParserError  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    return (BotoCoreError, ResponseParserError, HTTPError, HTTPException, OSError)


def translate_failure(error: Exception, name: str, place: str) -> SnapError:
    """Return the error that a failure of botocore, before or without an answer, means."""
    from botocore import exceptions as known  # noqa: PLC0415 - an extra, imported when it is used

    where = f"{place}: {name}" if name else place
    match error:
        case (
            known.NoCredentialsError()
            | known.PartialCredentialsError()
            | known.CredentialRetrievalError()
            | known.ProfileNotFound()
            | known.SSOError()
            | known.TokenRetrievalError()
        ):
            # Not in the words of what was to give them: it may be a program that prints them.
            return PermissionDenied(
                f"{place}: no usable credentials: {_kind_of(error)}",
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile of ~/.aws in "
                "AWS_PROFILE or profile=",
            )
        case known.NoRegionError():
            return BackendError(f"{place}: no region is known", "write region= in the place")
        case known.SSLError() if _is_distrust(error):
            return BackendError(
                f"{where}: no trusted connection: {_first_words(error)}",
                "check the server's certificate; AWS_CA_BUNDLE names the file with your own CA, "
                "and a server without TLS takes endpoint=http://...",
            )
        case known.ParamValidationError() | known.InvalidRegionError():
            return BackendError(f"{where}: {_first_words(error)}", "check the place")
        case known.BotoCoreError() | OSError():
            return BackendUnavailable(
                f"{where}: {_first_words(error)}", "check the network, the endpoint and the server"
            )
        case _:
            # What the HTTP library lets through when a connection ends in the middle.
            return BackendUnavailable(
                f"{where}: {type(error).__name__}", "check the network and the server"
            )


def _is_distrust(error: Exception) -> bool:
    """Return whether TLS failed for good; else a connection broke off while it was encrypted."""
    return any(sign in str(error) for sign in ("CERTIFICATE", "certificate", "WRONG_VERSION"))


def _kind_of(error: Exception) -> str:
    name = type(error).__name__.removesuffix("Error")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def _first_words(error: Exception) -> str:
    return " ".join(str(error).split())[:_MOST_OF_A_MESSAGE] or type(error).__name__
