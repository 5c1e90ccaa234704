import pytest

from snap.backends.files import TEMPORARY, check_file_name
from snap.errors import UsageError


@pytest.mark.parametrize("name", ["a", "d/a", "tmpx/a", f"d/{TEMPORARY}"])
def test_names_of_objects(name: str) -> None:
    assert check_file_name(name) == name


@pytest.mark.parametrize("name", [TEMPORARY, f"{TEMPORARY}/a", "../a", ""])
def test_names_that_no_object_can_have(name: str) -> None:
    with pytest.raises(UsageError, match="object name"):
        check_file_name(name)
