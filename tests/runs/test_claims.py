"""Where a file system has no locks: a claim has one holder, is taken over only from the dead, and is lost to nobody."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lctui.runs import claims
from lctui.runs.claims import STALE_SECONDS, Claim, claim_of
from lctui.runs.locks import Lock, is_held
from lctui.runs.process import start_time
from tests.runs.children import HOLD, child, kill

WITHOUT = Path(__file__).parent / "without_locks"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock's file where neither this process nor its children have locks."""

    def no_locks(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(WITHOUT), *sys.path]))
    (tmp_path / "lock").touch()
    return tmp_path / "lock"


@contextmanager
def claimed(file: Path, **changes: Any) -> Iterator[Path]:
    """A claim that somebody has left, with fields changed."""
    claim = Claim(file)
    assert claim.take()
    claim._done.set()  # nobody keeps it fresh any more
    said = json.loads(claim.path.read_text())
    claim.path.write_text(json.dumps(said | {"token": "another"} | changes))
    yield claim.path


def aged(path: Path, seconds: float) -> None:
    """The file was last touched so long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_process_without_locks_keeps_others_out_and_frees_them_when_it_is_killed(file: Path) -> None:
    lock = Lock(file)
    with child(HOLD, file) as process:
        assert is_held(file)
        assert not lock.acquire()
        assert json.loads(claim_of(file).read_text())["pid"] == process.pid
        kill(process)
        assert not is_held(file)
        assert lock.acquire()
    assert is_held(file)
    lock.release()
    assert not claim_of(file).exists()


def test_a_claim_is_no_later_process_that_has_its_pid(file: Path) -> None:
    """A process that lives, with the pid in the claim, but that began at another time."""
    with child(HOLD, file.with_name("other")) as process:
        started = start_time(process.pid)
        with claimed(file, pid=process.pid, started=started):
            assert is_held(file)
        claim_of(file).unlink()
        with claimed(file, pid=process.pid, started="1"):
            assert not is_held(file)
            lock = Lock(file)
            assert lock.acquire()
            lock.release()


@pytest.mark.parametrize(("age", "held"), [(0, True), (STALE_SECONDS - 60, True), (STALE_SECONDS + 60, False)])
def test_a_dead_hosts_claim_counts_until_it_has_not_been_freshened_for_minutes(
    age: float, held: bool, file: Path
) -> None:
    with claimed(file, host="elsewhere", machine="another") as path:
        for moved in (age, -age):  # a clock that was set back makes claims of the future
            aged(path, moved)
            assert is_held(file) == held
        lock = Lock(file)
        assert lock.acquire() == (not held)
        lock.release()
        assert path.exists() == held


def test_a_wrong_clock_here_makes_no_claim_stale(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ages are of the file system's clock, whatever this machine's says."""
    with claimed(file, machine="another") as path:
        for wrong in (0.0, 1e12):
            monkeypatch.setattr(time, "time", lambda wrong=wrong: wrong)
            assert is_held(file)
            assert not Lock(file).acquire()
        assert path.exists()


def test_a_claim_that_says_nothing_goes_by_its_age(file: Path) -> None:
    for content in (b"", b"{", b"[]", b"\xff", b'{"pid": "x", "machine": 3}', b'{"pid": true, "machine": []}'):
        claim_of(file).write_bytes(content)
        file.touch()
        assert is_held(file)
        aged(claim_of(file), STALE_SECONDS + 60)
        assert not is_held(file)
        lock = Lock(file)
        assert lock.acquire()
        lock.release()


def test_a_holder_freshens_its_claim_and_only_its_own(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "FRESHEN_SECONDS", 0.001)
    lock = Lock(file)
    assert lock.acquire()
    path = claim_of(file)
    aged(path, 1000)
    while time.time() - path.stat().st_mtime > 900:
        pass
    assert not lock.is_lost()
    # As after a night's sleep: somebody else has taken it for dead.
    theirs = json.dumps({"token": "theirs", "machine": "another"})
    path.unlink()
    path.write_text(theirs)
    assert lock.is_lost()
    lock.release()
    assert path.read_text() == theirs
    assert is_held(file)


def test_a_claim_counts_for_those_who_have_locks(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with claimed(file, machine="another") as path:
        monkeypatch.undo()
        assert is_held(file) and not Lock(file).acquire()
        aged(path, STALE_SECONDS + 60)
        assert not is_held(file)
        with Lock(file) as lock:
            assert lock.acquire() and not path.exists()
            assert is_held(file)


def test_what_is_no_longer_the_stale_claim_is_put_back(file: Path) -> None:
    """Between the judgement and the taking over, somebody else was quicker."""
    with claimed(file, machine="another") as path:
        aged(path, STALE_SECONDS + 60)
        stale = claims._look(path)
    path.unlink()
    lock = Lock(file)
    assert lock.acquire()
    assert not claims._remove(path, lambda found: found == stale)
    assert not lock.is_lost() and is_held(file)
    lock.release()
    assert sorted(each.name for each in file.parent.iterdir()) == ["lock"]


RACES = """
import sys
from pathlib import Path
from lctui.runs.locks import Lock
folder = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    lock = Lock(folder / f"{number}.lock")
    print(int(lock.acquire()), end=" ", flush=True)
    sys.stdin.readline()
sys.stdin.read()
"""


def test_of_those_who_find_a_dead_claim_at_once_one_takes_it_over(file: Path) -> None:
    for number in range(40):
        with claimed(file.with_name(f"{number}.lock"), pid=1, started="never"):
            pass
    with child(RACES, file.parent) as p, child(RACES, file.parent) as q, child(RACES, file.parent) as r:
        racers = (p, q, r)
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("\n" * 41)
            racer.stdin.flush()
        won = []
        for racer in racers:
            assert racer.stdout is not None
            won.append(racer.stdout.read(2 * 40).split())
    assert [sorted(each) for each in zip(*won, strict=True)] == [["0", "0", "1"]] * 40


def test_what_killed_claimants_left_goes_with_the_next_claim(file: Path) -> None:
    """Drafts at once; what stands aside may be a claim that is about to be put back, until it is old."""
    draft, young, old, other = (
        file.with_name(f".{name}") for name in ("lock.claim.1.tmp", "lock.claim.2.aside", "lock.claim.3.aside", "a.tmp")
    )
    for each in (draft, young, old, other):
        each.touch()
    aged(old, STALE_SECONDS + 60)
    with Lock(file) as lock:
        assert lock.acquire()
        assert {each.name for each in file.parent.iterdir()} == {"lock", "lock.claim", young.name, other.name}


@pytest.mark.parametrize("links", [True, False])
def test_a_draft_that_is_swept_is_no_claim(links: bool, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has the claim by then sweeps: the other is refused, as by any claim."""
    link, holder = os.link, Claim(file)

    def swept_before(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        assert holder.take() and not source.exists()
        if not links:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        link(source, target)

    monkeypatch.setattr(os, "link", swept_before)
    assert not Lock(file).acquire()
    assert not holder.is_lost()
    holder.give_back()
    assert [each.name for each in file.parent.iterdir()] == ["lock"]


KILLED = """
import os, signal, sys
from pathlib import Path
from lctui.runs.locks import Lock
os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
print("ready", flush=True)
sys.stdin.readline()
Lock(Path(sys.argv[1])).acquire()
"""


def test_a_claimant_that_is_killed_at_its_draft_leaves_nothing_for_long(file: Path) -> None:
    with child(KILLED, file) as process:
        process.communicate("\n")
    assert [each.name for each in file.parent.glob(".lock.claim.*.tmp")] and not is_held(file)
    with Lock(file) as lock:
        assert lock.acquire()
    assert [each.name for each in file.parent.iterdir()] == ["lock"]


def test_without_links_a_claim_is_made_all_the_same(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    lock, other = Lock(file), Lock(file)
    assert lock.acquire() and not other.acquire() and is_held(file)
    lock.release()
    assert other.acquire()
    other.release()
