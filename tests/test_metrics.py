"""metrics.jsonl is exact across crashes and resumes; TensorBoard gets the same numbers and can never stop a run."""

import json
import re
import struct

import numpy as np
import pytest
from running import mounted
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event, SessionLog

from podarcade.runtime import metrics
from podarcade.runtime.metrics import Writer, read_last, read_metrics, seed_mean


def record(updates, **more):
    return {"updates": updates, "frames": updates * 100, "seconds": float(updates), **more}


def strict_lines(path):
    """Parse every line, refusing the NaN and Infinity that Python's json accepts."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def masked(data):
    checksum = crc32c(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def events(workdir):
    """Read the event files as TensorBoard does: length, its checksum, event, its checksum."""
    found = []
    for path in sorted((workdir / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            assert struct.unpack("<I", data[8:12])[0] == masked(data[:8])
            event, checksum, data = data[12 : 12 + length], data[12 + length : 16 + length], data[16 + length :]
            assert struct.unpack("<I", checksum)[0] == masked(event)
            found.append(Event.FromString(event))
    return found


def scalars(workdir):
    return {(event.step, value.tag): value.simple_value for event in events(workdir) for value in event.summary.value}


def updates(workdir):
    return [line["updates"] for line in strict_lines(workdir / "metrics.jsonl")]


def test_values_survive_the_round_trip(tmp_path):
    loss = np.float32(0.1) * np.float32(np.pi)
    returns = np.array([1 / 3, -2e-7], np.float32)
    with Writer(tmp_path) as writer:
        writer.write({"updates": np.int32(3), "frames": np.array([7, 9]), "loss": loss, "returns": returns, "x": 1 / 3})
    (line,) = read_metrics(tmp_path / "metrics.jsonl")
    assert line["updates"] == 3 and type(line["updates"]) is int
    assert line["frames"] == [7, 9] and all(type(item) is int for item in line["frames"])
    assert np.float32(line["loss"]) == loss and line["x"] == 1 / 3
    assert np.array_equal(np.array(line["returns"], np.float32), returns)


def test_non_finite_values_become_null(tmp_path):
    with Writer(tmp_path) as writer:
        writer.write(
            record(1, a=float("nan"), b=np.float32("inf"), c=[1.0, float("-inf"), None], d=np.array([np.nan, 2]))
        )
    (line,) = strict_lines(tmp_path / "metrics.jsonl")
    assert (line["a"], line["b"], line["c"], line["d"]) == (None, None, [1.0, None, None], [None, 2.0])


@pytest.mark.parametrize("value", ["high", {"a": 1}, [[1, 2], [3, 4]], np.zeros((2, 2)), object(), ["1"]])
def test_a_value_that_is_no_metric_is_named(tmp_path, value):
    with Writer(tmp_path) as writer, pytest.raises(TypeError, match="train/loss"):
        writer.write(record(1, **{"train/loss": value}))
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_a_record_without_updates_is_refused(tmp_path):
    with Writer(tmp_path) as writer, pytest.raises(ValueError, match="updates`; this one has frames"):
        writer.write({"frames": 3})


def test_a_record_is_on_file_before_the_next_one(tmp_path):
    writer = Writer(tmp_path)
    for count in (1, 2, 3):
        writer.write(record(count, **{"train/loss": count / 2}))
        assert updates(tmp_path) == list(range(1, count + 1))
        assert scalars(tmp_path)[count * 100, "train/loss"] == count / 2
    writer.sync()
    writer.close()
    writer.close()


def test_a_resumed_file_has_neither_gap_nor_duplicate(tmp_path):
    with Writer(tmp_path) as writer:
        for count in (0, 2, 4, 6):
            writer.write(record(count, run=False))
    with Writer(tmp_path, updates=4) as writer:
        assert updates(tmp_path) == [0, 2, 4]
        writer.write(record(6, run=True))
    assert [(line["updates"], line["run"]) for line in read_metrics(tmp_path / "metrics.jsonl")] == [
        (0, 0), (2, 0), (4, 0), (6, 1),
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["metrics.jsonl"]


def test_a_run_without_a_checkpoint_starts_empty(tmp_path):
    with Writer(tmp_path) as writer:
        writer.write(record(0))
        writer.write(record(2))
    Writer(tmp_path).close()
    assert updates(tmp_path) == []
    with pytest.raises(ValueError, match="updates=-1"):
        Writer(tmp_path, updates=-1)


@pytest.mark.parametrize(
    "torn", [b'{"updates": 3, "fra', b"{", b'{"frames": 4}', b"\0\0\0\0", b'{"updates": 3}\n\xff\xfe']
)
def test_a_torn_last_line_is_dropped(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    whole = b'{"updates": 1}\n{"updates": 2}\n'
    path.write_bytes(whole + torn)
    kept = [1, 2, 3] if torn.startswith(b'{"updates": 3}') else [1, 2]
    assert [line["updates"] for line in read_metrics(path)] == kept
    with Writer(tmp_path, updates=2) as writer:
        assert path.read_bytes() == whole
        writer.write({"updates": 3})
    assert updates(tmp_path) == [1, 2, 3]


def test_a_whole_line_without_its_end_is_kept(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"updates": 1}')
    with Writer(tmp_path, updates=1) as writer:
        writer.write({"updates": 2})
    assert updates(tmp_path) == [1, 2]


def test_a_damaged_line_further_up_is_a_warning(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"updates": 1}\n{"upda\n{"updates": 3}\n')
    with pytest.warns(UserWarning, match=r"metrics\.jsonl:2"):
        assert [line["updates"] for line in read_metrics(path)] == [1, 3]


def test_a_crash_while_truncating_loses_nothing(tmp_path, monkeypatch):
    with Writer(tmp_path) as writer:
        writer.write(record(1))
        writer.write(record(2))

    def crash(*_):
        raise OSError("no space left")

    monkeypatch.setattr(metrics.os, "replace", crash)
    with pytest.raises(OSError, match="no space"):
        Writer(tmp_path, updates=1)
    assert updates(tmp_path) == [1, 2]


def test_tensorboard_shows_the_mean_and_each_seed(tmp_path):
    with Writer(tmp_path) as writer:
        writer.write({"updates": 1, "frames": [90, 110], "train/loss": [0.25, 0.75], "eval/return_full": [None, 0.5]})
        writer.write({"updates": 2, "frames": [200], "train/loss": [0.125], "train/return": np.nan})
    found = scalars(tmp_path)
    assert found[100, "train/loss"] == 0.5
    assert (found[100, "train/loss/seed_0"], found[100, "train/loss/seed_1"]) == (0.25, 0.75)
    assert found[100, "eval/return_full"] == found[100, "eval/return_full/seed_1"] == 0.5
    assert (100, "eval/return_full/seed_0") not in found
    assert found[200, "train/loss"] == 0.125
    assert not any(tag.startswith(("train/loss/", "train/return")) for step, tag in found if step == 200)


def test_tensorboard_forgets_what_a_resumed_run_repeats(tmp_path):
    with Writer(tmp_path) as writer:
        for count in (1, 2, 3):
            writer.write(record(count))
    with Writer(tmp_path, updates=2) as writer:
        writer.write(record(3))
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
    starts = [event.step for event in events(tmp_path) if event.session_log.status == SessionLog.START]
    assert starts == [0, 201]


def test_tensorboard_that_cannot_be_opened_only_warns(tmp_path):
    (tmp_path / "tensorboard").write_text("a file where a folder should be")
    logged = []
    with Writer(tmp_path, log=logged.append) as writer:
        writer.write(record(1))
        writer.write(record(2))
    (message,) = logged
    assert (
        message.startswith("WARNING: writing TensorBoard scalars failed (FileExistsError: ") and "; disabled" in message
    )
    assert updates(tmp_path) == [1, 2]


def test_tensorboard_that_fails_later_only_warns_once(tmp_path):
    logged = []
    with Writer(tmp_path, log=logged.append) as writer:
        writer.write(record(1))
        writer._tensorboard.close()  # its next write raises, as a full disk would
        writer.write(record(2))
        writer.write(record(3))
    (message,) = logged
    assert message.startswith("WARNING: writing TensorBoard scalars failed (")
    assert updates(tmp_path) == [1, 2, 3]


def test_metrics_that_cannot_be_written_raise(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(OSError):
        Writer(tmp_path)


@pytest.mark.parametrize(
    "value, mean",
    [
        (2, 2.0),
        ([1, 2], 1.5),
        ([1, None], 1.0),
        ([np.nan, 3.0], 3.0),
        (np.array([1, 3]), 2.0),
        (None, None),
        ([], None),
    ],
)
def test_mean_over_seeds(value, mean):
    assert seed_mean(value) == mean


def test_mean_of_nothing_but_nan_is_nan():
    assert np.isnan(seed_mean([np.nan, np.nan, None]))


@pytest.fixture
def small_disk(tmp_path):
    with mounted(tmp_path / "disk", "size=64k") as disk:
        yield disk


def test_a_full_disk_delays_records_and_tears_none(small_disk):
    """The second record is larger than what is left of the disk; the third would fit."""
    (small_disk / "tensorboard").write_text("in the way")
    logged = []
    writer = Writer(small_disk, log=logged.append)
    assert "TensorBoard" in logged.pop()
    writer.write(record(1))
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(44 * 1024))
    long = [0.5] * 5000
    writer.write(record(2, long=long))
    writer.write(record(3))
    unwritten = writer.sync()
    (message,) = logged  # once, not for every record
    assert re.match(
        r"WARNING: \S+/metrics\.jsonl cannot be written .*No space left.*; its records are buffered", message
    )
    assert [json.loads(line)["updates"] for line in unwritten] == [2, 3]
    assert updates(small_disk) == [1], "neither a part of the second record, nor the third before it"
    ballast.unlink()
    writer.write(record(4))
    assert logged[1].endswith("metrics.jsonl can be written again, and is complete") and len(logged) == 2
    assert updates(small_disk) == [1, 2, 3, 4] and writer.sync() == ()
    writer.close()


def test_a_resumed_run_writes_what_its_checkpoint_kept(tmp_path):
    with Writer(tmp_path) as writer:
        for number in (1, 2):
            writer.write(record(number))
    missing = [json.dumps(record(number)) for number in (2, 3)]
    with Writer(tmp_path, updates=3, unwritten=missing) as writer:
        assert updates(tmp_path) == [1, 2, 3], "the second was there"
        writer.write(record(4))
    assert updates(tmp_path) == [1, 2, 3, 4]


def test_records_refused_by_a_full_disk_are_retried_on_close(tmp_path, monkeypatch):
    def refuse(descriptor, size):
        raise OSError(28, "No space left on device")

    writer = Writer(tmp_path, log=lambda _: None)
    with monkeypatch.context() as patch:
        patch.setattr(metrics.os, "ftruncate", refuse)
        writer.write(record(1))
    assert updates(tmp_path) == []
    writer.close()
    assert updates(tmp_path) == [1]


def test_a_closed_writer_refuses(tmp_path):
    writer = Writer(tmp_path)
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(record(1))


@pytest.mark.parametrize("size", [1, 30, 100, 10_000])
@pytest.mark.parametrize("torn", [b"", b'{"updates": 5, "x"', b"\xff{"])
def test_the_last_records_are_those_of_the_whole_file(tmp_path, size, torn):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(b'{"updates": %d, "x": "%s"}\n' % (n, b"y" * 7 * n) for n in range(5)) + torn)
    every, last = read_metrics(path), read_last(path, size)
    assert last and every[-len(last) :] == last
    assert len(last) == 5 or sum(len(json.dumps(record)) for record in last) <= max(size, 100)


def test_a_missing_or_empty_file_has_no_last_records(tmp_path):
    (tmp_path / "empty").touch()
    assert read_last(tmp_path / "empty") == read_last(tmp_path / "missing") == []
    (tmp_path / "torn").write_text('{"upd')
    assert read_last(tmp_path / "torn", 1) == []
