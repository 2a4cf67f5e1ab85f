#!/usr/bin/env bash
# The whole stack, then its smoke test: `vortex up`, `vortex smoke`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_run.sh"
run up "$@"
run smoke
