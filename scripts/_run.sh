# Sourced by the scripts beside it: `run` is the program, from an installed package or from this source tree.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}"
run() { "${PYTHON:-python3}" -m vortex "$@"; }
