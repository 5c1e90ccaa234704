from snap.repo.pack_check import Findings, PackCheck
from snap.repo.repository import Repository

from .conftest import back_up
from .dictsource import DictSource


def test_the_same_problem_is_kept_once_and_under_the_object_that_it_names() -> None:
    findings = Findings()
    for _ in range(2):
        findings.add("data/ab/x", "data/ab/x: damaged: short")
    findings.blame("snapshot 1:files", ValueError("meta/cd/y: missing: blob 5 was in it"))
    findings.blame("snapshot 1:files", ValueError("tree blob 6: out of order"))
    assert [(p.object, p.problem) for p in findings.errors] == [
        ("data/ab/x", "short"),
        ("meta/cd/y", "missing: blob 5 was in it"),
        ("snapshot 1:files", "tree blob 6: out of order"),
    ]


def test_whole_packs_are_read_and_counted(repository: Repository) -> None:
    back_up(repository, DictSource({b"a": b"x" * 5000}))
    findings = Findings()
    check = PackCheck(repository, findings)
    packs = list(repository.cache.packs())
    for pack in packs:
        check.check(pack)
    assert findings.errors == []
    assert check.bytes_read == sum(pack.size_bytes for pack in packs)
