"""A lock has one holder, dies with it, and is not disturbed by those who only ask."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from threading import Event, Thread

import pytest

from lctui.errors import BadInput
from lctui.runs.locks import Lock, alone_in, is_held
from tests.runs.children import HOLD, child, kill


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert first.acquire()
    assert not second.acquire()
    assert not first.acquire()
    first.release()
    assert second.acquire()
    second.release()
    second.release()
    assert not is_held(tmp_path / "lock")


def test_leaving_the_block_gives_the_lock_back(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    assert lock.acquire()
    with lock:
        assert is_held(tmp_path / "lock")
    assert not is_held(tmp_path / "lock")


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    mine = Lock(file)
    with child(HOLD, file) as process:
        assert is_held(file)
        assert not mine.acquire()
        kill(process)
        assert not is_held(file)
        assert mine.acquire()
    mine.release()


def test_asking_neither_makes_nor_takes_a_lock(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    assert not is_held(file)
    assert not file.exists()
    assert not is_held(tmp_path / "missing" / "lock")
    holder = Lock(file)
    assert holder.acquire()
    assert all(is_held(file) for _ in range(100))
    holder.release()
    assert not any(is_held(file) for _ in range(100))
    assert holder.acquire()
    holder.release()


def test_those_who_ask_never_keep_a_holder_from_beginning(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    file.touch()
    stop = Event()

    def ask() -> None:
        while not stop.is_set():
            is_held(file)

    threads = [Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    refused = 0
    for _ in range(2000):
        lock = Lock(file)
        refused += not lock.acquire()
        lock.release()
    stop.set()
    for thread in threads:
        thread.join()
    assert refused == 0


def test_of_many_who_begin_at_once_one_wins(tmp_path: Path) -> None:
    for round_ in range(50):
        file = tmp_path / str(round_)
        start, locks = Event(), [Lock(file) for _ in range(4)]
        won: list[bool] = []

        def begin(lock: Lock, start: Event = start, won: list[bool] = won) -> None:
            start.wait()
            won.append(lock.acquire())

        threads = [Thread(target=begin, args=[lock]) for lock in locks]
        for thread in threads:
            thread.start()
        start.set()
        for thread in threads:
            thread.join()
        assert sorted(won) == [False, False, False, True]
        for lock in locks:
            lock.release()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_where_there_are_no_locks_a_claim_holds(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, kind: int) -> None:
        raise OSError(code, os.strerror(code))

    file = tmp_path / "lock"
    file.touch()
    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert not is_held(file)
    free = os.dup(0)
    os.close(free)
    for take in ("acquire", "wait"):
        lock, other = Lock(file), Lock(file)
        assert getattr(lock, take)() is not False
        assert lock.is_claim and is_held(file) and not other.acquire()
        lock.release()
        assert not is_held(file)
    after = os.dup(0)
    os.close(after)
    assert after == free, "no descriptor is left open"
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_lock_that_nobody_could_take_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    missing = tmp_path / "missing" / "lock"
    for file, why in ((tmp_path / "lock", "Is a directory"), (missing, "No such file or directory")):
        for take in (Lock(file).acquire, Lock(file).wait):
            with pytest.raises(BadInput) as caught:
                take()
            assert caught.value.lines() == [f"{file}: cannot be locked: {why}"]


def test_a_pipe_in_a_locks_place_is_held_by_nobody(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    os.mkfifo(path)
    assert not is_held(path)


def test_waiting_briefly_ends_with_the_lock_or_without(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    lock = Lock(file)
    with child(HOLD, file) as process:
        assert not lock.wait_briefly(0.02)
        kill(process)
        assert lock.wait_briefly(60)
    assert is_held(file)
    lock.release()


def test_one_at_a_time_is_alone_in_a_folder(tmp_path: Path) -> None:
    order: list[str] = []
    inside, waits = Event(), Event()

    def second() -> None:
        assert inside.wait(60)
        with alone_in(tmp_path, lambda words: (order.append(words), waits.set())):
            order.append("second")

    thread = Thread(target=second)
    thread.start()
    with alone_in(tmp_path, order.append):
        inside.set()
        assert waits.wait(60)
        order.append("first")
    thread.join()
    assert order == [f"waits for another lctui that writes into {tmp_path}", "first", "second"]
    assert list(tmp_path.iterdir()) == []


def test_where_folders_cannot_be_locked_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with alone_in(tmp_path / "missing", pytest.fail):
        pass
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with alone_in(tmp_path, pytest.fail), alone_in(tmp_path, pytest.fail):
        pass
