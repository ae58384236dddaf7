"""Event files of TensorBoard."""

import pathlib
import time


class TensorBoard:
    """Synchronous writer of TensorBoard scalars.

    tensorboardX's SummaryWriter writes from a thread: flush returns before the queue is written, and a full disk kills
    the thread, after which the run would block on the full queue for ever. The layer below writes synchronously, and
    raises.

    Args:
      folder: of the event files.
      purge_step: TensorBoard discards what an interrupted run has written from this step on.
    """

    def __init__(self, folder: pathlib.Path, purge_step: int):
        # Imported here: it takes most of a second, and reading metrics does not need it.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        # tensorboardX names files by the second; the suffix keeps a quick restart from overwriting the previous file.
        self._events = EventsWriter(str(folder / "events"), filename_suffix=f".{time.time_ns()}")
        start = Event(wall_time=time.time(), step=purge_step, session_log=SessionLog(status=SessionLog.START))
        self._events.write_event(start)
        self._events.flush()

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Write scalars at a step."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._events.write_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        self._events.flush()

    def close(self) -> None:
        """Close the event file."""
        self._events.close()
