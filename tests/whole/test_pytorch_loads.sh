#!/usr/bin/env bash
# PyTorch loads /model with strict=True and finds the very accuracy that lockstep eval prints.
. "$(dirname "$0")/lib.sh"
data=$source_folder/../shared/data/mnist-small
[ -d "$data" ] || skip "no MNIST at $data"
find_python 'torch, h5py, yaml'
for layer in $(sed -nE 's/^LAYER\((.*)\)$/\1/p' "$source_folder/src/layers/registry.def"); do
    checks=$((checks + 1))
    grep -q "^    \"$layer\": " "$source_folder/tests/reference/torch_model.py" || fail "$layer has no twin in PyTorch"
done
[ -n "$python" ] || skip "no python3 with PyTorch, h5py and yaml (Debian: python3-torch python3-h5py python3-yaml)"

# Layers within layers, with names and without.
cat >"$folder/nested.yaml" <<'YAML'
data: {format: idx, path: "", normalize: {mean: 0.5, std: 0.5}}
model:
  layers:
    - flatten
    - sequential: {name: stem, layers: [linear: {out: 64, bias: false}, batch_norm: {name: norm}, relu]}
    - residual:
        layers:
          - linear: {out: 64}
          - batch_norm
          - relu
          - residual: {name: inner, layers: [linear: {out: 64}, relu]}
    - relu
    - residual:
        layers: [linear: {out: 32}, batch_norm]
        projection: [linear: {out: 32, bias: false}, batch_norm]
    - relu
    - linear: {out: 10}
optimizer: {lr: 0.05, momentum: 0.9}
YAML

# Convolutions of every option, and a layer with a name of its own.
cat >"$folder/conv.yaml" <<'END'
data: {format: idx, path: data, normalize: {mean: 0.1307, std: 0.3081}}
model:
  input: [1, 28, 28]
  layers:
    - conv2d: {out: 8, kernel: [3, 5], stride: 2, padding: [1, 2], bias: false, name: stem}
    - batch_norm
    - relu
    - conv2d: {out: 8, kernel: 3, groups: 4, dilation: 2}
    - relu
    - flatten
    - linear: {out: 10}
optimizer: {name: adamw, lr: 0.002}
END
for path in "$source_folder/jobs/mnist-mlp-bn.yaml" "$source_folder/jobs/mnist-mlp-adam-bn.yaml" "$folder/conv.yaml" "$folder/nested.yaml"; do
    job=$(basename "$path" .yaml)
    expect 0 ranks 2 train "$path" --set "data.path=$data" --set train.epochs=3 \
        --out "$folder/$job" --progress none
    expect 0 ranks 2 eval "$folder/$job/latest.h5"
    cp "$folder/out" "$folder/eval"
    expect 0 "$python" -B "$source_folder/tests/whole/load_in_pytorch.py" "$folder/$job/latest.h5"
    ours=$(sed -nE 's/^loss ([0-9.]+)  accuracy ([0-9.]+)$/\2/p' "$folder/eval")
    theirs=$(sed -nE 's/^accuracy ([0-9.]+)$/\1/p' "$folder/out")
    echo "$job: lockstep $ours, PyTorch $theirs"
    [ -n "$ours" ] && [ "$ours" = "$theirs" ] || fail "the accuracies differ"
done
passed
