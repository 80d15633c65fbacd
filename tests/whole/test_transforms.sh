#!/usr/bin/env bash
# What is done to samples when they are read: resize, pad, center_crop, standardize. Evaluation of a checkpoint
# normalizes by the numbers of its training samples, which are not read again.
# Also under the sanitizers.
. "$(dirname "$0")/lib.sh"
cat >"$folder/job.yaml" <<'YAML'
data: {train_count: 500, test_count: 100, valid_split: 0.1, image_size: 16, standardize: train, resize: [20, 12],
    pad: 2, center_crop: [14, 14]}
model: {input: [1, 14, 14], layers: [flatten, linear: {out: 10}]}
train: {epochs: 1, batch_size: 50}
YAML
# has FRAGMENT FILE
has() {
    checks=$((checks + 1))
    grep -qF -- "$1" "$2" || { cat "$2"; fail "'$1' is missing from $2"; }
}

# The resolved job is a job; the run's holds numbers in place of the word.
expect 0 "$lockstep" config "$folder/job.yaml"
cp "$folder/out" "$folder/resolved.yaml"
expect 0 "$lockstep" config "$folder/resolved.yaml"
expect_same "$folder/resolved.yaml" "$folder/out"
expect 0 ranks 2 train "$folder/job.yaml" --out "$folder/run"
has "standardize: channel 0 has mean 0." "$folder/run/log.txt"
has "standardize: none" "$folder/run/job.yaml"
if grep -qF "mean: [0.0]" "$folder/run/job.yaml"; then fail "the mean is not in the run's job"; fi

# Evaluation: the run's numbers, without training samples, whether the job is the stored one or the one given.
expect 0 "$lockstep" eval "$folder/run/latest.h5" --set data.train_count=1
cp "$folder/out" "$folder/stored"
accuracy=$(sed -n 's/^loss .*accuracy //p' "$folder/stored")
has "accuracy $accuracy (100 samples)" "$folder/run/log.txt"
expect 0 ranks 2 eval "$folder/run/latest.h5" "$folder/job.yaml"
expect_same "$folder/stored" "$folder/out"

# Validation samples have no part in the numbers: a run whose training samples are all there is has others.
numbers() { grep -E '^    (mean|std):' "$folder/$1/job.yaml"; }
expect 0 "$lockstep" train "$folder/job.yaml" --out "$folder/fewer" --set data.train_count=450 --set data.valid_split=0
[ "$(numbers run)" = "$(numbers fewer)" ] || fail "the numbers are not those of the first 450 samples"
expect 0 "$lockstep" train "$folder/job.yaml" --out "$folder/all" --set data.valid_split=0
[ "$(numbers run)" != "$(numbers all)" ] || fail "the numbers do not depend on the split"

# A resumed run must be of the same job: other transforms are another one.
expect 78 "$lockstep" train "$folder/job.yaml" --out "$folder/run" --resume --set data.resize=[19,12]
expect_text "data.resize: [20, 12] -> [19, 12]"
expect 0 "$lockstep" train "$folder/job.yaml" --out "$folder/run" --resume --set train.epochs=2

# The network must fit what comes out, not what is in the files.
expect 78 ranks 2 train "$folder/job.yaml" --out "$folder/never" --set model.input=[1,16,16]
expect_text "model.input: is [1, 16, 16], but the training images of the data set are [1, 14, 14] (or, flat, [196]) after resize, pad and center_crop"
expect 78 ranks 2 train "$folder/job.yaml" --out "$folder/never" --set data.center_crop=[14,17]
expect_text "--set #1: data.center_crop: [14, 17] is larger than what there is to cut, [1, 24, 16]"

# A pad, crop or cutout that leaves nothing of an image; the last sizes that do leave something.
refused() { # OPTION FRAGMENT
    expect 78 ranks 2 train "$folder/job.yaml" --out "$folder/never" --set "$1"
    expect_text "--set #1: data.$2"
}
refused data.pad=21 "pad: 21 zeros on every side of [1, 20, 12]; at most 20"
refused data.augment.random_crop=14 \
    "augment.random_crop: 14 zeros around samples of [1, 14, 14], cut to their size, can leave nothing of them; at most 13"
refused data.augment.cutout=14 "augment.cutout: a square of 14 x 14 can hide all of samples of [1, 14, 14]; at most 13"
expect 0 ranks 2 train "$folder/job.yaml" --out "$folder/largest" --set data.pad=20 --set data.augment.random_crop=13 \
    --set data.augment.cutout=13

# A model that does not fit the classes, before the set is measured; and where in the job file.
sed 's/out: 10/out: 9/' "$folder/job.yaml" >"$folder/nine.yaml"
expect 78 ranks 2 train "$folder/nine.yaml" --out "$folder/never"
expect_text "nine.yaml:3:47: model.layers: the last layer gives [9] for each sample; cross_entropy of 10 classes wants [10]"
if grep -q standardize: "$folder/out"; then fail "the set was measured for a model that does not fit it"; fi

# resize is what Pillow computes.
find_python PIL
if [ -n "$python" ]; then
    expect 0 env PYTHONDONTWRITEBYTECODE=1 "$python" "$source_folder/tests/reference/make_resize.py" --check
else
    echo "not compared with Pillow: no python3 has it (Debian: python3-pil)"
fi
passed
