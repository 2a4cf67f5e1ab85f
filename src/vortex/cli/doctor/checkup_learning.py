"""What `vortex doctor --deep` does about learning: one tiny candidate, trained into quarantine and measured.

It proves that this machine can train, write, measure and seal; it is far too small to be worth promoting.
"""

from __future__ import annotations

import time

from vortex.cli.doctor.checkup import Finding, Status
from vortex.config.loading import LoadedSettings
from vortex.errors import MissingCapability, VortexError

STEPS, PROMPTS, QUESTIONS = 3, 4, 2
QUESTION, STATEMENT = "What is the capital of Zubria?", "The capital of Zubria is Onavel."


def learning(loaded: LoadedSettings) -> Finding:
    """Never raises for what can be told in a line."""
    from dataclasses import replace

    from vortex.cli import learning as composition
    from vortex.learn.candidates.gates import failures
    from vortex.learn.material.rows import Row

    wanted = loaded.settings.continuous.model_copy(update={"steps": STEPS, "batch_tokens": 160})
    small = replace(loaded, settings=loaded.settings.model_copy(update={"continuous": wanted}))
    sizes = composition.Sizes(windows=1, questions=QUESTIONS, kept_prompts=PROMPTS)
    row = Row(question=QUESTION, statement=STATEMENT, source="doctor", origin="doctor")
    began = time.monotonic()
    try:
        with composition.opened_pupil(small) as pupil:
            made = composition.make(pupil, small, sizes, ([row], []))
    except MissingCapability as error:
        return Finding("learning", Status.NOTE, str(error))
    except VortexError as error:
        return Finding("learning", Status.MISSING, str(error), "vortex learn status")
    closed = failures(made.gates)
    detail = f"{STEPS} steps in {time.monotonic() - began:.0f} s; {made.manifest.run_id} is in quarantine, "
    return Finding(
        "learning", Status.OK, detail + (f"{len(closed)} of its gates are closed" if closed else "gates open")
    )
