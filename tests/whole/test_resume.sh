#!/usr/bin/env bash
# Stopped, killed, resumed on other ranks and threads: the same file as the run that never stopped; and
# damaged checkpoints are passed over, never silently replaced by a fresh start.
# Also under the sanitizers.
. "$(dirname "$0")/lib.sh"
cat >"$folder/job.yaml" <<'YAML'
data: {format: synthetic, train_count: 1000, test_count: 100, valid_split: 0.1, image_size: 14}
model: {input: [1, 14, 14], layers: [flatten, linear: {out: 40, bias: false}, batch_norm, relu, dropout: {p: 0.2}, linear: {out: 10}]}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
train: {epochs: 3, batch_size: 50, microbatch: 8}
checkpoint: {keep_best: valid_accuracy}
YAML
train() {
    local count=$1 run=$2
    shift 2
    ranks "$count" train "$folder/job.yaml" --out "$folder/$run" --progress none "$@"
}

expect 0 train 1 whole
whole=$folder/whole/latest.h5

# In the middle of epoch 2 on 3 ranks, on with 2.
expect 75 train 3 stopped --stop-after 25
[ "$(readlink "$folder/stopped/latest.h5")" = checkpoints/step-00000025.h5 ] || fail "no checkpoint of step 25"
expect 73 train 2 stopped
expect_text "--resume"
expect 0 train 2 stopped --resume --threads 2
expect_same "$whole" "$folder/stopped/latest.h5"
losses "$folder/whole" >"$folder/a"
losses "$folder/stopped" >"$folder/b"
expect_same "$folder/a" "$folder/b"

# The same with augmentation, and with normalisation by the training samples' own numbers.
augment=(--set "data.augment={random_crop: 2, flip: true, cutout: 4}" --set data.standardize=train)
expect 0 train 1 augmented-whole "${augment[@]}"
expect 75 train 3 augmented "${augment[@]}" --stop-after 25
expect 0 train 2 augmented "${augment[@]}" --resume --threads 2
expect_same "$folder/augmented-whole/latest.h5" "$folder/augmented/latest.h5"

# At the end of an epoch, and twice.
expect 75 train 4 twice --stop-after 18
expect 75 train 1 twice --resume --stop-after 19
expect 0 train 3 twice --resume
expect_same "$whole" "$folder/twice/latest.h5"
expect 0 train 2 twice --resume
expect_same "$whole" "$folder/twice/latest.h5"
losses "$folder/twice" >"$folder/b"
expect_same "$folder/a" "$folder/b"

# --resume starts a run that has not begun.
expect 0 train 2 fresh --resume
expect_same "$whole" "$folder/fresh/latest.h5"

# A signal: checkpoint, 75, and on.
long=(--set train.epochs=400 --set checkpoint.every_epochs=0 --set checkpoint.keep_best=none)
start 2 train "$folder/job.yaml" --out "$folder/signal" --progress lines "${long[@]}" --set log.every_seconds=0
wait_until grep -q 'epoch 2/' "$folder/started"
kill -USR1 "$started"
code=0
wait "$started" || code=$?
[ "$code" = 75 ] || { tail -n 20 "$folder/started"; fail "exit code $code after SIGUSR1"; }
[ -e "$folder/signal/latest.h5" ] || fail "no checkpoint after SIGUSR1"

# Killed without warning: what was saved is there, and the ranks that outlive mpirun do no harm.
start 2 train "$folder/job.yaml" --out "$folder/killed" --progress none --set train.epochs=400
wait_until test -e "$folder/killed/latest.h5"
kill -KILL "$started"
wait "$started" 2>/dev/null
expect 0 train 1 killed --resume --set train.epochs=400
expect 0 train 1 straight --set train.epochs=400
expect_same "$folder/straight/latest.h5" "$folder/killed/latest.h5"
losses "$folder/straight" >"$folder/a"
losses "$folder/killed" >"$folder/b"
expect_same "$folder/a" "$folder/b"

# The newest is damaged: named, and the one before is used.
expect 75 train 1 damaged --stop-after 40
printf 'x' | dd of="$folder/damaged/checkpoints/step-00000040.h5" bs=1 seek=3000 conv=notrunc status=none
expect 0 ranks 2 train "$folder/job.yaml" --out "$folder/damaged" --resume
grep -q 'warning.*step-00000040.h5' "$folder/out" || fail "the damaged file was not named"
grep -q 'resuming from.*epoch-0002.h5' "$folder/out" || fail "the checkpoint before was not used"
expect_same "$whole" "$folder/damaged/latest.h5"
[ -e "$folder/damaged/checkpoints/step-00000040.h5.bad" ] || fail "the damaged file was not set aside"

# All are damaged: refused.
for file in "$folder/damaged/checkpoints/"*.h5; do truncate -s 2000 "$file"; done
expect 65 train 2 damaged --resume

# The same data in another place is welcome, other data is refused.
# shellcheck source=tests/whole/broken_idx.sh
. "$source_folder/tests/whole/broken_idx.sh"
make_good_idx "$folder/here"
cp -r "$folder/here" "$folder/moved"
cp -r "$folder/here" "$folder/other"
poke "$folder/other/train-images-idx3-ubyte" 100 '\0377'
cat >"$folder/idx.yaml" <<'YAML'
data: {format: idx}
model: {input: [1, 28, 28], layers: [flatten, linear: {out: 10}]}
train: {epochs: 3, batch_size: 8, microbatch: 4}
YAML
idx() {
    ranks 2 train "$folder/idx.yaml" --out "$folder/idx" --progress none --set "data.path=$folder/$1" "${@:2}"
}
expect 75 idx here --stop-after 3
expect 78 idx other --resume
expect_text "other data"
expect 0 idx moved --resume

# Checkpoints every few steps, also where an epoch ends.
expect 0 train 1 steps --set checkpoint.every_epochs=0 --set checkpoint.every_steps=9 \
    --set checkpoint.keep_best=none --set checkpoint.keep_last=100
[ "$(cd "$folder/steps/checkpoints" && echo *)" = \
    "epoch-0001.h5 epoch-0002.h5 epoch-0003.h5 step-00000009.h5 step-00000027.h5 step-00000045.h5" ] ||
    fail "checkpoints are missing: $(ls "$folder/steps/checkpoints")"

# Another job in the same folder: refused, naming what differs; more epochs are welcome.
expect 78 train 1 stopped --resume --set optimizer.name=adam
expect_text "optimizer.name"
expect 78 train 1 stopped --resume --set seed=2
expect 0 train 1 stopped --resume --set train.epochs=4

# Two jobs in one folder: the second is refused while the first lives.
start 1 train "$folder/job.yaml" --out "$folder/locked" --progress none --set train.epochs=100000 \
    --set checkpoint.every_epochs=100000 --set checkpoint.keep_best=none
wait_until grep -q process "$folder/locked/lock"
expect 73 train 1 locked --resume
expect_text "another job writes here"
kill -USR1 "$started"
wait "$started" 2>/dev/null
passed
