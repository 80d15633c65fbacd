#!/usr/bin/env bash
# The comparison with PyTorch runs, tells speed and memory of both, and skips jobs that the program refuses.
. "$(dirname "$0")/lib.sh"
find_python 'torch, yaml'
[ -n "$python" ] || skip "no python3 with PyTorch and yaml (Debian: python3-torch python3-yaml)"
export PYTHONDONTWRITEBYTECODE=1

cat >"$folder/small.yaml" <<'END'
data: {format: idx, path: nowhere, normalize: {mean: 0.1, std: 0.3}, valid_split: 0.5}
model:
  input: [1, 12, 12]
  layers: [conv2d: {out: 4, kernel: 3}, batch_norm, relu, flatten, linear: {out: 10}]
optimizer: {name: adamw, lr: 0.001}
train: {batch_size: 32}
END
sed 's/relu/abacus/' "$folder/small.yaml" >"$folder/refused.yaml"
expect 0 "$python" "$source_folder/tests/bench/vs_pytorch.py" --lockstep "$lockstep" --rounds 1 --epochs 2 \
    --samples 128 --job "$folder/small.yaml:8" --job "$folder/refused.yaml"
number='[0-9]+(\.[0-9]+)?'
for line in "^small +batch +32 microbatch +8  lockstep +$number samples/s  pytorch +$number samples/s \((default|channels_last)\)  ratio +$number\$" \
    "^small +batch +32 microbatch +8  lockstep +$number MiB +pytorch +$number MiB at most\$" \
    "^refused.yaml skipped: .*abacus"; do
    checks=$((checks + 1))
    grep -qE "$line" "$folder/out" || { cat "$folder/out"; fail "no line like $line"; }
done
passed
