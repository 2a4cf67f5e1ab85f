#!/usr/bin/env bash
# Real requests through the running stack: `vortex smoke`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/_run.sh"
run smoke "$@"
