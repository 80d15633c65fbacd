#!/usr/bin/env bash
# Broken job files and data: one clear message, the right exit code, all ranks gone within seconds.
# Also under the sanitizers.
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/whole/broken_idx.sh
. "$source_folder/tests/whole/broken_idx.sh"

# quickly CODE COMMAND...: as expect, within seconds.
quickly() {
    local start=$SECONDS
    expect "$@"
    [ $((SECONDS - start)) -le 20 ] || fail "took $((SECONDS - start)) s: ${*:2}"
}

count=0
for job in "$source_folder"/tests/whole/broken_jobs/*.yaml; do
    count=$((count + 1))
    quickly 78 ranks 3 train "$job" --out "$folder/never"
    expect_text "$(sed -n '1s/^# expect: //p' "$job")"
    [ ! -e "$folder/never" ] || fail "$job: something was written"
done
[ "$count" -ge 30 ] || fail "only $count broken job files"

make_broken_idx "$folder/idx"
cat >"$folder/job.yaml" <<'YAML'
data: {format: idx}
model: {input: [1, 28, 28], layers: [flatten, linear: {out: 10}]}
train: {epochs: 1}
YAML
count=0
for expectation in "$folder"/idx/*.expect; do
    count=$((count + 1))
    data=${expectation%.expect}
    { read -r code && read -r fragment; } <"$expectation"
    quickly "$code" ranks 3 train "$folder/job.yaml" --out "$folder/run-$count" --set "data.path=$data"
    expect_text "$fragment"
done
[ "$count" -ge 20 ] || fail "only $count broken IDX files"

# Ranks that were started differently: told, not waited for.
differ() {
    local what=$1 code=$2 other=$3
    shift 3
    # shellcheck disable=SC2086
    quickly "$code" timeout 60 "${MPIEXEC:-mpirun}" -n 1 "$lockstep" train --out "$folder/differ" "$@" : \
        -n 1 "$lockstep" train --out "$folder/differ" $other
    grep -qF "$what" "$folder/err" || { cat "$folder/err"; fail "'$what' was not told"; }
    rm -rf "$folder/differ"
}
differ "the resolved job" 78 "--set train.batch_size=1024" --set train.batch_size=32
differ "the command line" 78 "--resume"
differ "the command line" 78 "--stop-after 2"
differ "the command line" 78 "--help"
differ "the instruction set" 78 "--isa sse" --isa auto

# The command line.
quickly 64 ranks 2 train --threads none
expect_text "--threads wants a number"
quickly 64 ranks 2 eval
quickly 64 "$lockstep" fly
expect_text 'no command "fly"; there are train, eval,'
quickly 64 "$lockstep" tarin
expect_text 'no command "tarin"; did you mean "train"?'
quickly 66 ranks 2 train "$folder/absent.yaml"
quickly 66 ranks 2 eval "$folder/absent.h5"
quickly 65 ranks 2 eval "$folder/job.yaml"
quickly 64 ranks 2 train "$folder/absent.yaml" --isa z80 --out "$folder/z80"
expect_text "--isa z80: not known, or not what this CPU can run; known are auto, "
[ ! -e "$folder/z80" ] || fail "a folder for a run that cannot begin"
quickly 73 ranks 2 train --out /proc/none
quickly 78 "$lockstep" config --set optimizer.lr=fast
quickly 0 "$lockstep" --version
quickly 0 "$lockstep" --help
expect 64 "$lockstep" train --resume=3
expect_text "--resume takes no value"
expect 64 "$lockstep" train -r
expect_text "train does not know -r"
expect 64 "$lockstep" bench krnels
expect_text 'no command "bench krnels"; did you mean "bench kernels"?'
passed
