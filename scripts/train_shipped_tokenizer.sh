#!/bin/sh
# Train the vocabulary that ships with Vortex again: Python 3.11's standard library and documentation (PSF-2.0).
# Needs the Debian package python3-doc. The corpus checksum in vortex-tok.json says whether the text was the same.
set -eu
library=$(python -c 'import sysconfig; print(sysconfig.get_paths()["stdlib"])')
exec python -m vortex tokenizer-train --corpus "$library" --corpus /usr/share/doc/python3/html/_sources \
  --vocab-size 16384 --limit-mb 16 --licence PSF-2.0 --out "${1:-src/vortex/tokenizer/vortex_tok/shipped}"
