#!/usr/bin/env bash
# The disk fills up: training goes on and says so, the checkpoints that are there stay whole, the job
# ends with 74 when the last one could not be written, and --resume then ends with the same bits.
. "$(dirname "$0")/lib.sh"
disk=$folder/disk
mkdir "$disk"
mount -t tmpfs -o size=1m lockstep-test "$disk" 2>"$folder/err" || skip "cannot mount: $(cat "$folder/err")"
trap 'umount "$disk"; rm -rf "$folder"' EXIT
cat >"$folder/job.yaml" <<'YAML'
data: {format: synthetic, train_count: 256, test_count: 64, image_size: 28}
model: {input: [1, 28, 28], layers: [flatten, linear: {out: 64}, batch_norm, relu, linear: {out: 10}]}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
train: {epochs: 4, batch_size: 32, microbatch: 8}
checkpoint: {keep_last: 4, keep_best: none}
YAML
train() {
    local count=$1 out=$2
    shift 2
    ranks "$count" train "$folder/job.yaml" --out "$out" --progress none "$@"
}
expect 0 train 1 "$folder/whole"
bytes=$(stat -L -c %s "$folder/whole/latest.h5")

# fill COUNT: a disk for COUNT checkpoints and half of one.
fill() {
    local count=$1 saved
    local run=$disk/$count
    mount -o "remount,size=$(((2 * count + 1) * bytes / 2))" "$disk"
    expect 74 train 2 "$run"
    expect_text "$run/checkpoints/.epoch-0004.h5.tmp."
    expect_text "cannot write: No space left on device"
    saved=$(find "$run/checkpoints" -name 'epoch-000?.h5' | wc -l)
    [ "$saved" = "$count" ] || fail "$saved checkpoints instead of $count"
    [ "$(find "$run" -name '.*' | wc -l)" = 0 ] || fail "a temporary was left"
    for epoch in $(seq $((count + 1)) 3); do
        grep -q "warning: .*$run/checkpoints/.epoch-000$epoch.*: cannot write: No space left" "$run/log.txt" ||
            fail "log.txt does not warn of epoch $epoch"
    done
    for epoch in $(seq "$count"); do
        expect_same "$folder/whole/checkpoints/epoch-000$epoch.h5" "$run/checkpoints/epoch-000$epoch.h5"
        expect 0 "$lockstep" eval "$run/checkpoints/epoch-000$epoch.h5"
    done
    # What is in the way goes, and the job goes on with another number of ranks.
    mount -o remount,size=64m "$disk"
    expect 0 train 3 "$run" --resume
    expect_same "$folder/whole/latest.h5" "$run/latest.h5"
    rm -rf "$run"
}
fill 0
fill 1
fill 2
passed
