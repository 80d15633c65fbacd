#!/usr/bin/env bash
# The MNIST MLPs on the whole of MNIST reach what PyTorch reaches with the same settings: the
# figures of tests/bench/figures.py, with the spread of seeds. On a part of it they do not, which is
# told.
. "$(dirname "$0")/lib.sh"
data=$source_folder/../shared/data
[ -d "$data/mnist" ] || skip "no MNIST at $data"
export PYTHONDONTWRITEBYTECODE=1

# figures EXIT-CODE DATA JOB...
figures() {
    local code=$1 data=$2
    shift 2
    expect "$code" python3 "$source_folder/tests/bench/figures.py" --lockstep "$lockstep" \
        --data "$data" --out "$folder/runs" "$@"
}
# expect_lines COUNT PATTERN: of what was printed.
expect_lines() {
    local count
    count=$(grep -cE "$2" "$folder/out")
    checks=$((checks + 1))
    [ "$count" = "$1" ] || { cat "$folder/out"; fail "$count lines like $2, not $1"; }
}

figures 0 "$data" mnist-mlp mnist-mlp-bn mnist-mlp-adam mnist-mlp-adam-bn
expect_lines 14 ' within$'
expect_lines 18 '^mnist-mlp'
for run in mnist-mlp mnist-mlp-bn mnist-mlp-adam mnist-mlp-adam-bn; do
    [ -f "$folder/runs/$run/latest.h5" ] || fail "the run of $run was not kept"
done

# A thirtieth of the samples is too little.
rm -rf "$folder/runs"
mkdir "$folder/part"
ln -s "$(cd "$data" && pwd)/mnist-small" "$folder/part/mnist"
figures 1 "$folder/part" mnist-mlp --ranks 1
expect_lines 3 '^mnist-mlp .* outside$'
expect_lines 0 ' within$'

# A job that cannot run is told like a figure outside, and others are trained nevertheless.
figures 1 "$data" mnist-mlp mnist-mlp-adam
expect_lines 1 '^mnist-mlp +failed: lockstep: .*holds the checkpoints of an earlier run'
expect_lines 4 '^mnist-mlp-adam .* within$'
figures 2 "$data" mnist-mpl
expect_text "no job 'mnist-mpl'"
passed
