"""A bare MQTT publisher: many thousand QoS 1 messages a second from Python, one connection, acknowledgements counted."""
import select
import socket
import struct


def _length(n):
    out = bytearray()
    while True:
        n, digit = n >> 7, n & 127
        out.append(digit | 128 if n else digit)
        if not n:
            return bytes(out)


def _text(text):
    data = text.encode()
    return struct.pack(">H", len(data)) + data


class Publisher:
    WINDOW = 2000  # unacknowledged ones; the harness' broker allows more

    def __init__(self, port, client_id):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        head = _text("MQTT") + b"\x04\x02" + struct.pack(">H", 0) + _text(client_id)
        self.socket.sendall(b"\x10" + _length(len(head)) + head)
        assert self._read(4) == b"\x20\x02\x00\x00", "the broker took the connection"
        self.sent = self.acknowledged = 0
        self.rest = 0  # bytes of an acknowledgement that has not come whole

    def _read(self, n):
        data = b""
        while len(data) < n:
            data += self.socket.recv(n - len(data))
        return data

    def _take(self, timeout):
        if select.select([self.socket], [], [], timeout)[0]:
            data = self.socket.recv(65536)
            assert data, "the broker closed the connection"
            self.rest += len(data)  # nothing but PUBACK comes: 4 bytes each
            self.acknowledged += self.rest // 4
            self.rest %= 4
        elif timeout:
            raise TimeoutError(f"{self.sent - self.acknowledged} messages are not acknowledged")

    def publish(self, messages):
        """messages: (topic, payload text). Returns when the broker has all of them."""
        pending = bytearray()
        for topic, payload in messages:
            body = _text(topic) + struct.pack(">H", self.sent % 65535 + 1) + payload.encode()
            pending += b"\x32" + _length(len(body)) + body
            self.sent += 1
            if len(pending) > 32768:
                self.socket.sendall(pending)
                pending.clear()
                self._take(0)
                while self.sent - self.acknowledged > self.WINDOW:
                    self._take(30)
        self.socket.sendall(pending)
        while self.acknowledged < self.sent:
            self._take(30)

    def close(self):
        self.socket.close()
