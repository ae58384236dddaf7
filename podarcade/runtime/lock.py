"""Exclusive use of a run's directory: two runs in one directory would corrupt each other's checkpoints.

The owner holds an flock on the file `lock` while it runs and rewrites a record in it every few seconds, its heartbeat:

    {"token": "9f1c...", "host": "alpha", "boot": "2d18...", "pid": 123, "since": "2026-11-23 14:02:11 UTC",
     "beat_seconds": 5.0, "beat": 417}

Where flock works, it decides; where it does not, a newcomer watches `beat` for four intervals. Only changes of `beat`
count: clocks are never compared, so a clock that jumps does no harm. Guarantees:

  one machine, local disk       A second run is always refused at once. The flock of a dead owner is released by the
                                kernel, so its directory is free at once, in a restarted container with the same pid
                                too. Only after a reboot, or in a container of another name, is the old record watched.
  network, flock between hosts  The same, except that a newcomer on another host watches a dead owner's record first.
                                A server may keep the flock of a host that lost power; then delete the file.
  network, flock within a host  A newcomer that sees heartbeats is refused after at most four intervals. An owner that
  or none; Windows              was suspended for that long is taken over, and sees `lost` within an interval of waking
                                up. If several take over at once, almost surely exactly one wins: two can only if one
                                stalls for a second between its last look and writing its record, and then one of them
                                sees `lost`. Two that start at once on different hosts in a free directory can both
                                begin if flock does not work between hosts; within an interval one of them sees `lost`.
"""

import contextlib
import errno
import json
import os
import pathlib
import socket
import threading
import time
import uuid
import weakref

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

SIZE = 1024  # bytes of the record, constant: rewriting it needs no new block, so a full disk stops no heartbeat
MAX_MISSED_BEATS = 4  # intervals without a heartbeat after which an owner counts as dead
POLLS_PER_BEAT = 4
MAX_CONFIRM_SECONDS = 1.0  # between overwriting a record and checking that it was not overwritten in turn
MAX_BEAT_SECONDS = 3600.0
IN_USE = "is in use by"  # words of the message of every `WorkdirInUse`
UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)


class WorkdirInUse(ValueError):
    """Another run uses the directory; the one-line message says which."""


def _machine() -> dict[str, str]:
    """Return what identifies this machine: the host name, which is not unique, and the boot id of the kernel, if any.

    An flock is trusted only if both agree: containers of one kernel may mount a network file system separately.
    """
    boot = ""
    with contextlib.suppress(OSError):
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"host": socket.gethostname()[:64], "boot": boot}


def _flock(descriptor: int) -> bool:
    """Take the flock; return False if unsupported, raise BlockingIOError if it is held."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in UNSUPPORTED:
            return False
        raise
    return True


def _open(path: pathlib.Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)


@contextlib.contextmanager
def _opened(path: pathlib.Path):
    """Open the file for one access: network file systems fetch changes on open and publish ours on close."""
    descriptor = _open(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(path: pathlib.Path) -> bytes:
    with _opened(path) as descriptor:
        return os.read(descriptor, SIZE)


def _write(descriptor: int, record: dict) -> None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, (json.dumps(record).ljust(SIZE - 1) + "\n").encode())


def _parse(raw: bytes) -> dict | None:
    """Return the record; None if missing or malformed, so that it must not be printed or waited for."""
    try:
        record = json.loads(raw)
        if record["token"] == "":
            return {"token": ""}
        strings = [record[key] for key in ("token", "host", "boot", "since")]
        valid = all(isinstance(string, str) and string.isprintable() for string in strings)
        valid = valid and isinstance(record["pid"], int) and 0 < record["beat_seconds"] <= MAX_BEAT_SECONDS
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return record if valid else None


def _describe(owner: dict | None) -> str:
    return f"process {owner['pid']} on host {owner['host']}" if owner and owner["token"] else "another process"


def owner_id(workdir: str | pathlib.Path) -> int:
    """Return a positive number below 2³¹ that identifies the owner of a directory; 0 if it has none."""
    try:
        owner = _parse((pathlib.Path(workdir) / "lock").read_bytes()[:SIZE])
    except OSError:
        owner = None
    return int(owner["token"][:7], 16) if owner and owner["token"] else 0


def is_held(workdir: str | pathlib.Path) -> bool:
    """Return whether a run on this machine uses a directory; False where only watching its heartbeat could tell."""
    if fcntl is None or not owner_id(workdir):
        return False
    try:
        with _opened(pathlib.Path(workdir) / "lock") as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    return False


_locks = weakref.WeakSet()


def _disown_all() -> None:
    """Drop all locks in a forked child: it shares the parent's flock and must neither outlive nor release it."""
    for lock in list(_locks):
        lock._disown()


# A child that executes another program does not inherit the descriptor at all (PEP 446).
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)


class Lock:
    """Exclusive lock on the directory of a run, from construction to `close`; also a context manager.

    The file `lock` remains when the lock is released. The module docstring lists the guarantees by file system.

    Args:
      workdir: directory of the run; created if missing.
      beat: seconds between heartbeats, in (0, 3600]. Another host waits four of them before it takes over.
      log: called with one-line messages: which owner is watched, and which is taken over.

    Raises:
      WorkdirInUse: another run uses the directory; the message says which.
      OSError: the directory cannot be created, or the file cannot be written.
      ValueError: `beat` is out of range.
    """

    def __init__(self, workdir: str | pathlib.Path, *, beat: float = 5.0, log=print):
        if not 0 < beat <= MAX_BEAT_SECONDS:
            raise ValueError(f"beat={beat}; expected seconds in (0, {MAX_BEAT_SECONDS:g}]")
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        owner = {"token": uuid.uuid4().hex, **_machine(), "pid": os.getpid(), "since": since}
        self._record = {**owner, "beat_seconds": beat, "beat": 0}
        self._workdir, self._log, self._lost = workdir, log, False
        self._path = pathlib.Path(workdir) / "lock"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = _open(self._path)
        _locks.add(self)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name="lock", daemon=True)
        try:
            self._acquire()
            self._thread.start()
        except BaseException as error:
            self._release()
            if isinstance(error, OSError) and error.filename is None:
                error.filename = str(self._path)
            raise

    def _in_use(self, owner: dict | None) -> WorkdirInUse:
        since = f" since {owner['since']}" if owner and owner["token"] else ""
        who = _describe(owner) + since
        return WorkdirInUse(f"{self._workdir} {IN_USE} {who}; choose another --workdir, or stop that run")

    def _is_ours(self, owner: dict | None) -> bool:
        return owner is not None and owner["token"] == self._record["token"]

    def _is_held(self, descriptor: int) -> bool:
        """Return whether the open file is the one that we lock; that at the path may have been replaced."""
        return os.path.samestat(os.fstat(descriptor), os.fstat(self._descriptor))

    def _acquire(self) -> None:
        try:
            locked = _flock(self._descriptor)
        except BlockingIOError:
            raise self._in_use(_parse(_read(self._path))) from None
        with _opened(self._path) as descriptor:
            raw, held = os.read(descriptor, SIZE), self._is_held(descriptor)
        owner = _parse(raw)
        free = not raw or (owner is not None and not owner["token"])
        local = owner is not None and all(owner.get(key) == value for key, value in _machine().items())
        certain = locked and held and (free or local)
        if not certain and not free:
            free = self._watch(raw, owner)
        if not free:
            self._log(f"taking over the lock of {_describe(owner)}, which is dead")
        with _opened(self._path) as descriptor:
            _write(descriptor, self._record)
        if not certain:
            self._confirm()

    def _watch(self, raw: bytes, owner: dict | None) -> bool:
        """Watch the owner's heartbeat: return True if it releases the lock, False if it is dead; raise if alive.

        Counts polls rather than time: an hour in which this process or the file system was suspended proves nothing
        about the owner.
        """
        beat = owner["beat_seconds"] if owner else self._record["beat_seconds"]
        self._log(f"waiting {MAX_MISSED_BEATS * beat:g} s for a heartbeat of {_describe(owner)}")
        for _ in range(MAX_MISSED_BEATS * POLLS_PER_BEAT):
            time.sleep(beat / POLLS_PER_BEAT)
            now = _read(self._path)
            found = _parse(now)
            if found and not found["token"]:
                return True
            if now != raw:
                raise self._in_use(found or owner)
        return False

    def _confirm(self) -> None:
        """Check that nobody took over the same dead owner after us: the last to write its record wins."""
        time.sleep(min(self._record["beat_seconds"], MAX_CONFIRM_SECONDS))
        owner = _parse(_read(self._path))
        if not self._is_ours(owner):
            raise self._in_use(owner)

    def _keep_beating(self) -> None:
        while not self._lost and not self._stop.wait(self._record["beat_seconds"]):
            # A full disk or a stale handle may be temporary; a run of days must not die of its heartbeat.
            with contextlib.suppress(OSError):
                self._beat()

    def _beat(self) -> None:
        with _opened(self._path) as descriptor:
            owner = _parse(os.read(descriptor, SIZE))
            if owner is not None and not self._is_ours(owner):
                self._lost = True
                return
            # Deleted, by a clean-up for example: nobody else uses the directory, so the run continues. The next run
            # would find it free, though, so the file is restored, with our flock on it. If that run is quicker, this
            # flock fails, and the next heartbeat finds its token.
            if owner is None and not self._is_held(descriptor):
                _flock(descriptor)
                old, self._descriptor = self._descriptor, os.dup(descriptor)
                os.close(old)
            self._record["beat"] += 1
            _write(descriptor, self._record)

    @property
    def lost(self) -> bool:
        """Whether another run has taken over, as of the last heartbeat; this run should then stop without saving."""
        return self._lost

    def _release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        # Closing is not enough: a child between fork and exec may hold a copy.
        if fcntl is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)

    def _disown(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def close(self) -> None:
        """Mark the file as free if it is still ours, and release it; idempotent."""
        if self._descriptor is None:
            return
        self._stop.set()
        self._thread.join()
        # If this cannot be written, the next run prints a line, or waits for a heartbeat.
        with contextlib.suppress(OSError), _opened(self._path) as descriptor:
            if self._is_ours(_parse(os.read(descriptor, SIZE))):
                _write(descriptor, {"token": ""})
        self._release()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()
