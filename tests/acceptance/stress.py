"""Hosts that do everything at once to one repository and its copy, and are killed at random.

Each snapshot bears the tag of the state that its source was in, so whoever restores it, and
whichever revision it is by then, knows what must come back.
"""

import json
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.scale import rounds

from .command import Picture, Snap, picture
from .stress_program import DEAD_SECONDS
from .stress_server import PROGRAM, Forked, ForkServer

_HANGS_SECONDS = 240
_TRIES = 5
_POOL = 40
_PIECE = 120_000
_MANY = 16
_LONGEST_PAUSE = float(rounds(15, otherwise=8))
_STATE = re.compile(r"state-\d+-\d+")
Content = tuple[Picture, list[tuple[object, ...]]]

NEVER = "no reason at all"
TAKEN_FOR_DEAD = r"others took it for dead"
GONE = r"no snapshot '|was forgotten meanwhile|the repository has no snapshots"

ALLOWED: dict[str, tuple[tuple[int, str, str], ...]] = {
    "backup": ((11, TAKEN_FOR_DEAD, "it was stopped for longer than a lease lives"),),
    "forget": (
        (11, TAKEN_FOR_DEAD, "it was stopped for longer than a lease lives"),
        (1, "is the last good one of", "those that it was to have beside it are gone by now"),
        (1, "is held", "another host held it meanwhile"),
        (1, GONE, "another host forgot it meanwhile"),
    ),
    "prune": (
        (11, "another prune is at work", "only one at a time"),
        (11, TAKEN_FOR_DEAD, "it was stopped for longer than a lease lives"),
        (11, "others change the list of", "the others were too busy"),
    ),
    "prune --now": (
        (11, "--now is for a repository that nothing else uses", "that is what it is for"),
        (11, "another prune is at work", "only one at a time"),
        (11, TAKEN_FOR_DEAD, "it was stopped for longer than a lease lives"),
        (11, "others change the list of", "the others were too busy"),
    ),
    "replicate": ((1, TAKEN_FOR_DEAD, "it was stopped for longer than a lease lives"),),
    "tag": (
        (1, GONE, "another host forgot or tagged it meanwhile"),
        (11, TAKEN_FOR_DEAD, "it was stopped for longer than a lease lives"),
    ),
    "hold": (
        (1, GONE, "another host forgot or tagged it meanwhile"),
        (11, TAKEN_FOR_DEAD, "it was stopped for longer than a lease lives"),
    ),
}
"""Besides 0: exit code, what it says, why. Reading is judged by `Host._judge_reading`."""


@dataclass
class StressSnap(Snap):
    """snap with its time compressed, on a host of its own."""

    host: str = ""
    url: str = ""
    more: dict[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            **self.more,
            "SNAP_REPOSITORY": self.url,
            "STRESS_HOST": self.host,
        }

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.python, PROGRAM, *arguments],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


@dataclass
class Done:
    """What became of one command."""

    kind: str
    arguments: tuple[str, ...]
    code: int
    out: str
    err: str
    killed: bool
    paused: float

    def summary(self) -> Any:
        return json.loads(self.out.strip().splitlines()[-1])


@dataclass
class Record:
    """What all hosts have seen; each change under the lock."""

    begun: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)
    known: dict[str, Content] = field(default_factory=dict)
    committed: set[str] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.begun:7.1f} {text}", flush=True)

    def count(self, what: str, number: int = 1) -> None:
        with self.lock:
            self.counts[what] += number

    def fail(self, text: str) -> None:
        with self.lock:
            self.failures.append(text)
        self.say(f"FAILURE {text}")


class Source:
    """Files and a database that change; much of it is what others have, or had before."""

    def __init__(self, root: Path, number: int, seed: int) -> None:
        self.number, self._seed, self._version = number, seed, 0
        self.files, self.database = root / "files", root / "events.db"
        self.files.mkdir(parents=True)
        self._db = sqlite3.connect(self.database, check_same_thread=False)
        self._db.execute("create table t(a integer primary key, b blob)")

    @property
    def state(self) -> str:
        return f"state-{self.number}-{self._version}"

    def change(self) -> None:
        self._version += 1
        chance = random.Random(f"{self._seed} {self.state}")
        for name in "abcd":
            if self._version == 1 or chance.random() < 0.6:
                pieces = [self._piece(chance.randrange(_POOL)) for _ in range(2)]
                (self.files / name).write_bytes(b"".join(pieces))
        (self.files / "own").write_bytes(chance.randbytes(60_000))
        (self.files / "state").write_text(self.state)
        if self._version == 1:
            rows = [(chance.randbytes(900),) for _ in range(400)]
            self._db.executemany("insert into t(b) values(?)", rows)
        for _ in range(20):
            row = chance.randrange(1, 401)
            self._db.execute("update t set b = ? where a = ?", (chance.randbytes(900), row))
        self._db.commit()

    def _piece(self, number: int) -> bytes:
        return random.Random(f"{self._seed} piece {number}").randbytes(_PIECE)

    def content(self) -> Content:
        return picture(self.files), self._db.execute("select * from t").fetchall()

    def arguments(self) -> tuple[str, ...]:
        service = f"service-{self.number}"
        place = (f"sqlite:{self.database}", f"files:{self.files}")
        return ("backup", *place, "--service", service, "--tag", self.state, "--json")


def restored_content(folder: Path) -> Content:
    """Return what was restored, and remove it."""
    db = sqlite3.connect(folder / "events.db" / "events.db")
    rows = db.execute("select * from t").fetchall()
    db.close()
    found = picture(folder / "files")
    shutil.rmtree(folder)
    return found, rows


def state_of(snapshot: dict[str, Any]) -> str:
    (state,) = [tag for tag in snapshot["tags"] if _STATE.fullmatch(tag)]
    return str(state)


def first_id(snapshot: dict[str, Any]) -> str:
    return str(snapshot["original"] or snapshot["id"])


@dataclass
class Trouble:
    """What happens to a command: a stop of some seconds, or a kill, or one after the other."""

    after: float
    pause: float = 0.0
    kill: bool = True
    then: float = 0.0


class Host:
    """One host: does one thing after the other until it is told to end."""

    def __init__(
        self, number: int, places: dict[str, str], snap: StressSnap, record: Record, seed: int
    ) -> None:
        self.number, self.record, self.root = number, record, snap.repository
        self.chance = random.Random(f"{seed} host {number}")
        self.source = Source(self.root / f"data-{number}", number, seed)
        self.places = {
            name: StressSnap(
                snap.repository,
                self.root / f"cache-{number}",
                host=f"host-{number}",
                url=url,
                more=dict(snap.more),
            )
            for name, url in places.items()
        }
        plain = snap.environment()
        self._server = ForkServer(self.root / f"host-{number}", plain, list(snap.modules))
        self._took: dict[str, float] = {}
        self._listed: dict[str, list[dict[str, Any]]] = {}
        self._restores = 0

    def close(self) -> None:
        self._server.close()

    # One command

    def run(self, place: str, kind: str, *arguments: str, mercy: bool = False) -> Done:
        """Run a command, which meets trouble unless it is to have mercy; judge its end."""
        trouble = None if mercy else self._trouble(kind)
        begun = time.monotonic()
        process = self._server.start(arguments, self.places[place].environment())
        done = Done(kind, arguments, 0, "", "", False, 0.0)
        try:
            out, err = self._wait(process, trouble, done)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            self.record.fail(f"{arguments} does not end: {err!r}")
        assert process.returncode is not None
        done.code, done.out, done.err = process.returncode, out.decode(), err.decode()
        done.killed = done.killed and done.code == -signal.SIGKILL
        took = time.monotonic() - begun
        if done.code == 0 and not done.paused:
            self._took[kind] = (self._took.get(kind, took) + took) / 2
        self.record.count(f"{kind}: {'killed' if done.killed else f'exit {done.code}'}")
        if done.paused:
            self.record.count("paused beyond a lease" if done.paused > DEAD_SECONDS else "paused")
        said = done.err.strip().splitlines()[:1] if done.code else []
        self.record.say(
            f"host {self.number} {place:10} {kind:12} {done.code:4} {took:5.1f}s"
            f"{f' paused {done.paused:.1f}s' if done.paused else ''} {' '.join(said)}"
        )
        if "Traceback" in done.err or done.code == 70:
            self.record.fail(f"{place}: {arguments}: {done.code} {done.err}")
        return done

    def surely(self, place: str, kind: str, *arguments: str) -> Done:
        """Run a command that meets no trouble and has to succeed.

        Again where the machine itself stood still for longer than a lease lives.
        """
        for _ in range(_TRIES):
            done = self.run(place, kind, *arguments, mercy=True)
            if not done.code or not re.search(TAKEN_FOR_DEAD, done.err):
                break
            self.record.count("taken for dead without a pause")
        assert done.code == 0, done.err
        return done

    def _trouble(self, kind: str) -> Trouble | None:
        dice = self.chance.random()
        after = self.chance.uniform(0.02, 1.15 * self._took.get(kind, 1.0))
        if dice < 0.16:
            return Trouble(after)
        if dice < 0.26:
            pause = self.chance.uniform(0.5, _LONGEST_PAUSE)
            kill = self.chance.random() < 0.3
            return Trouble(after, pause, kill=kill, then=self.chance.uniform(0.0, 0.7))
        return None

    def _wait(self, process: Forked, trouble: Trouble | None, done: Done) -> tuple[bytes, bytes]:
        if trouble is not None:
            try:
                return process.communicate(timeout=trouble.after)
            except subprocess.TimeoutExpired:
                if trouble.pause:
                    process.send_signal(signal.SIGSTOP)
                    time.sleep(trouble.pause)
                    process.send_signal(signal.SIGCONT)
                    done.paused = trouble.pause
            if trouble.kill:
                try:
                    return process.communicate(timeout=trouble.then)
                except subprocess.TimeoutExpired:
                    process.kill()
                    done.killed = True
        return process.communicate(timeout=_HANGS_SECONDS)

    def judge(self, place: str, done: Done) -> bool:
        """Return whether it succeeded; what may not be is a failure."""
        if done.killed or done.code == 0:
            return not done.killed
        for code, words, _ in ALLOWED.get(done.kind, ()):
            if code == done.code and re.search(words, done.err):
                # Whoever was never stopped must not be taken for dead, but on a machine that is.
                if words == TAKEN_FOR_DEAD and not done.paused:
                    self.record.count("taken for dead without a pause")
                return False
        self.record.fail(
            f"{place}: {done.arguments}: exit {done.code}: {done.err}{done.out[-1500:]}"
        )
        return False

    # What there is

    def listed(self, place: str, *, anew: bool = False) -> list[dict[str, Any]]:
        """Return the snapshots of a place, as they are now or were a while ago."""
        if anew or place not in self._listed or self.chance.random() < 0.35:
            done = self.run(place, "snapshots", "snapshots", "--json", mercy=True)
            if self.judge(place, done):
                self._listed[place] = json.loads(done.out)
                for one in self._listed[place]:
                    if state_of(one) not in self.record.known:
                        self.record.fail(f"{place}: a snapshot of what never was: {one}")
        return self._listed.get(place, [])

    def any_snapshot(self, place: str) -> dict[str, Any] | None:
        found = self.listed(place)
        return self.chance.choice(found) if found else None

    # The things to do

    def backup(self) -> None:
        self.source.change()
        state = self.source.state
        self.record.known[state] = self.source.content()
        done = self.run("repository", "backup", *self.source.arguments())
        if self.judge("repository", done):
            with self.record.lock:
                self.record.committed.add(state)

    def forget(self, place: str = "repository") -> None:
        # One that is gone already keeps the others from being forgotten as well.
        found = self.listed(place, anew=self.chance.random() < 0.7)
        newest = {s["service"]: s["id"] for s in found}
        old = [s for s in found if not s["held"] and s["id"] not in newest.values()]
        some = self.chance.sample(old, min(len(old), 1 + max(0, len(found) - _MANY)))
        if place == "repository" and self.chance.random() < 0.2:
            # Nobody but itself backs up as this service.
            service = f"service-{self.number}"
            self._give_up(state for state in list(self.record.known) if self._is_own(state))
            arguments = ["--keep-last", "2", "--service", service]
        elif some:
            if place == "repository":
                self._give_up(map(state_of, some))
            arguments = [first_id(s) for s in some]
        else:
            return
        self.judge(place, self.run(place, "forget", "forget", *arguments))

    def _is_own(self, state: str) -> bool:
        return state.startswith(f"state-{self.number}-") and state != self.source.state

    def _give_up(self, states: "Sequence[str] | Any") -> None:
        with self.record.lock:
            self.record.given_up.update(states)

    def prune(self, place: str = "repository") -> None:
        more, kind = [], "prune"
        if self.chance.random() < 0.2:
            more, kind = ["--now"], "prune --now"
        if self.chance.random() < 0.3:
            more += ["--max-unused", "0"]
        # Sometimes what a running backup has just put is not spared.
        self.places[place].more["STRESS_YOUNG"] = self.chance.choice(["0", "-100000"])
        done = self.run(place, kind, "prune", "--json", *more)
        if self.judge(place, done):
            found = done.summary()
            self.record.count(f"{place}: bytes deleted", found["deleted"]["bytes"])
            self.record.count(f"{place}: packs deleted", found["deleted"]["packs"])
            self.record.count(f"{place}: sweeps that deleted", int(found["deleted"]["packs"] > 0))
            self.record.count(f"{place}: packs rescued", found["rescued"]["packs"])
            self.record.count(f"{place}: packs moved", found["moved"]["packs"])
            if found["lost"] or found["refused"]:
                self.record.fail(f"{place}: prune: {found}")

    def check(self, place: str = "repository") -> None:
        more = ["--read-data-subset", "30%"] if self.chance.random() < 0.4 else []
        done = self.run(place, "check", "check", "--json", *more)
        self.judge(place, done)

    def replicate(self) -> None:
        more = ["--verify"] if self.chance.random() < 0.15 else []
        copy = self.places["copy"].url
        done = self.run("repository", "replicate", "replicate", copy, "--json", *more)
        self.judge("repository", done)

    def restore(self) -> None:
        place = self.chance.choice(["repository", "repository", "copy"])
        one = self.any_snapshot(place)
        if one is None:
            return
        self._restores += 1
        out = self.root / f"out-{self.number}-{self._restores}"
        arguments = ("restore", first_id(one), "--target", str(out))
        done = self.run(place, "restore", *arguments)
        if done.code == 0:
            if restored_content(out) != self.record.known[state_of(one)]:
                self.record.fail(f"{place}: {state_of(one)} came back differently: {one}")
            return
        shutil.rmtree(out, ignore_errors=True)
        self._judge_reading(place, one, done)

    def restored(self, place: str, snapshot: dict[str, Any]) -> Content:
        """Return what a snapshot holds that must be there, restored without trouble."""
        out = self.root / f"out-{place}-{first_id(snapshot)}"
        arguments = ("restore", first_id(snapshot), "--target", str(out))
        done = self.run(place, "restore", *arguments, mercy=True)
        assert done.code == 0, (snapshot, done.err)
        return restored_content(out)

    def read(self) -> None:
        place = self.chance.choice(["repository", "copy"])
        one = self.any_snapshot(place)
        if one is None:
            return
        if self.chance.random() < 0.5:
            self._judge_reading(place, one, self.run(place, "ls", "ls", first_id(one), "--json"))
            return
        done = self.run(place, "dump", "dump", f"{first_id(one)}:files/state")
        self._judge_reading(place, one, done)
        if done.code == 0 and done.out != state_of(one):
            self.record.fail(f"{place}: {state_of(one)} was dumped as {done.out}")

    def _judge_reading(self, place: str, one: dict[str, Any], done: Done) -> None:
        """What reads has no lease: of a snapshot that goes meanwhile it may find nothing."""
        if done.killed or done.code == 0:
            return
        left = {state_of(s) for s in self.listed(place, anew=True)}
        # In a copy what was forgotten may be back already.
        is_back = place == "copy" and done.code == 1 and re.search(GONE, done.err)
        if is_back or (done.code in (1, 4) and state_of(one) not in left):
            self.record.count(f"{done.kind}: its snapshot was forgotten meanwhile")
            return
        self.judge(place, done)

    def tag(self) -> None:
        one = self.any_snapshot("repository")
        if one is None:
            return
        if self.chance.random() < 0.5:
            word = "remove" if one["held"] or self.chance.random() < 0.5 else "add"
            done = self.run("repository", "hold", "hold", word, first_id(one))
        else:
            option = self.chance.choice(["--add", "--remove"])
            done = self.run("repository", "tag", "tag", first_id(one), option, "more")
        self.judge("repository", done)

    def forget_in_copy(self) -> None:
        self.forget("copy")

    def prune_copy(self) -> None:
        self.prune("copy")

    def check_copy(self) -> None:
        self.check("copy")

    def one_thing(self) -> None:
        """Do something, by chance."""
        things: dict[Callable[[], None], int] = {
            self.backup: 24,
            self.forget: 14,
            self.prune: 17,
            self.check: 7,
            self.replicate: 9,
            self.restore: 9,
            self.read: 4,
            self.tag: 7,
            self.forget_in_copy: 4,
            self.prune_copy: 7,
            self.check_copy: 3,
        }
        (thing,) = self.chance.choices(list(things), weights=list(things.values()))
        thing()
