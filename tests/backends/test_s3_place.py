import pytest

from snap.backends.s3_place import S3Place, parse_place
from snap.errors import UsageError


def test_a_url_names_bucket_prefix_server_and_classes() -> None:
    url = "s3://my.bucket-1/a/b/?endpoint=http://127.0.0.1:8333/&region=eu&profile=p&data_class=GLACIER_IR"
    place = parse_place(url)
    assert place == S3Place("my.bucket-1", "a/b/", "http://127.0.0.1:8333", "eu", "p", "GLACIER_IR")
    assert place.shown == "s3://my.bucket-1/a/b at http://127.0.0.1:8333"


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3://bucket//"])
def test_without_a_prefix_objects_lie_at_the_top(url: str) -> None:
    assert parse_place(url) == S3Place("bucket")
    assert parse_place(url).shown == "s3://bucket/"


def test_an_endpoint_without_a_scheme_is_encrypted() -> None:
    assert parse_place("s3://bucket?endpoint=s3.host:9000").endpoint == "https://s3.host:9000"


def test_only_packs_of_data_get_the_class_for_data() -> None:
    place = parse_place("s3://bucket?data_class=STANDARD_IA")
    classes = {name: place.storage_class(name) for name in ("data/aa/x", "meta/aa/x", "config")}
    assert classes == {"data/aa/x": "STANDARD_IA", "meta/aa/x": None, "config": None}


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///prefix",
        "s3://Bucket",
        "s3://a",
        "s3://bucket:80/x",
        "s3://bucket/../x",
        "s3://bucket/a b",
        "s3://bucket/a//b",
        "s3://bucket/x#y",
        "s3://bucket?region=",
        "s3://bucket?region=a&region=b",
        "s3://bucket?Region=a",
        "s3://bucket?endpoint=ftp://host",
        "s3://bucket?endpoint=http://",
        "s3://bucket?endpoint=http://host:x",
        "s3://bucket?data_class=glacier",
        "s3://bucket?data_class=DEEP_ARCHIVE",
        "s3://[bucket",
    ],
)
def test_what_is_no_place_is_a_usage_error_with_a_hint(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_place(url)
    assert caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIAKEY:hush-hush@bucket/x",
        "s3://bucket/x?secret_access_key=hush-hush",
        "s3://bucket/x?aws_secret=hush-hush",
        "s3://bucket/x?endpoint=https://AKIAKEY:hush-hush@host",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_place(url)
    assert "hush" not in str(caught.value) + caught.value.hint
    assert "AWS_" in caught.value.hint
