"""Writing the blobs of a plan to where their slices belong: read in ranges, opened in threads."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from operator import attrgetter

from snap.backends.base import BackendError
from snap.errors import IntegrityError

from .ids import Kind
from .plan import Plan, PlannedBlob, Slice
from .progress import Reporter
from .repository import Repository
from .target import Piece, Target

_WORKERS = 3
"""On two cores: while one waits for the store or the disk, two work. More for a store that likes
more requests at once: there it is the answers that are waited for. What has come is opened by so
many all the same: eight take the cores' own memory from each other, 1.85 s instead of 1.77 for 1 GB
from S3."""
_QUEUED_TASKS = 4
RANGE_BYTES = 2 << 20
"""Stored bytes that are read at once; a larger blob is read alone."""
DISTANT_RANGE_BYTES = 12 << 20
"""The same where answers are waited for: a request costs some milliseconds by itself, and a pack of
such a store (8 MiB and what its last blob has beyond) needs one."""
GAP_BYTES = 64 << 10
"""What lies between two blobs is read with them up to here: a request costs more than that. So is
what lies before the first one, since there the pack's header is, which is needed too."""
_TASK_BLOBS = 256
TASK_SLICES = 4096
_SMALL_SLICE_BYTES = 64 << 10
_FILE_OF = attrgetter("file")


class _SharedPlain:
    """The plaintext of a blob of so many slices that several tasks write them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.plain: bytes | None = None


class Task:
    """Blobs that lie near each other in one pack, ``begin`` to ``end`` there."""

    def __init__(self, blob: PlannedBlob, shared: _SharedPlain | None = None) -> None:
        self.blobs = [blob]
        self.shared = shared
        self.slices = len(blob.slices)
        self.location = blob.location
        self.begin = self.end = 0
        if blob.location is not None:
            entry = blob.location.entry
            self.begin = entry.offset if entry.offset > GAP_BYTES else 0
            self.end = entry.offset + entry.stored_length

    def is_of_small_slices(self) -> bool:
        """Return whether there is little to do for each slice."""
        return self.end - self.begin < _SMALL_SLICE_BYTES * self.slices

    def takes(self, blob: PlannedBlob, range_bytes: int) -> bool:
        """Take the next blob of the plan if it may be read together with these."""
        here, there = self.location, blob.location
        if here is None or there is None or here.pack_id != there.pack_id:
            return False
        begin = there.entry.offset
        end = begin + there.entry.stored_length
        if not (
            self.end <= begin <= self.end + GAP_BYTES
            and end - self.begin <= range_bytes
            and len(self.blobs) < _TASK_BLOBS
            and self.slices + len(blob.slices) <= TASK_SLICES
        ):
            return False
        self.blobs.append(blob)
        self.slices += len(blob.slices)
        self.end = end
        return True


def plan_tasks(plan: Plan, range_bytes: int = RANGE_BYTES) -> Iterator[Task]:
    """Yield the plan's blobs in the portions in which they are read."""
    task: Task | None = None
    shared: _SharedPlain | None = None
    for blob in plan.blobs(TASK_SLICES):
        if blob.continues or shared is not None:
            if task is not None:
                yield task
            task, shared = None, shared or _SharedPlain()
            yield Task(blob, shared)
            shared = shared if blob.continues else None
        elif task is None or not task.takes(blob, range_bytes):
            if task is not None:
                yield task
            task = Task(blob)
    if task is not None:
        yield task


class Scatter:
    """One run over a plan.

    Attributes:
        failed: Why files of the plan cannot be had, by their numbers.
        files: Files written whole.
        bytes: Their bytes.
    """

    def __init__(self, repository: Repository, target: Target, reporter: Reporter) -> None:
        self._blobs = repository.blobs
        parallel = repository.backend.parallel_requests
        self._workers = max(_WORKERS, parallel)
        self._range_bytes = RANGE_BYTES if parallel == 1 else DISTANT_RANGE_BYTES
        self._target = target
        self._reporter = reporter
        self._lock = threading.Lock()
        self._small = threading.Lock()
        self._opening = threading.Semaphore(_WORKERS)
        self.failed: dict[int, IntegrityError] = {}
        self.files = 0
        self.bytes = 0

    def run(self, plan: Plan) -> None:
        """Write all slices, in several threads.

        Raises:
            TargetError: the target cannot be written.
            BackendError: the store failed.
        """
        pool = ThreadPoolExecutor(self._workers, "snap-restore")
        running: deque[Future[None]] = deque()
        try:
            for task in plan_tasks(plan, self._range_bytes):
                running.append(pool.submit(self._write_task, task))
                if len(running) > self._workers + _QUEUED_TASKS:
                    running.popleft().result()
            while running:
                running.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _write_task(self, task: Task) -> None:
        blobs = task.blobs
        if self.failed:
            # What only damaged files need is not read.
            blobs = [b for b in blobs if any(s.file not in self.failed for s in b.slices)]
        if not blobs:
            return
        stored = self._read(task) if task.shared is None else None
        # Threads that each do next to nothing between two calls to the system only take the
        # interpreter's lock from each other: of 60,000 files, 8.6 s with one and 12 s with three.
        with self._small if task.is_of_small_slices() else self._opening:
            self._write_blobs(task, blobs, stored)

    def _write_blobs(self, task: Task, blobs: list[PlannedBlob], stored: memoryview | None) -> None:
        files = written = 0
        for blob in blobs:
            try:
                if task.shared is None:
                    plain = self._open(blob, task, stored)
                else:
                    plain = self._open_once(blob, task, task.shared)
            except IntegrityError as error:
                self._fail(blob.slices, error)
                continue
            made = self._write_slices(blob.slices, plain)
            files, written = files + made[0], written + made[1]
        with self._lock:
            self.files += files
            self.bytes += written

    def _fail(self, slices: Sequence[Slice], error: IntegrityError) -> None:
        for one in slices:
            self.failed.setdefault(one.file, error)

    def _read(self, task: Task) -> memoryview | None:
        """Return a task's range of its pack; None where that cannot be read as a whole."""
        if task.location is None:
            return None
        try:
            length = task.end - task.begin
            return memoryview(self._blobs.read_range(task.location, task.begin, length))
        except BackendError:
            return None

    def _open(self, blob: PlannedBlob, task: Task, stored: memoryview | None) -> bytes:
        if blob.location is not None and stored is not None:
            begin = blob.location.entry.offset - task.begin
            part = stored[begin : begin + blob.location.entry.stored_length]
            try:
                return self._blobs.open_at(blob.location, Kind.DATA, part)
            except (IntegrityError, BackendError):
                # Below it is tried where else it lies, in case also with a new cache.
                pass
        return self._blobs.read(blob.id, Kind.DATA)

    def _open_once(self, blob: PlannedBlob, task: Task, shared: _SharedPlain) -> bytes:
        with shared.lock:
            if shared.plain is None:
                shared.plain = self._open(blob, task, self._read(task))
            return shared.plain

    def _write_slices(self, slices: list[Slice], plain: bytes) -> tuple[int, int]:
        """Write a blob's slices; return how many whole files that made, and their bytes."""
        view = memoryview(plain)
        files = written = advanced = 0
        for file, group in groupby(slices, _FILE_OF):
            of_file = list(group)
            entry = of_file[0].entry
            if file in self.failed:
                continue
            if any(s.start + s.length > len(view) for s in of_file):
                error = IntegrityError("an extent reaches beyond its blob")
                self._fail(of_file[:1], error)
                continue
            pieces = [Piece(s.at, view[s.start : s.start + s.length]) for s in of_file]
            advanced += sum(s.length for s in of_file)
            if of_file[0].is_whole_file:
                self._target.write_file(entry, pieces[0].data)
                files, written = files + 1, written + entry.size_bytes
            else:
                self._target.write_pieces(entry, pieces)
        name = slices[-1].entry.path[-1].decode("utf-8", "backslashreplace")
        self._reporter.advance(advanced, item=name)
        return files, written
