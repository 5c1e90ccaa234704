"""Programs with a ChromaDB in them; run by the Python that has it installed, never imported.

write LOGS PLACE SHAPE    write a `chroma_model` log until standard input ends, a thread each; what
                          was begun and what was acknowledged goes to LOGS/THREAD
check JOBS SHAPE          compare directories with the log: JOBS is JSON lines of folder, low, high
fill PLACE COUNT DIM N    make N collections of COUNT records, in one go
thin PLACE                delete two thirds of every collection
dump PLACE                print every record, as JSON lines
"""

import json
import math
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import chromadb
from chromadb.config import Settings

from tests.servers.chroma_model import Model, Shape

_QUIET = Settings(anonymized_telemetry=False)
_PAGE = 2000
_SAMPLES = 20


def open_client(place: str) -> Any:
    if place.startswith("http"):
        host, _, port = place.removeprefix("http://").partition(":")
        return chromadb.HttpClient(host, int(port), settings=_QUIET)
    return chromadb.PersistentClient(place, settings=_QUIET)


def collections_of(client: Any, shape: Shape) -> list[Any]:
    return [
        client.get_or_create_collection(
            f"c{number}-{shape.space}",
            embedding_function=None,
            configuration={"hnsw": {"space": shape.space, "sync_threshold": shape.threshold}},
            metadata={"owner": "test", "number": number},
        )
        for number in range(shape.collections)
    ]


def carry_out(collection: Any, call: Any) -> None:
    if call.kind == "delete":
        collection.delete(ids=call.ids)
        return
    given = {"documents": call.documents, "metadatas": call.metadatas}
    vectors = None if call.vectors is None else [list(v) for v in call.vectors]
    getattr(collection, call.kind)(ids=call.ids, embeddings=vectors, **given)


def write(logs: str, place: str, shape: Shape) -> None:
    client = open_client(place)
    collections = collections_of(client, shape)
    stop = threading.Event()

    def work(number: int) -> None:
        model = Model(shape, number)
        mine = collections[number % shape.collections]
        with (Path(logs) / str(number)).open("w", buffering=1) as log:
            while not stop.is_set():
                call = model.step()
                log.write(f"begun {model.done}\n")
                carry_out(mine, call)
                log.write(f"done {model.done}\n")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(shape.threads)]
    for thread in threads:
        thread.start()
    print("writing", flush=True)
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()


def records_of(collection: Any) -> dict[str, Any]:
    found = {}
    total = collection.count()
    for at in range(0, max(total, 1), _PAGE):
        page = collection.get(
            include=["embeddings", "documents", "metadatas"], limit=_PAGE, offset=at
        )
        rows = zip(
            page["ids"], page["embeddings"], page["documents"], page["metadatas"], strict=True
        )
        for id_, vector, document, metadata in rows:
            found[id_] = (tuple(float(x) for x in vector), document, metadata)
    if len(found) != total:
        raise ValueError(f"{collection.name} counts {total} and gives {len(found)}")
    return found


def same(shape: Shape, found: Any, wanted: Any) -> bool:
    if shape.space != "cosine":
        return bool(found == wanted)
    if found.keys() != wanted.keys():
        return False
    return all(
        found[id_][1:] == wanted[id_][1:] and all(map(_near, found[id_][0], wanted[id_][0]))
        for id_ in wanted
    )


def _near(a: float, b: float) -> bool:
    # Cosine vectors are stored normalised and given back multiplied by their norm.
    return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-4)


def check(jobs: str, shape: Shape) -> None:
    models = [Model(shape, number) for number in range(shape.threads)]
    for line in Path(jobs).read_text().splitlines():
        job = json.loads(line)
        problem = ""
        try:
            check_one(job, shape, models)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        print(json.dumps({"folder": job["folder"], "problem": problem}), flush=True)


def check_one(job: Any, shape: Shape, models: list[Model]) -> None:
    client = open_client(job["folder"])
    collections = collections_of(client, shape)
    found = [records_of(collection) for collection in collections]
    for number, model in enumerate(models):
        while model.done < job["low"][number]:
            model.step()
        mine = {
            id_: record
            for id_, record in found[number % shape.collections].items()
            if id_.startswith(f"t{number}-")
        }
        trial = model.copy()
        while not same(shape, mine, trial.records):
            if trial.done >= job["high"][number]:
                raise ValueError(
                    f"thread {number}: {len(mine)} records are no state between "
                    f"{job['low'][number]} and {job['high'][number]}"
                )
            trial.step()
    for collection, records in zip(collections, found, strict=True):
        check_queries(collection, records, shape)
        check_writes(collection, shape)


def check_queries(collection: Any, records: dict[str, Any], shape: Shape) -> None:
    chosen = list(records)[:: max(1, len(records) // _SAMPLES)]
    if not chosen or shape.space == "ip":
        return
    vectors = [list(records[id_][0]) for id_ in chosen]
    nearest = collection.query(query_embeddings=vectors, n_results=1)["ids"]
    right = sum(ids == [id_] for ids, id_ in zip(nearest, chosen, strict=True))
    # An approximate index: the live one has 0.97 to 0.99.
    if right < 0.85 * len(chosen):
        raise ValueError(f"{collection.name}: {right} of {len(chosen)} find themselves")


def check_writes(collection: Any, shape: Shape) -> None:
    before = collection.count()
    ids = [f"new-{n}" for n in range(shape.threshold + 10)]
    collection.add(ids=ids, embeddings=[[float(n + 1)] * shape.dimension for n in range(len(ids))])
    if collection.count() != before + len(ids):
        raise ValueError(f"{collection.name} does not take new records")
    if len(collection.get(ids=ids, include=["embeddings"])["ids"]) != len(ids):
        raise ValueError(f"{collection.name} does not give new records")


def fill(place: str, count: int, dimension: int, collections: int) -> None:
    client = open_client(place)
    for number in range(collections):
        shape = Shape(seed=number, threads=1, batch=min(count, 500), dimension=dimension)
        collection = client.create_collection(
            f"filled-{number}", embedding_function=None, metadata={"number": number}
        )
        model = Model(shape, number)
        while model.born < count:
            carry_out(collection, model.grow())


def thin(place: str) -> None:
    for collection in open_client(place).list_collections():
        ids = collection.get(include=[])["ids"]
        collection.delete(ids=ids[: len(ids) * 2 // 3])


def dump(place: str) -> None:
    client = open_client(place)
    for collection in sorted(client.list_collections(), key=lambda c: c.name):
        for id_, (vector, document, metadata) in sorted(records_of(collection).items()):
            print(json.dumps([collection.name, id_, vector, document, metadata], sort_keys=True))


def main() -> None:
    what, *rest = sys.argv[1:]
    if what == "write":
        write(rest[0], rest[1], Shape(**json.loads(rest[2])))
    elif what == "check":
        check(rest[0], Shape(**json.loads(rest[1])))
    elif what == "fill":
        fill(rest[0], int(rest[1]), int(rest[2]), int(rest[3]))
    elif what == "thin":
        thin(rest[0])
    elif what == "dump":
        dump(rest[0])
    else:
        raise SystemExit(f"{what}? {list(asdict(Shape()))}")


if __name__ == "__main__":
    main()
