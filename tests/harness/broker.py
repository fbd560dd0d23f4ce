"""A private Mosquitto on a free loopback port."""
import os
import pathlib

from .process import Process, free_port, port_answers, wait_for

CONFIG = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {folder}/
max_inflight_messages 10000
max_queued_messages 0
max_queued_bytes 536870912
set_tcp_nodelay true
log_type error
log_type warning
"""


class Broker:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = None
        for attempt in range(5):  # a free port may be taken by somebody else before the broker has it
            self.port = free_port()
            try:
                self.start()
                break
            except RuntimeError:
                if attempt == 4:
                    raise

    def start(self):
        config = self.folder / "mosquitto.conf"
        text = CONFIG.format(port=self.port, folder=self.folder)
        if os.geteuid() == 0:
            text += "user root\n"
        config.write_text(text)
        self.process = Process(["/usr/sbin/mosquitto", "-c", config], self.folder / "mosquitto.log")
        wait_for(lambda: port_answers(self.port) or not self.process.is_running(), 10, "mosquitto listens")
        if not self.process.is_running():
            raise RuntimeError("mosquitto ended:\n" + self.process.tail())

    def stop(self):
        if self.process:
            self.process.stop()
