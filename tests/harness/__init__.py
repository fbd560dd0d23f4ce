"""Real parts for tests, demo and benchmarks: a broker, the daemon, simulated devices, each on free loopback ports.

Everything that is started here is ended here, by its own process id.
"""
from .broker import Broker
from .server import Server
from .sim import Sim
from .tflite import TINY_CAPABILITIES, tiny_model

__all__ = ["Broker", "Server", "Sim", "TINY_CAPABILITIES", "tiny_model"]
