#!/usr/bin/env bash
# What a person does with the program: config, summary, train, eval in both modes, version.
# Also under the sanitizers.
. "$(dirname "$0")/lib.sh"

# has FRAGMENT: the last command printed it.
has() {
    checks=$((checks + 1))
    grep -qF -- "$1" "$folder/out" || { cat "$folder/out"; fail "'$1' is missing from the output"; }
}

expect 0 "$lockstep" --version
for word in lockstep compiler MPI HDF5 "instruction set"; do has "$word"; done
expect 0 "$lockstep" --help
has "Exit codes"

# Each command explains itself: usage, and every option of its usage with a line, and no other.
for command in train eval summary config convert "bench kernels" "bench step" "bench allreduce"; do
    # shellcheck disable=SC2086
    expect 0 "$lockstep" $command --help
    has "lockstep $command "
    has "Examples:"
    sed -n '1p' "$folder/out" | grep -oE -- '--[a-z-]+' | sort >"$folder/a"
    sed -nE 's/^  (--[a-z-]+) .*  *[a-z].*/\1/p' "$folder/out" | grep -v -- --help | sort >"$folder/b"
    expect_same "$folder/a" "$folder/b"
done
expect 0 ranks 2 train --help
[ "$(grep -c '^Options:$' "$folder/out")" = 1 ] || fail "not one rank printed the help"
expect 0 "$lockstep" bench --help
has "lockstep bench step "
has "lockstep bench kernels "

# The printed default job, with every key explained, is a job: the default one.
expect 0 "$lockstep" config --print-default
has "# "
for layer in $(sed -n 's/^LAYER(\(.*\))$/\1/p' "$source_folder/src/layers/registry.def"); do
    [ "$(grep -c "^# $layer: ." "$folder/out")" = 1 ] || fail "layer $layer is not explained at the end"
done
cp "$folder/out" "$folder/default.yaml"
expect 0 "$lockstep" config "$folder/default.yaml"
cp "$folder/out" "$folder/a"
expect 0 "$lockstep" config
expect_same "$folder/a" "$folder/out"
expect 0 "$lockstep" config "$source_folder/jobs/quickstart.yaml"
expect_same "$folder/a" "$folder/out"
expect 0 "$lockstep" config --print-default "$source_folder/jobs/quickstart.yaml"
if grep -q "^# conv2d" "$folder/out"; then fail "a job's own layers are enough to explain"; fi
expect 0 "$lockstep" config --set optimizer.lr=0.125 --set "data.normalize={mean: [0.5], std: 0.25}"
has "lr: 0.125"
for job in "$source_folder"/jobs/*.yaml; do expect 0 "$lockstep" config "$job"; done

expect 0 "$lockstep" summary "$source_folder/jobs/mnist-mlp-bn.yaml"
has "Trained parameters: 536586" # 784*512 + 2*512 + 512*256 + 2*256 + 256*10 + 10
expect 0 "$lockstep" summary --set "model={input: [6], layers: [residual: {layers: [linear: {out: 10}, relu], projection: [sequential: {name: s, layers: [linear: {out: 10}]}]}]}"
has "0 (residual)                   [10]"
has "  layers.0 (linear)            [10]                         70"
has "  projection.s (sequential)    [10]"
has "    0 (linear)                 [10]                         70"
has "Trained parameters: 140"
# Nothing is allocated: a network for a cluster can be looked at anywhere, here one of 500 GB for a microbatch.
cluster="model={input: [3, 4000, 4000], layers: [conv2d: {out: 130, kernel: 3}, relu, conv2d: {out: 130, kernel: 3}]}"
expect 0 "$lockstep" summary --set "$cluster"
has "2 (conv2d)                     [130, 3996, 3996]"
expect 78 "$lockstep" summary --set "${cluster//130/140}"
expect_text "conv2d '0' gives [140, 3998, 3998]: a sample of 2237760560 numbers is too large"
expect 78 "$lockstep" summary --set "model={input: [6], layers: [residual: {layers: [linear: {out: 5}]}]}"
expect_text "residual '0': its layers give [5], its input is [6]"

# A run from start to end; every class is told, and every test sample is counted once on any ranks.
small=(--set data.train_count=3000 --set data.test_count=333 --set data.valid_split=0.1)
expect 0 ranks 2 train "$source_folder/jobs/quickstart.yaml" "${small[@]}" --out "$folder/run"
has "epoch 0/"
has "test loss"
for file in job.yaml metrics.jsonl log.txt latest.h5 best.h5 checkpoints/epoch-0003.h5; do
    [ -e "$folder/run/$file" ] || fail "$file is missing from the run's folder"
done
expect 0 "$lockstep" eval "$folder/run/best.h5"
has "333 samples"
cp "$folder/out" "$folder/one"
expect 0 ranks 3 eval "$folder/run/best.h5"
expect_same "$folder/one" "$folder/out"
expect 0 ranks 6 eval "$folder/run/best.h5" # more ranks than a batch has microbatches
expect_same "$folder/one" "$folder/out"
[ "$(grep -c '^class' "$folder/out")" = 10 ] || fail "not every class was told"
expect 0 ranks 2 eval "$folder/run/best.h5" --mode train
has "train mode"
cmp -s "$folder/one" "$folder/out" && fail "--mode train has no effect"

# A job that does not fit its data leaves no folder behind; one that was there before stays.
expect 78 ranks 2 train "$source_folder/jobs/quickstart.yaml" --set model.input=[1,5,5] --out "$folder/unfit"
[ ! -e "$folder/unfit" ] || fail "a run that never began left its folder"
mkdir "$folder/unfit"
expect 78 "$lockstep" train "$source_folder/jobs/quickstart.yaml" --set model.input=[1,5,5] --out "$folder/unfit"
[ -d "$folder/unfit" ] || fail "a folder of the user's was removed"

# Up to 20 classes there is a matrix, whose rows hold each class's samples; above, only the counts of each class.
# Classes without samples, and more classes than memory has room for the squares of, are no harm.
for classes in 20 21 60000; do
    run=$folder/classes-$classes
    expect 0 "$lockstep" train "${small[@]}" --set train.epochs=1 --out "$run" \
        --set "model.layers=[flatten, linear: {out: 4, bias: false}, linear: {out: $classes}]"
    expect 0 "$lockstep" eval "$run/latest.h5"
    cp "$folder/out" "$folder/one"
    expect 0 ranks 3 eval "$run/latest.h5"
    expect_same "$folder/one" "$folder/out"
    python3 - "$folder/out" "$classes" <<'END' || { cat "$folder/out"; fail "counts of $classes classes do not fit"; }
import re, sys
with open(sys.argv[1], encoding="utf-8") as file:
    text = file.read()
right, samples = zip(*[map(int, pair) for pair in re.findall(r"\((\d+) of (\d+)\)", text)])
rows = [[int(cell) for cell in line.split()[1:]] for line in text.partition("predicted\n")[2].splitlines()[1:]]
fits = len(samples) == 10 and sum(samples) == 333 and "accuracy %.4f\n" % (sum(right) / 333) in text
if int(sys.argv[2]) > 20:
    fits = fits and not rows
else:
    fits = fits and [sum(row) for row in rows] == list(samples) + [0] * 10
    fits = fits and [row[label] for label, row in enumerate(rows)] == list(right) + [0] * 10
sys.exit(not fits)
END
done

# --profile: a row for every layer, parts that add up to the whole, and the same bits.
profiled=("${small[@]}" --set train.epochs=1
    --set "model.layers=[flatten, linear: {out: 32}, residual: {layers: [linear: {out: 32}, batch_norm]}, relu, linear: {out: 10}]")
expect 0 ranks 2 train "${profiled[@]}" --out "$folder/plain" --progress lines
if grep -q profile "$folder/out"; then fail "a profile that nobody asked for"; fi
expect 0 ranks 2 train "${profiled[@]}" --out "$folder/silent" --progress none --profile
head -n 1 "$folder/out" | grep -q "^profile of 43 steps" || fail "not the profile alone with --progress none"
has "exchange and optimizer"
expect 0 ranks 2 train "${profiled[@]}" --out "$folder/profiled" --progress lines --profile
expect_same "$folder/plain/latest.h5" "$folder/profiled/latest.h5"
has "profile of 43 steps, rank 0: "
for row in "0 (flatten)" "1 (linear)" "2 (residual)" "2.layers.0 (linear)" "2.layers.1 (batch_norm)" "3 (relu)" \
    "4 (linear)" loading loss "batch-norm communication" "exchange and optimizer" other; do
    [ "$(grep -cF -- "$row  " "$folder/out")" = 1 ] || { cat "$folder/out"; fail "not one row of '$row'"; }
done
awk '/^ms per step/ { rows = 1; next } rows { for (i = 1; i <= NF; i++) if ($i ~ /^[0-9.]+%$/) sum += $i; n++ }
    END { exit !(n >= 12 && sum > 98.5 && sum < 101.5) }' "$folder/out" || { cat "$folder/out"; fail "shares do not add up"; }

# A checkpoint of another model is refused by name.
expect 65 "$lockstep" eval "$folder/run/best.h5" "$source_folder/jobs/mnist-mlp-bn.yaml" --set data.format=synthetic
# A loss that is not finite ends the run with code 3 and leaves the checkpoint.
expect 3 ranks 2 train "$source_folder/jobs/quickstart.yaml" "${small[@]}" --out "$folder/diverged" \
    --set optimizer.lr=1000000 \
    --set "model.layers=[flatten, linear: {out: 32}, relu, linear: {out: 32}, relu, linear: {out: 10}]"
expect_text "not finite"
# Momentum that fades, of units that no longer learn, ends at zero: a processor takes its time for numbers too small for all their digits.
expect 0 "$lockstep" train --out "$folder/fading" --set "data={format: synthetic, train_count: 128, test_count: 64}" \
    --set "model={input: [1, 28, 28], layers: [flatten, {linear: {out: 64}}, relu, {linear: {out: 10}}]}" \
    --set "optimizer={name: sgd, lr: 3, momentum: 0.9}" --set "train={epochs: 300, batch_size: 32, microbatch: 16}"
h5dump -y -w 0 -d /optimizer/momentum_buffer/1.weight "$folder/fading/latest.h5" >"$folder/a"
if grep -qE "e-(39|4[0-9])" "$folder/a"; then fail "the checkpoint holds subnormal numbers"; fi
[ "$(tr ',' '\n' <"$folder/a" | grep -c '^ *0$')" -gt 10000 ] || fail "no momentum of this job fades: it shows nothing"
passed
