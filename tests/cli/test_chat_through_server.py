"""Two real processes: `vortex serve`, and `vortex chat --backend http` that asks it."""

from __future__ import annotations

import signal


def test_chat_asks_a_running_server(vortex, inside) -> None:
    server = vortex.start("serve", "--backend", "fake", "--port", "0")
    assert server.stdout is not None
    assert server.stderr is not None
    try:
        line = server.stdout.readline().decode()
        base_url = line.split()[-1].removesuffix("/v1")
        at_server = ("--backend", "http", "--set", f"model.base_url={base_url}")
        result = inside.run("chat", *at_server, "What is the capital of France?")
        assert (result.returncode, result.stdout) == (0, "Paris.\n"), result.stderr
    finally:
        server.send_signal(signal.SIGTERM)
        _, error = server.communicate(timeout=60)
    assert server.returncode == 0, error.decode()
