#!/usr/bin/env bash
# Stop everything: `vortex down`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_run.sh"
run down "$@"
