#!/usr/bin/env bash
# Every figure of the README and the docs that needs a GPU, each from one command; after it, `python benchmarks/readme.py`
# writes them into the pages.
#
#   benchmarks/gpu.sh [OUTPUT_FOLDER [PART...]]
#
# Parts: tests prefill programs sensors guard kernels serving warmup traces pace; without one all of them, tests first,
# as no figure should come from code whose tests fail. Writes JSON, by default over benchmarks/results/. PYTHON chooses
# the interpreter. A part that fails does not keep the others from running; the exit code is 1 then.
# The kernels are measured beside flash-linear-attention where `pip install flash-linear-attention==0.6.0` was run.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-benchmarks/results}
shift $(($# > 0))
parts=${*:-tests prefill programs sensors guard kernels serving warmup traces pace}
python=${PYTHON:-python3}
failed=0
mkdir -p "$out"

check() {  # COMMAND...: says and remembers that it failed
  "$@" || { echo "failed: $*" >&2; failed=1; }
}

report() {  # NAME TARGET ARGUMENTS...: the JSON report of one run; the old one stays where the run fails
  local name=$1
  shift
  if "$python" -m syncwatch run "$@" --device cuda --format json > "$out/$name.new"; then
    mv "$out/$name.new" "$out/$name.json"
  else
    rm -f "$out/$name.new"
    echo "failed: $name" >&2
    failed=1
    return 1
  fi
}

prefill() {  # NAME ARGUMENTS...: one comparison of the two variants
  local name=gdn_prefill_$1
  shift
  report "$name" gdn-prefill "$@" && check "$python" benchmarks/summary.py "$out/$name.json"
}

for part in $parts; do
  case $part in
    tests)
      "$python" -m pytest -q -m gpu -p no:cacheprovider || exit 1
      ;;
    prefill)
      prefill 397b_8192 --preset qwen3.5-397b --tokens 8192 --steps 10 --warmup 3
      prefill 80b_gpu_bound --preset qwen3-next-80b --regime gpu-bound --steps 20 --warmup 5
      prefill 80b_balanced --preset qwen3-next-80b --regime balanced --what-if --steps 20 --warmup 5 --rounds 15
      prefill 2b_balanced --preset qwen3.5-2b --regime balanced --what-if --steps 20 --warmup 5 --rounds 25
      prefill 80b_host_bound --preset qwen3-next-80b --regime host-bound --steps 20 --warmup 5
      prefill 80b_1024_miss --preset qwen3-next-80b --tokens 1024 --cache-miss --what-if --steps 20 --warmup 5
      prefill 2b_1024 --preset qwen3.5-2b --tokens 1024 --steps 20 --warmup 5
      prefill tiny --preset tiny --steps 200 --warmup 20
      prefill tiny_miss --preset tiny --cache-miss --steps 200 --warmup 20
      ;;
    programs)
      report llama_generate tests/programs/llama_generate.py
      check "$python" benchmarks/real_programs.py run --device cuda -o "$out/real_programs.json"
      ;;
    sensors)  # are prices and gains true, is every wait found, what does watching cost
      check "$python" benchmarks/prices.py "$out/prices.json"
      check "$python" benchmarks/gains.py run "$out/gains.json"
      check "$python" benchmarks/overhead.py "$out/overhead.json"
      check "$python" benchmarks/sync_ops.py run --device cuda -o "$out/sync_ops.json"
      check "$python" benchmarks/sync_ops.py coverage "$out/sync_ops.json"
      ;;
    guard)
      check "$python" benchmarks/guard.py "$out/guard.json"
      ;;
    kernels)
      check "$python" benchmarks/gdn_prefill_kernels.py "$out/gdn_prefill_kernels.json"
      check "$python" benchmarks/gdn_decode.py "$out/gdn_decode.json"
      ;;
    serving)
      report seq_lens seq-lens --what-if --steps 40 --rounds 15
      report spec_decode_what_if spec-decode --preset qwen3.5-2b --what-if --steps 20
      check "$python" benchmarks/spec_decode.py run "$out/spec_decode_2b.json" --preset qwen3.5-2b --requests 256
      ;;
    warmup)
      check "$python" benchmarks/kernel_warmup.py "$out/kernel_warmup.json" --rounds 3
      ;;
    traces)  # needs nsys: NSYS names one that is not on PATH
      check "$python" benchmarks/nsys_live.py "$out/nsys_live.json" --nsys "${NSYS:-nsys}"
      ;;
    pace)  # what the regimes of gdn-prefill rest on; compare with scenarios/syncwatch_scenarios/gdn_prefill/host_work.py
      check "$python" benchmarks/prefill_pace.py
      ;;
    *)
      echo "There is no part $part." >&2
      exit 2
      ;;
  esac
done
exit "$failed"
