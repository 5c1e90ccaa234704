from snap.backends.memory import MemoryBackend
from snap.repo.ids import pack_name
from snap.repo.pack import DATA_PACK
from snap.repo.progress import SilentReporter
from snap.repo.repack import Repacked, Repacking
from snap.repo.repository import Repository
from snap.repo.survey import Survey, survey, uses

from .conftest import Opener, back_up
from .copies import flip
from .dictsource import DictSource
from .pruning import assert_whole, let_go, noise


def repack(repository: Repository, kind: int) -> tuple[Survey, Repacked]:
    found = survey(repository, frozenset(), SilentReporter())
    chosen = [use for use in uses(repository, found) if use.kind == kind and use.blobs]
    return found, Repacking(repository, found.needed, lambda *_: None).run(chosen)


def test_what_is_needed_has_a_second_place_that_alone_is_enough(
    repository: Repository, backend: MemoryBackend, open_again: Opener
) -> None:
    many = {b"%d" % n: noise(n, 4_000) for n in range(20)}
    let_go(repository, back_up(repository, DictSource(many)))
    kept = {b"4": many[b"4"], b"9": many[b"9"]}
    second = back_up(repository, DictSource(kept))
    _, report = repack(repository, DATA_PACK)
    assert report.packs == 1
    assert report.written_bytes < 15_000 < report.read_bytes
    for id_, pack in report.sources.items():
        backend.delete(pack_name(pack.kind, id_))
    target = open_again()
    from .pruning import content

    assert content(target, second) == kept


def test_keys_of_several_packs_are_taken_along(repository: Repository, open_again: Opener) -> None:
    contents = []
    for n in range(5):
        files = {b"f": noise(n, 3_000)}
        contents.append((back_up(repository, DictSource(files, name=f"s{n}")), files))
    _, report = repack(repository, DATA_PACK)
    assert len(report.sources) == 5
    assert report.packs == 1
    (new,) = report.index_ids
    repository.load_index()
    (pack_id, _), *_ = repository.cache.packs_by_index()[new]
    pack = repository.cache.pack(pack_id)
    assert pack is not None
    assert pack.key_count == 5
    assert_whole(open_again(), contents)


def test_nothing_is_taken_from_a_pack_that_is_not_what_its_name_says(
    repository: Repository, backend: MemoryBackend
) -> None:
    back_up(repository, DictSource({b"f": noise(1)}))
    name = next(iter(backend.list("data/"))).name
    flip(backend, name, 5_000)
    _, report = repack(repository, DATA_PACK)
    assert report.packs == 0
    assert report.sources == {}
    assert name in report.damaged[0]


def test_packs_are_no_larger_than_the_repository_wants_them(repository: Repository) -> None:
    files = {b"%02d" % n: noise(n, 10_000) for n in range(30)}
    contents = [(back_up(repository, DictSource(files)), files)]
    _, report = repack(repository, DATA_PACK)
    assert report.packs >= 5
    limit = repository.config.parameters.pack_bytes + 20_000
    repository.load_index()
    assert all(pack.size_bytes <= limit for pack in repository.cache.packs())
    assert_whole(repository, contents)
