"""Figures of the L-kn gateway that runs beside, by its own `/metrics`."""

from __future__ import annotations

import contextlib
import http.client
from urllib.parse import urlsplit

from vortex.console.contracts import Json
from vortex.errors import ConfigError

TIMEOUT_S = 0.4
MAX_BYTES = 1 << 20
GAUGES = ("threshold_offset", "budget_factor", "concurrency_factor")


class GatewayDesk:
    """None where nothing answers at the gateway's address, or where something else does."""

    def figures(self) -> Json | None:
        text = self._metrics()
        if text is None or "lkn_threshold_offset" not in text:
            return None
        from prometheus_client.parser import text_string_to_metric_families

        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        plain = {sample.name: sample.value for sample in samples if not sample.labels}
        decisions: dict[str, int] = {}
        for sample in samples:
            if sample.name == "lkn_decisions_total":
                mode = sample.labels.get("mode", "")
                decisions[mode] = decisions.get(mode, 0) + int(sample.value)
        gauges = {name: plain.get(f"lkn_{name}", 0.0) for name in GAUGES}
        return {**gauges, "decisions": decisions, "frozen": bool(plain.get("lkn_controller_frozen"))}

    def _metrics(self) -> str | None:
        from vortex.config.addresses import environment_and_file, read_addresses

        try:
            addresses = read_addresses(*environment_and_file())
        except ConfigError:
            return None
        parts = urlsplit(addresses.gateway_url)
        headers = {"authorization": f"Bearer {addresses.api_key}"} if addresses.api_key else {}
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/metrics", headers=headers)
                answer = connection.getresponse()
                return answer.read(MAX_BYTES).decode(errors="replace") if answer.status == 200 else None
            except (OSError, http.client.HTTPException):
                return None
