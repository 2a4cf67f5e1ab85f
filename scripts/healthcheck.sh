#!/usr/bin/env bash
# What runs and what answers: `vortex status`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_run.sh"
run status "$@"
