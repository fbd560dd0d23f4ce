"""Fixtures: real broker, real daemon, real simulated devices. `--build DIR` says where the programs are."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import Broker, Server, Sim  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"


def pytest_addoption(parser):
    parser.addoption("--build", default="build", help="directory of the built programs")
    parser.addoption("--seeds", type=int, default=0, help="how many seeds the end-to-end rollouts take (0: the short form)")


@pytest.fixture(scope="session")
def build(request):
    path = pathlib.Path(request.config.getoption("--build"))
    return path if path.is_absolute() else ROOT / path


@pytest.fixture(scope="session")
def shared():
    if not SHARED.is_dir():
        pytest.skip("SKIP: ../shared is absent")
    return SHARED


@pytest.fixture
def tell(request):
    """tell(text): a figure that the run shows at its end, also where the test passes and wherever it runs."""
    return lambda text: request.node.user_properties.append(("figure", text))


def pytest_terminal_summary(terminalreporter):
    figures = [(report.nodeid.split("::")[-1], text) for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
               if report.when == "call" for name, text in report.user_properties if name == "figure"]
    if figures:
        terminalreporter.section("figures")
    for test, text in figures:
        terminalreporter.write_line(f"{test}: {text}")


@pytest.fixture
def broker(tmp_path):
    b = Broker(tmp_path / "broker")
    yield b
    b.stop()


@pytest.fixture
def make_server(build, tmp_path, broker):
    """make_server(config={...}) starts a daemon; all are ended after the test."""
    servers = []

    def make(name="server", **options):
        servers.append(Server(build, tmp_path / name, broker.port, **options))
        return servers[-1]
    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def server(make_server):
    return make_server()


@pytest.fixture
def make_sim(build, tmp_path):
    sims = []

    def make(server, devices, name=None, **options):
        sims.append(Sim(build, tmp_path / (name or f"sim{len(sims)}"), server, devices, **options))
        return sims[-1]
    yield make
    for sim in sims:
        sim.stop()
