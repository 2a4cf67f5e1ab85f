"""What a request says of sampling goes over what the server was started with."""

from __future__ import annotations

from vortex.server.bodies.sampling import SamplingBody
from vortex.types import SamplingOptions

OWN = SamplingOptions(repetition_penalty=1.12, penalty_reads_prompt=False)


def test_a_clients_own_repetition_penalty_reads_the_prompt_as_everywhere() -> None:
    assert SamplingBody(temperature=0.5).sampling(OWN).penalty_reads_prompt is False
    chosen = SamplingBody(repetition_penalty=1.3).sampling(OWN)
    assert (chosen.repetition_penalty, chosen.penalty_reads_prompt) == (1.3, True)
