from snap import errors
from snap.errors import IntegrityError, SnapError, SourceError, TargetError, UsageError


def test_each_error_has_a_code_a_message_and_a_hint() -> None:
    codes = {SnapError: 1, UsageError: 2, IntegrityError: 4, SourceError: 1, TargetError: 1}
    for kind, code in codes.items():
        error = kind("what went wrong", "what to do")
        assert (str(error), error.hint, error.exit_code) == ("what went wrong", "what to do", code)
    assert "check --read-data" in IntegrityError("damaged").hint


def test_the_table_of_errors_names_every_class() -> None:
    from snap.backends import base
    from snap.repo import catalog, config, keys, lease

    assert catalog.SnapshotNotFound.exit_code == 1
    table = errors.__doc__ or ""
    for module in (errors, base, config, keys, lease):
        for name, item in vars(module).items():
            if (
                isinstance(item, type)
                and issubclass(item, SnapError)
                and item.__module__ == module.__name__
            ):
                assert name in table, name
