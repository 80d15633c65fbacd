#!/usr/bin/env bash
# The comparison of numbers of ranks runs and tells speed, what was to be reached, and what batch
# norm costs, where there is one over the batch. How large the figures are is not judged here.
. "$(dirname "$0")/lib.sh"
find_python 'yaml'
[ -n "$python" ] || skip "no python3 with yaml (Debian: python3-yaml)"
export PYTHONDONTWRITEBYTECODE=1
number='[0-9]+(\.[0-9]+)?'

# compare EXIT-CODE ARGUMENTS...
compare() {
    local code=$1
    shift
    expect "$code" "$python" "$source_folder/tests/bench/ranks.py" --lockstep "$lockstep" \
        --rounds 1 --epochs 2 --samples 512 "$@"
}
# lines PATTERN...: what was printed are lines like these, in this order, and no others.
lines() {
    local patterns=("$@") found i
    mapfile -t found <"$folder/out"
    checks=$((checks + 1))
    [ "${#found[@]}" = $# ] || { cat "$folder/out"; fail "${#found[@]} lines instead of $#"; }
    for i in "${!found[@]}"; do
        checks=$((checks + 1))
        [[ ${found[i]} =~ ^${patterns[i]}$ ]] || fail "'${found[i]}' is not like '${patterns[i]}'"
    done
}

write_job() {
    printf '%s\n' "data: {format: idx, path: nowhere, valid_split: 0.5}" \
        "model: {input: [1, 12, 12], layers: [$1, flatten, linear: {out: 10}]}" \
        "train: {batch_size: 32, microbatch: 8}" >"$folder/small.yaml"
}
write_job "conv2d: {out: 4, kernel: 3}, batch_norm, relu"
compare 0 --job "$folder/small.yaml:4"
title='small +batch +32 microbatch +4 '
lines "$title +1 ranks +$number samples/s  ratio +1\.00" \
    "$title +2 ranks +$number samples/s  ratio +$number  \(target 1\.8\)" \
    "$title +2 ranks batch norm communicates +$number % of a step  \(target < 3 %\)" \
    "$title +2 ranks sync: global costs +-?$number % against none"

title='small +batch +32 microbatch +8 '
write_job "relu, batch_norm: {sync: {group: 2}}"
compare 0 --job "$folder/small.yaml" --ranks 2,1
lines "$title +2 ranks +$number samples/s  ratio +1\.00" \
    "$title +1 ranks +$number samples/s  ratio +$number"

# A microbatch of 32 leaves nothing to a second rank: the program's own words, and no figure.
compare 1 --job "$folder/small.yaml:32" --ranks 2
expect_text "fewer than the 2 ranks"
[ ! -s "$folder/out" ] || fail "figures of a job that does not run"
passed
