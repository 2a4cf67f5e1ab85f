#!/usr/bin/env bash
# Only the engine: `vortex up --only engine`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_run.sh"
run up --only engine "$@"
