"""Reads telemetry.db as it is on disk, without the daemon: the format is that of include/store/report_log.h."""
import sqlite3


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _record(data, at):
    """(device row, boot, seq) of the record whose bytes begin at `at`."""
    device, at = _varint(data, at)
    _, at = _varint(data, at)
    flags, at = _varint(data, at)
    if flags & 1:
        _, at = _varint(data, at)
    _, at = _varint(data, at)
    seq, at = _varint(data, at)
    length, at = _varint(data, at)
    return device, data[at:at + length].decode(), seq


def stored_reports(state):
    """Every report in the log of a state directory, in order of arrival: [(device id, boot, seq)]."""
    with sqlite3.connect(f"file:{state}/fleet.db?mode=ro", uri=True) as db:
        names = dict(db.execute("SELECT id, device_id FROM device"))
    out = []
    with sqlite3.connect(f"file:{state}/telemetry.db?mode=ro", uri=True) as db:
        for (data,) in db.execute("SELECT data FROM raw ORDER BY id"):
            at = 0
            while at < len(data):
                length = data[at] | data[at + 1] << 8
                device, boot, seq = _record(data, at + 2)
                out.append((names.get(device, device), boot, seq))
                at += 2 + length
            assert at == len(data), "a batch of packed reports ends where its last record does"
    return out
