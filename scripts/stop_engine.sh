#!/usr/bin/env bash
# Stop the engine; heals a stale lock: `vortex down --only engine`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_run.sh"
run down --only engine "$@"
