"""Smallest valid TensorFlow Lite models, written field by field: one RELU over one float vector.

A FlatBuffer (identifier TFL3) built back to front by hand, because Debian has no FlatBuffers package for C or Python that tests could use.
"""
import struct


# What a device says that runs tiny_model.
TINY_CAPABILITIES = {"runtime": "tflm", "ops": ["RELU@1"], "arena_bytes": 65536, "input": {"type": "any"}}


class _Builder:
    """Enough of FlatBuffers: objects are laid out in one forward pass, offsets are patched when their target is known."""

    def __init__(self):
        self.data = bytearray()
        self.patches = []

    def align(self, size):
        while len(self.data) % size:
            self.data.append(0)

    def put(self, fmt, value):
        self.align(struct.calcsize(fmt))
        at = len(self.data)
        self.data += struct.pack("<" + fmt, value)
        return at

    def table(self, fields):
        """fields: list of (size, format, value) or None by field number; value may be a callable that writes the target."""
        offsets, size = [], 4
        for field in fields:
            if field is None:
                offsets.append(0)
                continue
            size = (size + field[0] - 1) // field[0] * field[0]
            offsets.append(size)
            size += field[0]
        self.align(4)
        vtable = len(self.data)
        self.data += struct.pack("<HH", 4 + 2 * len(fields), size) + b"".join(struct.pack("<H", o) for o in offsets)
        self.align(8)
        start = len(self.data)
        self.data += bytes(size)
        struct.pack_into("<i", self.data, start, start - vtable)
        later = []
        for field, offset in zip(fields, offsets):
            if field is None:
                continue
            if callable(field[2]):
                later.append((start + offset, field[2]))
            else:
                struct.pack_into("<" + field[1], self.data, start + offset, field[2])
        for at, write in later:
            struct.pack_into("<I", self.data, at, write() - at)
        return start

    def vector(self, fmt, values, align=4):
        self.align(4)
        while (len(self.data) + 4) % align:
            self.data += bytes(4)
        at = len(self.data)
        self.data += struct.pack("<I", len(values)) + b"".join(struct.pack("<" + fmt, v) for v in values)
        return at

    def vector_of(self, writers):
        self.align(4)
        at = len(self.data)
        self.data += struct.pack("<I", len(writers)) + bytes(4 * len(writers))
        for i, write in enumerate(writers):
            place = at + 4 + 4 * i
            struct.pack_into("<I", self.data, place, write() - place)
        return at

    def string(self, text):
        at = self.vector("B", list(text.encode()))
        self.data.append(0)
        return at


RELU = 19
FLOAT32 = 0


def tiny_model(name, width=16, payload=0):
    """A valid .tflite file: input [1,width] -> RELU -> output. `payload` bytes of an unused constant buffer make it larger; `name` becomes
    the description, so that different names give different files."""
    b = _Builder()
    b.data += bytes(4) + b"TFL3"

    def tensor(label):
        return lambda: b.table([
            (4, "I", lambda: b.vector("i", [1, width])),
            (1, "b", FLOAT32),
            (4, "I", 0),
            (4, "I", lambda: b.string(label)),
        ])

    def operator():
        return b.table([(4, "I", 0), (4, "I", lambda: b.vector("i", [0])), (4, "I", lambda: b.vector("i", [1]))])

    def subgraph():
        return b.table([
            (4, "I", lambda: b.vector_of([tensor("input"), tensor("output")])),
            (4, "I", lambda: b.vector("i", [0])),
            (4, "I", lambda: b.vector("i", [1])),
            (4, "I", lambda: b.vector_of([operator])),
        ])

    def code():
        return b.table([(1, "b", RELU), None, (4, "i", 1), (4, "i", RELU)])

    filler = bytes((i * 2654435761 >> 8 & 255) for i in range(payload))
    buffers = [lambda: b.table([])]
    if payload:
        buffers.append(lambda: b.table([(4, "I", lambda: b.vector("B", filler, align=16))]))
    root = b.table([
        (4, "I", 3),
        (4, "I", lambda: b.vector_of([code])),
        (4, "I", lambda: b.vector_of([subgraph])),
        (4, "I", lambda: b.string(name)),
        (4, "I", lambda: b.vector_of(buffers)),
    ])
    struct.pack_into("<I", b.data, 0, root)
    return bytes(b.data)
