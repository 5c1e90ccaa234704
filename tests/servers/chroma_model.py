"""A deterministic log of operations on collections, and the state after each; no Chroma in it."""

import random
import struct
from dataclasses import dataclass, field
from typing import Any

Vector = tuple[float, ...]
Record = tuple[Vector, str, dict[str, Any]]


@dataclass(frozen=True)
class Shape:
    """What is written: ``batch`` records a call, each thread into one of the collections."""

    seed: int = 1
    threads: int = 2
    collections: int = 2
    batch: int = 20
    dimension: int = 16
    space: str = "l2"
    threshold: int = 50


@dataclass(frozen=True)
class Call:
    """One call to a collection; for ``delete`` there are ids only."""

    kind: str
    ids: list[str]
    vectors: list[Vector] | None = None
    documents: list[str] | None = None
    metadatas: list[dict[str, Any]] | None = None


@dataclass
class Model:
    """What one thread has written: `step` returns the next call and applies it."""

    shape: Shape
    thread: int
    done: int = 0
    born: int = 0
    records: dict[str, Record] = field(default_factory=dict)

    def copy(self) -> "Model":
        return Model(self.shape, self.thread, self.done, self.born, dict(self.records))

    def step(self) -> Call:
        chance = random.Random(f"{self.shape.seed}-{self.thread}-{self.done}")
        kind = ("add", "update", "add", "metadata", "upsert", "delete")[self.done % 6]
        call = getattr(self, f"_{kind}")(chance)
        self.done += 1
        assert isinstance(call, Call)
        return call

    def grow(self) -> Call:
        """Return a call that adds, and apply it."""
        self.done += 1
        return self._add(random.Random(f"{self.shape.seed}-{self.thread}-{self.done}"))

    def _add(self, chance: random.Random) -> Call:
        ids = [f"t{self.thread}-{self.born + n}" for n in range(self.shape.batch)]
        self.born += len(ids)
        return self._put("add", ids, chance)

    def _update(self, chance: random.Random) -> Call:
        return self._put("update", self._some(chance, self.shape.batch), chance)

    def _upsert(self, chance: random.Random) -> Call:
        new = f"t{self.thread}-{self.born}"
        self.born += 1
        return self._put("upsert", [*self._some(chance, self.shape.batch // 2), new], chance)

    def _metadata(self, chance: random.Random) -> Call:
        ids = self._some(chance, self.shape.batch)
        metadatas = [{"n": chance.randrange(1000)} for _ in ids]
        for id_, metadata in zip(ids, metadatas, strict=True):
            vector, document, old = self.records[id_]
            self.records[id_] = (vector, document, old | metadata)
        return Call("update", ids, metadatas=metadatas)

    def _delete(self, chance: random.Random) -> Call:
        ids = self._some(chance, max(1, self.shape.batch // 4))
        for id_ in ids:
            del self.records[id_]
        return Call("delete", ids)

    def _some(self, chance: random.Random, count: int) -> list[str]:
        return chance.sample(list(self.records), min(count, len(self.records) // 2 + 1))

    def _put(self, kind: str, ids: list[str], chance: random.Random) -> Call:
        vectors = [self._vector(chance) for _ in ids]
        documents = [f"{id_} as of {self.done} " + "text " * 10 for id_ in ids]
        metadatas = [{"k": self.done, "n": chance.randrange(1000), "s": "x"} for _ in ids]
        for number, id_ in enumerate(ids):
            old = self.records[id_][2] if id_ in self.records else {}
            self.records[id_] = (vectors[number], documents[number], old | metadatas[number])
        return Call(kind, ids, vectors, documents, metadatas)

    def _vector(self, chance: random.Random) -> Vector:
        numbers = [chance.gauss(0, 1) for _ in range(self.shape.dimension)]
        layout = f"<{self.shape.dimension}f"
        return struct.unpack(layout, struct.pack(layout, *numbers))
