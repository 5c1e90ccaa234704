from snap.repo.catalog import list_snapshots
from snap.repo.copy import open_copy
from snap.repo.repository import Repository
from snap.repo.whole import whole_snapshots

from .conftest import back_up
from .copies import files, flip, names, new_copy, replicate
from .dictsource import DictSource


def test_a_snapshot_is_whole_where_all_its_packs_are(repository: Repository) -> None:
    back_up(repository, DictSource(files(1)))
    place = new_copy(repository)
    replicate(repository, place)
    first = set(names(place, "data/"))
    back_up(repository, DictSource(files(2)))
    back_up(repository, DictSource(files(2)))
    replicate(repository, place)
    config = open_copy(repository, place)
    snapshots = list_snapshots(repository)
    assert whole_snapshots(repository, place, config, snapshots) == snapshots
    lost = next(name for name in names(place, "data/") if name not in first)
    kept = place.get(lost)
    place.put(lost, kept[:-1])
    # Both of those that share it: the second is not taken for whole because of the first.
    assert whole_snapshots(repository, place, config, snapshots) == snapshots[:1]
    place.put(lost, kept)
    flip(place, names(place, "index/")[0])
    assert len(whole_snapshots(repository, place, config, snapshots)) < 3
