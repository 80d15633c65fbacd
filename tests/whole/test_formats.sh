#!/usr/bin/env bash
# The same set in every format that can hold it gives the same model, on any number of ranks and threads;
# and a set that stays in its file and breaks in the middle of training ends all ranks with one message.
. "$(dirname "$0")/lib.sh"
python=${PYTHON:-python3}
[ -x /usr/bin/python3 ] && python=/usr/bin/python3 # the one that Debian's packages are for
"$python" -c 'import h5py, numpy' 2>/dev/null || skip "no python3 with h5py and numpy"
"$python" "$source_folder/tests/whole/make_sets.py" "$folder/sets" || fail "make_sets.py"

cat >"$folder/grey.yaml" <<'YAML'
data: {format: idx, valid_split: 0.1, normalize: {mean: 0.4, std: 0.3}}
model: {input: [1, 9, 11], layers: [flatten, linear: {out: 20}, batch_norm, relu, linear: {out: 7}]}
optimizer: {lr: 0.1, momentum: 0.9}
train: {epochs: 3, batch_size: 32, microbatch: 8}
YAML
sed "s/\[1, 9, 11\]/[3, 32, 32]/; s/out: 7/out: 10/" "$folder/grey.yaml" >"$folder/coloured.yaml"

# train_on JOB SET FORMAT RANKS THREADS: into the folder $run.
train_on() {
    run=$folder/run-$1-${2//\//-}-$4-$5
    expect 0 ranks "$4" train "$folder/$1.yaml" --out "$run" --threads "$5" --progress none \
        --set "data.path=$folder/sets/$2" --set "data.format=$3"
}
# same_model RUN RUN: the same bits, and the same losses; the files differ in the job they hold.
same_model() {
    checks=$((checks + 1))
    h5diff "$1/latest.h5" "$2/latest.h5" /model >"$folder/out" || fail "the models of $1 and $2 differ"
    losses "$1" >"$folder/a"
    losses "$2" >"$folder/b"
    expect_same "$folder/a" "$folder/b"
}

train_on grey idx idx 1 1
grey=$run
for shape in "1 1" "3 1" "1 2" "3 2"; do
    for set in npy npy-nhwc npy-float; do
        # shellcheck disable=SC2086
        train_on grey $set npy $shape
        same_model "$grey" "$run"
    done
    for set in hdf5.h5 hdf5-nhwc.h5 hdf5-float.h5; do
        # shellcheck disable=SC2086
        train_on grey $set hdf5 $shape
        same_model "$grey" "$run"
    done
done
train_on grey npy-half npy 1 1
half=$run
train_on grey hdf5-half.h5 hdf5 3 1
same_model "$half" "$run"
train_on coloured cifar cifar 1 1
coloured=$run
for case in "cifar cifar 3 2" "cifar-npy npy 1 2" "cifar-npy npy 3 1" "cifar.h5 hdf5 1 1" "cifar.h5 hdf5 3 2"; do
    # shellcheck disable=SC2086
    train_on coloured $case
    same_model "$coloured" "$run"
done
# CIFAR-100 has more classes, so another model; but it is read, on any number of ranks, as the same bits.
sed 's/out: 10/out: 100/' "$folder/coloured.yaml" >"$folder/hundred.yaml"
train_on hundred cifar100 cifar 1 1
hundred=$run
train_on hundred cifar100 cifar 3 1
same_model "$hundred" "$run"

# The same with all that may be done to images on the way, on one rank and on three.
cat >"$folder/changed.yaml" <<'YAML'
data:
  valid_split: 0.1
  resize: [24, 20]
  standardize: train
  augment: {random_crop: 2, flip: true, cutout: 5}
model: {input: [3, 24, 20], layers: [conv2d: {out: 4, kernel: 3, padding: 1}, batch_norm, relu, flatten, linear: {out: 10}]}
optimizer: {lr: 0.05, momentum: 0.9}
train: {epochs: 2, batch_size: 32, microbatch: 8}
YAML
train_on changed cifar cifar 1 1
changed=$run
for case in "cifar cifar 3 1" "cifar-npy npy 3 2" "cifar.h5 hdf5 1 1" "cifar.h5 hdf5 3 1"; do
    # shellcheck disable=SC2086
    train_on changed $case
    same_model "$changed" "$run"
done

# Grey images, which IDX can hold as well.
sed 's/\[3, 24, 20\]/[1, 24, 20]/; s/out: 10/out: 7/' "$folder/changed.yaml" >"$folder/grey-changed.yaml"
train_on grey-changed idx idx 1 1
changed=$run
for case in "idx idx 3 1" "npy-nhwc npy 3 2" "hdf5-nhwc.h5 hdf5 3 1"; do
    # shellcheck disable=SC2086
    train_on grey-changed $case
    same_model "$changed" "$run"
done

# What standardize measures of floats, shared over the ranks: the same numbers.
cp "$folder/grey-changed.yaml" "$folder/floats.yaml"
train_on floats npy-float npy 1 1
floats=$run
for case in "npy-float npy 3 1" "hdf5-float.h5 hdf5 1 1" "hdf5-float.h5 hdf5 2 1" "hdf5-float.h5 hdf5 4 1"; do
    # shellcheck disable=SC2086
    train_on floats $case
    same_model "$floats" "$run"
done

# same_training RUN RUN: as same_model, but the second has no test.
same_training() {
    checks=$((checks + 1))
    h5diff "$1/latest.h5" "$2/latest.h5" /model >"$folder/out" || fail "the models of $1 and $2 differ"
    losses "$1" | grep -v test_loss >"$folder/a"
    losses "$2" >"$folder/b"
    expect_same "$folder/a" "$folder/b"
}
# A set without test samples trains to the same model, and says that there is no test; half of a test
# split is an error.
for case in "no-test npy 1 1" "no-test.h5 hdf5 3 1"; do
    # shellcheck disable=SC2086
    train_on grey $case
    same_training "$grey" "$run"
    grep -q '0 test;' "$run/log.txt" || fail "the log counts test samples"
    grep -q 'no test: the set has no test samples' "$run/log.txt" || fail "the log does not say that there is no test"
done
for count in 1 2; do
    expect 66 ranks "$count" eval "$run/latest.h5"
    expect_text "no-test.h5: the set has no test samples; name one that has, with --set data.path="
done
expect 66 "$lockstep" eval "$folder/run-grey-no-test-1-1/latest.h5"
expect_text "sets/no-test: the set has no test samples"
expect 66 "$lockstep" eval "$folder/run-grey-no-test-1-1/latest.h5" --set "data.path=$folder/absent"
expect_text "there is no folder '$folder/absent'"
expect 0 ranks 2 eval "$run/latest.h5" --set "data.path=$folder/sets/hdf5.h5"
expect 0 ranks 2 train "$folder/grey.yaml" --out "$run" --resume --progress none --set train.epochs=4 \
    --set "data.path=$folder/sets/no-test.h5" --set data.format=hdf5
expect 0 "$lockstep" train "$folder/grey.yaml" --out "$folder/no-test-4" --progress none --set train.epochs=4 \
    --set "data.path=$folder/sets/no-test.h5" --set data.format=hdf5
expect_same "$run/latest.h5" "$folder/no-test-4/latest.h5"
expect 0 "$lockstep" convert "$folder/sets/no-test.h5" "$folder/sets/no-test-again.h5"
train_on grey no-test-again.h5 hdf5 2 1
same_training "$grey" "$run"
cp "$folder/sets/npy/test_labels.npy" "$folder/sets/no-test"
expect 66 ranks 2 train "$folder/grey.yaml" --out "$folder/half" --progress none \
    --set "data.path=$folder/sets/no-test" --set data.format=npy
expect_text "found neither test_images.npy nor x_test.npy"
"$python" -c 'import sys, h5py; h5py.File(sys.argv[1], "a")["test/pictures"] = [1]' "$folder/sets/no-test.h5"
expect 66 ranks 2 train "$folder/grey.yaml" --out "$folder/half-hdf5" --progress none \
    --set "data.path=$folder/sets/no-test.h5" --set data.format=hdf5
expect_text "no-test.h5: has no test images; looked for /test/images"

# A validation split where there is no test is the test split, and that is told.
cp "$folder/sets/hdf5.h5" "$folder/sets/val.h5"
"$python" -c 'import sys, h5py; h5py.File(sys.argv[1], "a").move("test", "val")' "$folder/sets/val.h5"
train_on grey val.h5 hdf5 2 1
same_model "$grey" "$run"
expect_told() {
    checks=$((checks + 1))
    [ "$(grep -c 'the set has no test split: its val is taken for the test$' "$1")" = 1 ] || fail "$1 does not tell of val"
}
expect_told "$run/log.txt"
expect 0 ranks 2 eval "$run/latest.h5"
expect_told "$folder/out"
expect 0 "$lockstep" convert "$folder/sets/val.h5" "$folder/sets/val-again.h5"
expect_told "$folder/out"

# The names of the classes, from where a set has them: CIFAR's own list, which a conversion keeps.
expect 0 ranks 2 eval "$coloured/latest.h5"
grep -qE '^class   6  accuracy 0\.[0-9]+ \([0-9]+ of [0-9]+\)$' "$folder/out" || fail "a class without a name"
printf '%s\n' none one two three four five six seven eight nine '' >"$folder/sets/cifar/batches.meta.txt"
expect 0 ranks 2 eval "$coloured/latest.h5"
cp "$folder/out" "$folder/named"
grep -qE '^class   6  accuracy .* of [0-9]+\)  six$' "$folder/out" || fail "class 6 is not called six"
grep -qE '^     9( +[0-9]+){10}  nine$' "$folder/out" || fail "row 9 is not called nine"
expect 0 "$lockstep" convert "$folder/sets/cifar" "$folder/sets/named.h5"
expect 0 ranks 3 eval "$coloured/latest.h5" --set "data.path=$folder/sets/named.h5" --set data.format=hdf5
expect_same "$folder/named" "$folder/out"
sed -i 3d "$folder/sets/cifar/batches.meta.txt"
expect 65 ranks 2 eval "$coloured/latest.h5"
expect_text "batches.meta.txt: 9 lines found, 10 expected"

# Stopped in the middle of an epoch and continued on other ranks: the same file.
stopped=$folder/stopped
hdf5=(--set "data.path=$folder/sets/hdf5.h5" --set data.format=hdf5 --progress none)
expect 75 ranks 2 train "$folder/grey.yaml" --out "$stopped" --stop-after 7 "${hdf5[@]}"
expect 0 ranks 3 train "$folder/grey.yaml" --out "$stopped" --resume "${hdf5[@]}"
expect_same "$stopped/latest.h5" "$folder/run-grey-hdf5.h5-1-1/latest.h5"
expect 0 ranks 2 eval "$stopped/latest.h5"

# A file cut, or written into, while training reads it.
long=(--set train.epochs=100000 --set checkpoint.every_epochs=0 "${hdf5[@]}")
has_begun() { grep -q '"epoch": 3,' "$folder/broken/metrics.jsonl"; }
break_while_training() {
    local code=0
    rm -rf "$folder/broken"
    cp "$folder/sets/hdf5.h5" "$folder/whole.h5"
    start 3 train "$folder/grey.yaml" --out "$folder/broken" "${long[@]}"
    wait_until has_begun
    "$@"
    wait "$started" || code=$?
    cp "$folder/whole.h5" "$folder/sets/hdf5.h5"
    cp "$folder/started" "$folder/err"
    checks=$((checks + 1))
    [ "$code" = 65 ] || { cat "$folder/err"; fail "exit code $code instead of 65: $*"; }
    expect_text "the file was changed while it was read"
}
break_while_training truncate -s 9000 "$folder/sets/hdf5.h5"
break_while_training touch "$folder/sets/hdf5.h5"

# A sample that no fingerprint looks at is damaged: found when it is read, by its checksum.
damage() {
    "$python" - "$folder/sets/hdf5-float.h5" <<'PYTHON'
import sys, h5py
with h5py.File(sys.argv[1]) as file:
    chunk = file["images"].id.get_chunk_info(23)
with open(sys.argv[1], "r+b") as file:
    file.seek(chunk.byte_offset + 100)
    file.write(b"\x55\xaa")
PYTHON
}
damage
expect 65 ranks 3 train "$folder/grey.yaml" --out "$folder/damaged" --progress none \
    --set "data.path=$folder/sets/hdf5-float.h5" --set data.format=hdf5
expect_text "hdf5-float.h5: /images: cannot read samples"
[ "$(wc -l <"$folder/err")" -le 12 ] || { cat "$folder/err"; fail "more than one message"; }

# Every read of one rank fails in turn, also on the thread that reads ahead: never a hang.
failures=0
for point in $(seq 40 9 260); do
    code=0
    rm -rf "$folder/fault"
    LOCKSTEP_FAULT=$point@1 ranks 2 train "$folder/grey.yaml" --out "$folder/fault" "${hdf5[@]}" \
        >"$folder/out" 2>"$folder/err" || code=$?
    checks=$((checks + 1))
    case $code in
    0) ;;
    71 | 73 | 74)
        failures=$((failures + 1))
        grep -q '^lockstep: rank 1: ' "$folder/err" || { cat "$folder/err"; fail "point $point: no message"; }
        ;;
    *) cat "$folder/err"; fail "point $point: exit code $code" ;;
    esac
done
[ "$failures" -ge 5 ] || fail "only $failures points failed"
passed

# Where a shuffled sample makes more be read than it, and memory cannot keep that, a line says so.
"$python" - "$folder/sets/large.h5" <<'PY'
import sys, h5py
with h5py.File(sys.argv[1], "w") as file:
    storage = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    storage.set_chunk((256, 64, 64))
    storage.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # chunks that are there, never written
    storage.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple((66000, 64, 64))
    h5py.h5d.create(file.id, b"images", h5py.h5t.STD_U8LE, space, storage)
    file["labels"] = [0, 1] * 33000
PY
for shuffle in true false; do
    expect 75 "$lockstep" train --out "$folder/large-$shuffle" --progress none --stop-after 1 \
        --set data.format=hdf5 --set "data.path=$folder/sets/large.h5" --set "train.shuffle=$shuffle" \
        --set 'model.input=[1, 64, 64]' --set 'model.layers=[flatten, linear: {out: 2}]'
    line="warning: $folder/sets/large.h5: 1.0 MB are read or unpacked for each shuffled sample"
    told=$(grep -c "$line" "$folder/large-$shuffle/log.txt" || true)
    [ "$shuffle$told" = true1 ] || [ "$shuffle$told" = false0 ] || fail "shuffle $shuffle: the line is there $told times"
done
rm "$folder/sets/large.h5"
