#!/usr/bin/env bash
# Make the core that ships with Vortex: dialogues by SmolLM2-135M, then its training. Usage: bash scripts/train_shipped_core.sh [FOLDER]
# Five minutes of training on an H100; MINUTES and DIALOGUE_SECONDS give a slower machine more. The result: FOLDER/core.
set -euo pipefail
folder=${1:-data/shipped-core}
minutes=${MINUTES:-5}
python3 scripts/make_dialogues.py --out "$folder/dialogues.jsonl" --prompts 7100 --rounds 40 --fact-copies 60 --seconds "${DIALOGUE_SECONDS:-95}"
python3 -m vortex train-core --data "$folder/dialogues.jsonl" --out "$folder/core" --size shipped --vocab-size 4096 \
  --window 128 --batch-tokens 32768 --learning-rate 0.002 --minutes "$minutes" --dtype int8 --set train_core.precision=float32 \
  --licence "Apache-2.0 (answers by SmolLM2-135M-Instruct), MIT (facts of this project)"
