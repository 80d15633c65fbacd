#!/usr/bin/env bash
# PyTorch loads /model with strict=True and finds the very accuracy that lockstep eval prints.
. "$(dirname "$0")/lib.sh"
data=$source_folder/../shared/data/mnist-small
[ -d "$data" ] || skip "no MNIST at $data"
for python in python3 /usr/bin/python3; do
    "$python" -c 'import torch, h5py, yaml' 2>/dev/null && break
    python=
done
[ -n "$python" ] || skip "no python3 with PyTorch, h5py and yaml (Debian: python3-torch python3-h5py python3-yaml)"

for job in mnist-mlp-bn mnist-mlp-adam-bn; do
    expect 0 ranks 2 train "$source_folder/jobs/$job.yaml" --set "data.path=$data" --set train.epochs=3 \
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
