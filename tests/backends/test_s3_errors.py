"""What botocore and servers say, as errors of our own; what a server really says: test_s3.py."""

import http.client
import inspect

import botocore.exceptions
import pytest
import urllib3.exceptions
from botocore.parsers import ResponseParserError

from snap.backends.base import (
    BackendError,
    BackendUnavailable,
    ObjectNotFound,
    ObjectRetained,
    PermissionDenied,
    StorageFull,
)
from snap.backends.s3_errors import failures, translate_answer, translate_failure
from snap.errors import SnapError


def answered(code: str, status: int, operation: str = "put", **headers: str) -> BackendError:
    response = {
        "Error": {"Code": code, "Message": "Words.", "StringToSign": "hush", "Key": "hush"},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
    }
    return translate_answer(response, operation, "data/x", "s3://bucket")


@pytest.mark.parametrize(
    ("code", "status", "kind", "hint"),
    [
        ("SlowDown", 503, BackendUnavailable, "later"),
        ("InternalError", 500, BackendUnavailable, "later"),
        ("NeverHeardOf", 502, BackendUnavailable, "later"),
        ("TooManyRequests", 429, BackendUnavailable, "later"),
        ("RequestTimeout", 400, BackendUnavailable, "later"),
        ("BadDigest", 400, BackendUnavailable, "later"),
        ("NoSuchKey", 404, ObjectNotFound, ""),
        ("404", 404, ObjectNotFound, ""),
        ("NoSuchBucket", 404, BackendError, "make the bucket"),
        ("AccessDenied", 403, PermissionDenied, "s3:PutObject"),
        ("403", 403, PermissionDenied, "s3:PutObject"),
        ("InvalidAccessKeyId", 403, PermissionDenied, "AWS_ACCESS_KEY_ID"),
        ("SignatureDoesNotMatch", 403, PermissionDenied, "AWS_SECRET_ACCESS_KEY"),
        ("ExpiredToken", 400, PermissionDenied, "AWS_SESSION_TOKEN"),
        ("RequestTimeTooSkewed", 403, BackendError, "clock"),
        ("ObjectLocked", 400, ObjectRetained, "retention"),
        ("QuotaExceeded", 403, StorageFull, "space"),
        ("XMinioStorageFull", 507, StorageFull, "space"),
        ("PermanentRedirect", 301, BackendError, "region=eu-south-1"),
        ("407", 407, BackendError, "HTTPS_PROXY"),
        ("AuthorizationHeaderMalformed", 400, BackendError, "region=eu-south-1"),
        ("InvalidStorageClass", 400, BackendError, "data_class"),
        ("InvalidObjectState", 403, BackendError, "archive"),
        ("NotImplemented", 501, BackendError, "cannot do"),
        ("MalformedXML", 400, BackendError, ""),
    ],
)
def test_an_answer_has_its_class_and_says_what_to_do(
    code: str, status: int, kind: type[BackendError], hint: str
) -> None:
    error = answered(code, status, **{"x-amz-bucket-region": "eu-south-1"})
    assert type(error) is kind
    assert hint in error.hint
    assert "hush" not in str(error) + error.hint


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("put", "s3:PutObject"),
        ("get", "s3:GetObject"),
        ("stat", "s3:GetObject"),
        ("list", "s3:ListBucket"),
        ("delete", "s3:DeleteObject"),
    ],
)
def test_a_refusal_names_what_is_not_allowed(operation: str, action: str) -> None:
    assert action in answered("AccessDenied", 403, operation).hint


def test_a_server_that_fails_at_storing_may_have_a_full_disk() -> None:
    assert "disk" in answered("InternalError", 500, "put").hint
    assert "disk" not in answered("InternalError", 500, "get").hint
    assert "disk" not in answered("SlowDown", 503, "put").hint


def test_a_long_answer_is_cut() -> None:
    response = {"Error": {"Code": "Odd", "Message": "<html>" + "x" * 5000}}
    assert len(str(translate_answer(response, "get", "a", "s3://bucket"))) < 400


def _made(kind: type[Exception]) -> Exception:
    error = kind.__new__(kind)
    Exception.__init__(error, "words")
    return error


def test_every_error_of_botocore_has_a_class() -> None:
    kinds = [
        kind
        for _, kind in inspect.getmembers(botocore.exceptions, inspect.isclass)
        if issubclass(kind, botocore.exceptions.BotoCoreError)
    ]
    assert len(kinds) > 50
    for kind in kinds:
        assert issubclass(kind, Exception)
        assert isinstance(translate_failure(_made(kind), "a", "s3://bucket"), SnapError)
        assert issubclass(kind, failures())


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (botocore.exceptions.NoCredentialsError(), PermissionDenied),
        (botocore.exceptions.ProfileNotFound(profile="p"), PermissionDenied),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="u"), BackendUnavailable),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="u"), BackendUnavailable),
        (
            botocore.exceptions.SSLError(endpoint_url="u", error="CERTIFICATE_VERIFY_FAILED"),
            BackendError,
        ),
        (
            botocore.exceptions.SSLError(endpoint_url="u", error="[SSL: UNEXPECTED_EOF]"),
            BackendUnavailable,
        ),
        (botocore.exceptions.ParamValidationError(report="r"), BackendError),
        (ResponseParserError("not XML"), BackendUnavailable),
        (urllib3.exceptions.ProtocolError("broken"), BackendUnavailable),
        (http.client.IncompleteRead(b""), BackendUnavailable),
        (ConnectionResetError(), BackendUnavailable),
    ],
)
def test_only_what_may_pass_is_tried_again(raised: Exception, kind: type[SnapError]) -> None:
    assert type(translate_failure(raised, "a", "s3://bucket")) is kind
    assert isinstance(raised, failures())


def test_what_a_credential_program_says_is_not_repeated() -> None:
    error = botocore.exceptions.CredentialRetrievalError(provider="p", error_msg="hush")
    told = translate_failure(error, "", "s3://bucket")
    assert isinstance(told, PermissionDenied)
    assert "hush" not in str(told) + told.hint
