#!/usr/bin/env bash
# Every figure of the README and the docs that needs a GPU, in one go: tests first, so that no number stands on a red gate.
#
#   benchmarks/gpu.sh [OUTPUT_FOLDER]
#
# Writes JSON reports, by default over benchmarks/results/. PYTHON chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-benchmarks/results}
python=${PYTHON:-python3}
mkdir -p "$out"

"$python" -m pytest -q -m gpu -p no:cacheprovider tests/gpu

prefill() {  # NAME ARGUMENTS...: one comparison of the two variants
  local name=$1
  shift
  "$python" -m syncwatch run gdn-prefill --device cuda --format json "$@" > "$out/gdn_prefill_$name.json"
  "$python" benchmarks/summary.py "$out/gdn_prefill_$name.json"
}
prefill 397b_8192 --preset qwen3.5-397b --tokens 8192 --steps 10 --warmup 3
prefill 80b_8192 --preset qwen3-next-80b --tokens 8192 --steps 20 --warmup 5
prefill tiny --preset tiny --steps 200 --warmup 20
prefill tiny_miss --preset tiny --cache-miss --steps 200 --warmup 20
prefill 2b_1024 --preset qwen3.5-2b --tokens 1024 --steps 20 --warmup 5
prefill 80b_1024_miss --preset qwen3-next-80b --tokens 1024 --cache-miss --steps 20 --warmup 5

"$python" -m syncwatch run tests/programs/llama_generate.py --device cuda --format json > "$out/llama_generate.json"
"$python" benchmarks/sync_ops.py run --device cuda -o "$out/sync_ops.json"
"$python" benchmarks/real_programs.py run --device cuda -o "$out/real_programs.json"
