#!/usr/bin/env bash
# The MNIST MLPs on the whole of MNIST reach what PyTorch reaches with the same settings: first and
# last training loss and test accuracy of its own runs, with the spread of seeds.
. "$(dirname "$0")/lib.sh"
data=$source_folder/../shared/data/mnist
[ -d "$data" ] || skip "no MNIST at $data"

# figures JOB FIRST SPREAD LAST SPREAD ACCURACY SPREAD
figures() {
    local job=$1
    shift
    expect 0 ranks 2 train "$source_folder/jobs/$job.yaml" --set "data.path=$data" --out "$folder/$job" --progress none
    checks=$((checks + 3))
    sed -nE 's/.*"type": "epoch".*"train_loss": ([0-9.]+).*/\1/p; s/.*"type": "test".*"test_accuracy": ([0-9.]+).*/\1/p' \
        "$folder/$job/metrics.jsonl" | awk -v job="$job" -v wanted="$*" '
        { value[NR] = $1 }
        END {
            split(wanted, w, " ")
            found[1] = value[1]; found[2] = value[NR - 1]; found[3] = value[NR]
            for (i = 1; i <= 3; i++) {
                distance = found[i] - w[2 * i - 1]
                if (NR < 11 || distance > w[2 * i] || -distance > w[2 * i]) {
                    printf "%s: figure %d is %s, expected %s\n", job, i, found[i], w[2 * i - 1]
                    exit 1
                }
            }
        }' || fail "$job does not reach its figures"
}
figures mnist-mlp 1.5734 0.05 0.2159 0.01 0.9406 0.006
figures mnist-mlp-bn 0.3920 0.03 0.0190 0.011 0.9775 0.006
figures mnist-mlp-adam 0.45 0.05 0.0566 0.01 0.9729 0.006
figures mnist-mlp-adam-bn 0.30 0.05 0.0241 0.01 0.9768 0.006
passed
