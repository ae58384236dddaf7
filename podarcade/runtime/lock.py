"""Exclusive use of a run's folder: two runs in one folder would ruin each other's checkpoints.

The owner holds an flock on the file `lock` for as long as it runs, and rewrites its record in it every few seconds:

    {"token": "9f1c...", "host": "alpha", "boot": "2d18...", "pid": 123, "since": "2026-11-23 14:02:11 UTC",
     "beat_seconds": 5.0, "beat": 417}

The flock speaks where it can; where it cannot, a newcomer watches `beat` for four intervals. Only its changes count:
no clock is compared with another, so one that jumps does no harm. What that promises:

  one machine, its own disk     A second run is refused at once, always. A dead owner's flock is gone with it, so its
                                folder is free at once, in a restarted container with the same pid too. Only after a
                                reboot, or in a container of another name, is the old record watched first.
  network, flock between hosts  The same, but that a newcomer on another host watches a dead owner's record first. A
                                server may keep the flock of a host that lost its power; then delete the file.
  network, flock within a host  A beating owner is refused after at most four intervals. One that stood still for that
  or none; Windows              long is taken over, and finds `lost` within an interval of waking up. Of several that
                                take over at once one wins almost surely: two can only where one stalls for a second
                                between its last look and its record, and then one of them finds `lost`. Two that
                                start at once on different hosts in a free folder can both begin where flock does not
                                reach between hosts; within an interval one of them finds `lost`.
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

SIZE = 1024  # of the record, always: a later write needs no new block, so a full disk does not stop the heart
WATCHED = 4  # intervals without a beat after which an owner counts as dead
LOOKS = 4  # per interval
PAUSE = 1.0  # seconds at most between writing a record over another and seeing whether it is still there
LONGEST = 3600.0  # seconds between beats
UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)


class WorkdirInUse(ValueError):
    """Another run has the folder; the message, one line, says which."""


def _machine() -> dict[str, str]:
    """What tells this machine from others. Hosts may share a name; the kernel's boot is one of a kind where it has one.

    Both have to agree before an flock is believed: containers of one kernel may each mount the network on their own.
    """
    boot = ""
    with contextlib.suppress(OSError):
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"host": socket.gethostname()[:64], "boot": boot}


def _flock(descriptor: int) -> bool:
    """Takes the flock; False where there is no such thing, BlockingIOError where somebody has it."""
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
    """The file, opened for one look: network file systems show the news at an open, and send ours at a close."""
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


def _parsed(raw: bytes) -> dict | None:
    """The record; None where there is none, or it cannot be trusted in a message or for a pause."""
    try:
        record = json.loads(raw)
        if record["token"] == "":
            return {"token": ""}
        texts = [record[key] for key in ("token", "host", "boot", "since")]
        sound = all(isinstance(text, str) and text.isprintable() for text in texts)
        sound = sound and isinstance(record["pid"], int) and 0 < record["beat_seconds"] <= LONGEST
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return record if sound else None


def _name(owner: dict | None) -> str:
    return f"process {owner['pid']} on host {owner['host']}" if owner and owner["token"] else "another process"


def mark(workdir: str | pathlib.Path) -> int:
    """A number, below 2³¹, that tells one owner of a folder from another; 0 where there is none."""
    try:
        owner = _parsed((pathlib.Path(workdir) / "lock").read_bytes()[:SIZE])
    except OSError:
        owner = None
    return int(owner["token"][:7], 16) if owner and owner["token"] else 0


_locks = weakref.WeakSet()


def _forget() -> None:
    """In a forked child: it shares the parent's flock, and must neither keep it beyond the parent nor give it up."""
    for lock in list(_locks):
        lock._forget()


# A child that is another program does not get the descriptor in the first place: Python opens none for children.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class Lock:
    """The use of a folder by this run alone, from here to `close`; also a context manager.

    The file `lock` stays behind when it is free. The module says what is certain on which file system.

    Args:
      workdir: the folder of the run; made when it does not exist.
      beat: seconds between two heartbeats, at most 3600. Another host waits four of them before it takes over.
      say: told, a line at a time, what the user should know: whom the lock watches, and whom it follows.

    Raises:
      WorkdirInUse: another run has the folder; says which.
      OSError: the folder cannot be made, or the file cannot be written.
      ValueError: `beat` is out of its range.
    """

    def __init__(self, workdir: str | pathlib.Path, *, beat: float = 5.0, say=print):
        if not 0 < beat <= LONGEST:
            raise ValueError(f"a heartbeat every {beat} seconds; more than 0, and at most {LONGEST:g}")
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        whose = {"token": uuid.uuid4().hex, **_machine(), "pid": os.getpid(), "since": since}
        self._record = {**whose, "beat_seconds": beat, "beat": 0}
        self._workdir, self._say, self._lost = workdir, say, False
        self._path = pathlib.Path(workdir) / "lock"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = _open(self._path)
        _locks.add(self)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, name="lock", daemon=True)
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
        who = _name(owner) + since
        return WorkdirInUse(f"{self._workdir} is in use by {who}; give another --workdir, or stop that run")

    def _is_ours(self, owner: dict | None) -> bool:
        return owner is not None and owner["token"] == self._record["token"]

    def _is_held(self, descriptor: int) -> bool:
        """Whether the file at the path is the one that we hold; it may have been deleted or replaced."""
        return os.path.samestat(os.fstat(descriptor), os.fstat(self._descriptor))

    def _acquire(self) -> None:
        try:
            locked = _flock(self._descriptor)
        except BlockingIOError:
            raise self._in_use(_parsed(_read(self._path))) from None
        with _opened(self._path) as descriptor:
            raw, held = os.read(descriptor, SIZE), self._is_held(descriptor)
        owner = _parsed(raw)
        free = not raw or (owner is not None and not owner["token"])
        here = owner is not None and all(owner.get(key) == value for key, value in _machine().items())
        sure = locked and held and (free or here)
        if not sure and not free:
            free = self._freed(raw, owner)
        if not free:
            self._say(f"taking over the lock of {_name(owner)}, which is gone")
        with _opened(self._path) as descriptor:
            _write(descriptor, self._record)
        if not sure:
            self._confirm()

    def _freed(self, raw: bytes, owner: dict | None) -> bool:
        """Watches the owner: True when it ends well meanwhile, False when it is dead; raises when it is alive.

        Counts its own pauses, and no time: an hour in which this process, or the file system, stood still proves
        nothing about the owner.
        """
        beat = owner["beat_seconds"] if owner else self._record["beat_seconds"]
        self._say(f"watching for {WATCHED * beat:g} s whether {_name(owner)} is alive")
        for _ in range(WATCHED * LOOKS):
            time.sleep(beat / LOOKS)
            now = _read(self._path)
            found = _parsed(now)
            if found and not found["token"]:
                return True
            if now != raw:
                raise self._in_use(found or owner)
        return False

    def _confirm(self) -> None:
        """Others may have seen the same dead owner, and written after us: the last to write has it."""
        time.sleep(min(self._record["beat_seconds"], PAUSE))
        owner = _parsed(_read(self._path))
        if not self._is_ours(owner):
            raise self._in_use(owner)

    def _live(self) -> None:
        while not self._lost and not self._stop.wait(self._record["beat_seconds"]):
            # A full disk or a stale handle may pass; a run of days must not die of its heartbeat.
            with contextlib.suppress(OSError):
                self._beat()

    def _beat(self) -> None:
        with _opened(self._path) as descriptor:
            owner = _parsed(os.read(descriptor, SIZE))
            if owner is not None and not self._is_ours(owner):
                self._lost = True
                return
            # Deleted, by a clean-up say: nobody else has the folder, so the run goes on. The next run would find a
            # free folder, though; so the file is put back, with our flock on the new one. Should that run be quicker,
            # this flock fails, and the next beat finds its token.
            if owner is None and not self._is_held(descriptor):
                _flock(descriptor)
                before, self._descriptor = self._descriptor, os.dup(descriptor)
                os.close(before)
            self._record["beat"] += 1
            _write(descriptor, self._record)

    @property
    def lost(self) -> bool:
        """Whether somebody else has taken the folder, seen at the last beat; the run should then stop, and not save."""
        return self._lost

    def _release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        # Not by closing alone: a child on its way to another program may have a copy for a moment.
        if fcntl is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)

    def _forget(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def close(self) -> None:
        """Marks the file as free, if it is still ours, and releases it; a second time does nothing."""
        if self._descriptor is None:
            return
        self._stop.set()
        self._thread.join()
        # A mark that cannot be written costs the next run a line, or a watch.
        with contextlib.suppress(OSError), _opened(self._path) as descriptor:
            if self._is_ours(_parsed(os.read(descriptor, SIZE))):
                _write(descriptor, {"token": ""})
        self._release()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()
