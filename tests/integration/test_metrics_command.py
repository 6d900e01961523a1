"""`harvest metrics` as its user runs it."""

import signal
import socket
import sys
import urllib.request

from command_line import Harvest
from desk import Desk
from metrics_scrape import Scrape
from processes import program
from promtool import judged, needs_promtool

from harvest_tasks.processes.embedded_server import EmbeddedServer, free_port
from harvest_tasks.server.client import Client

HARVEST = [sys.executable, "-m", "harvest_tasks"]
FILL = {"symbol": "BTCUSDT", "status": "FILLED", "side": "BUY", "qty": "1", "price": "100"}


def test_once_prints_one_scrape(redis: Client, harvest: Harvest) -> None:
    Desk(redis).run(FILL)
    done = harvest("metrics", "--once")
    assert done.exit_code == 0
    seen = Scrape(done.stdout)
    assert (seen.value("up"), seen.value("broker_up")) == (1, 1)
    assert seen.value("position_quantity", book="BTCUSDT") == 1


def test_it_finds_server_and_broker_behind_a_socket(server: EmbeddedServer, harvest: Harvest) -> None:
    with EmbeddedServer(server.executable, unix=True) as own:
        seen = Scrape(harvest("metrics", "--once", REDIS_URL=own.url()).stdout)
    assert (seen.value("up"), seen.value("broker_up")) == (1, 1)


def test_once_without_a_server_says_so_and_exits_with_3(harvest: Harvest) -> None:
    done = harvest("metrics", "--once", REDIS_URL=f"redis://:secret@127.0.0.1:{free_port()}/0")
    assert done.exit_code == 3
    assert Scrape(done.stdout).value("up") == 0
    assert "secret" not in done.output


def test_a_wrong_setting_is_one_line_and_exit_code_2(harvest: Harvest) -> None:
    done = harvest("metrics", HARVEST_MODE="banana")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)


def test_a_port_that_is_taken_is_one_line_and_exit_code_1(redis: Client, harvest: Harvest) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = harvest("metrics", "--port", str(port))
    assert done.exit_code == 1
    assert done.stderr == (
        f"harvest: cannot listen on 127.0.0.1 port {port}: Address already in use. "
        "Fix: choose another --address or --port\n"
    )


def test_it_serves_scrapes_until_it_is_stopped_also_without_a_server(environ: dict[str, str]) -> None:
    port, nobody = free_port(), free_port()
    argv = [*HARVEST, "metrics", "--port", str(port)]
    with program(argv, environ={**environ, "REDIS_URL": f"redis://127.0.0.1:{nobody}/0"}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"ready metrics=http://127.0.0.1:{port}/metrics\n".encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30.0) as answer:
            assert Scrape(answer.read().decode()).value("up") == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(30.0) == 0


@needs_promtool
def test_prometheus_finds_nothing_to_complain_of(redis: Client, harvest: Harvest) -> None:
    Desk(redis).run(FILL)
    assert judged("check", "metrics", text=harvest("metrics", "--once").stdout) == (0, "")
