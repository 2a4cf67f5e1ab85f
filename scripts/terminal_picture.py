"""Draw docs/images/terminal.svg: real commands run by the real program, their real output. Needs the default model.

python scripts/terminal_picture.py
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "terminal.svg"
COMMANDS = (
    'vortex chat "What is the capital of France?"',
    'vortex chat --temperature 0.8 --seed 7 --max-new-tokens 48 "Why is the sky blue?"',
    "vortex models",
    "vortex config show kv --profile rtx4080_16gb",
)
COLUMNS = 100


def main() -> None:
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for command in COMMANDS:
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        arguments = [sys.executable, "-m", "vortex", *shlex.split(command)[1:]]
        result = subprocess.run(
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "COLUMNS": str(COLUMNS)},
            check=True,
        )
        console.print(Text(result.stdout.rstrip() + "\n"))
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    # without the web fonts of the default frame: the picture asks nobody's server for anything
    frame = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    PICTURE.write_text(console.export_svg(title="Vortex", code_format=frame), encoding="utf-8")


if __name__ == "__main__":
    main()
