"""Make the files of spec/vectors that are missing; those that exist are never changed.

Usage: python -m spec.make_vectors

A case is a header of `key: value` lines, an empty line, and a body in base64. See
spec/vectors/README.md. Secrets and salts are fixed and worth nothing.
"""

import base64
import json
import sys
import textwrap
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from spec.cases import bodies, checks, companions, doomed, keys, objects, records
from spec.cases.case import OK, Case

FOLDER = Path(__file__).parent / "vectors"

STRUCTURES: dict[str, Callable[[], Iterator[Case]]] = {
    "derived-keys": keys.derived_keys,
    "associated-data": keys.associated_data_cases,
    "recovery-key": keys.recovery_keys,
    "blob-id": objects.blob_ids,
    "chunk-digest": companions.chunk_digests,
    "digests-id": companions.digests_ids,
    "config": keys.configs,
    "key-slot": keys.key_slots,
    "sealed-object": objects.sealed_objects,
    "blob": objects.blobs,
    "pack": objects.packs,
    "index": bodies.indexes,
    "extents": bodies.extents_cases,
    "paged-extents": bodies.paged_extents,
    "digests": companions.digests,
    "content": lambda: chain(bodies.contents(), records.contents()),
    "tree": lambda: chain(bodies.trees(), records.trees()),
    "snapshot": bodies.snapshots,
    "doomed": doomed.doomed,
    "check": checks.checks,
}


def render(structure: str, case: Case) -> str:
    """Return a file's text."""
    lines = ["format: 1", f"structure: {structure}", f"expect: {case.expect}"]
    lines += [f"comment: {case.comment}", *(f"{k}: {v}" for k, v in case.inputs.items())]
    if case.expect == OK:
        lines.append(f"result: {json.dumps(case.result, separators=(',', ':'))}")
    body = textwrap.wrap(base64.b64encode(case.body).decode(), 76)
    return "\n".join([*lines, "", *body, ""])


def main() -> None:
    """Write what is missing."""
    made = kept = 0
    for structure, cases in STRUCTURES.items():
        for case in cases():
            path = FOLDER / f"{structure}-{case.name}.txt"
            if path.exists():
                kept += 1
                continue
            with path.open("x", encoding="utf-8") as file:
                file.write(render(structure, case))
            made += 1
    sys.stdout.write(f"{made} made, {kept} left as they are\n")


if __name__ == "__main__":
    main()
