#!/usr/bin/env bash
# The number of ranks and threads is not a hyper-parameter: the same checkpoint file and the same losses,
# with a last microbatch and a last batch that are short, and over several nodes.
. "$(dirname "$0")/lib.sh"
cat >"$folder/job.yaml" <<'YAML'
seed: 3
data: {format: synthetic, train_count: 1130, test_count: 200, valid_split: 0.1, image_size: 16}
model:
  input: [1, 16, 16]
  layers:
    - conv2d: {out: 6, kernel: 3, stride: 2, padding: 1}
    - group_norm: {groups: 3}
    - relu
    - max_pool2d: {kernel: 2}
    - conv2d: {out: 6, kernel: 3, padding: 1, groups: 2, algorithm: winograd}
    - conv2d: {out: 12, kernel: 3, padding: 1, groups: 6}
    - conv2d: {out: 6, kernel: 3, padding: 1, groups: 2, algorithm: direct}
    - dropout2d: {p: 0.2}
    - batch_norm
    - relu
    - flatten
    - linear: {out: 60, bias: false}
    - batch_norm
    - relu
    - dropout: {p: 0.2}
    - residual:
        layers:
          - sequential: {name: first, layers: [linear: {out: 60}, batch_norm, relu]}
          - linear: {out: 60}
          - batch_norm
    - relu
    - residual:
        layers: [linear: {out: 33}, batch_norm: {sync: {group: 3}, momentum: null}]
        projection: [linear: {out: 33, bias: false}, batch_norm]
    - relu
    - linear: {out: 10}
    - log_softmax
loss: nll
optimizer: {name: adam, lr: 0.003, clip_norm: 1.0, weight_decay: 1.0e-4}
schedule: {name: cosine, warmup_epochs: 0.5}
train: {epochs: 2, batch_size: 100, microbatch: 16}
checkpoint: {keep_best: valid_loss}
log: {every_steps: 1}
YAML
sgd=(--set loss=cross_entropy --set "optimizer={name: sgd, lr: 0.05, momentum: 0.9}" --set optimizer.clip_norm=0
    --set optimizer.weight_decay=0 --set train.batch_size=96)

# compare NAME RANKS THREADS ARGUMENTS... with the run NAME-1-1.
compare() {
    local name=$1 count=$2 threads=$3 run=$folder/$1-$2-$3${LOCKSTEP_RANKS_PER_NODE:-}
    shift 3
    expect 0 ranks "$count" train "$folder/job.yaml" --out "$run" --threads "$threads" --progress none "$@"
    expect_same "$folder/$name-1-1/latest.h5" "$run/latest.h5"
    expect_same "$folder/$name-1-1/best.h5" "$run/best.h5"
    losses "$folder/$name-1-1" >"$folder/a"
    losses "$run" >"$folder/b"
    expect_same "$folder/a" "$folder/b"
}

expect 0 "$lockstep" train "$folder/job.yaml" --out "$folder/adam-1-1" --progress none
[ "$(losses "$folder/adam-1-1" | wc -l)" -ge 20 ] || fail "metrics.jsonl holds too few records"
compare adam 1 2
compare adam 1 3
for count in 2 3 4 5 7; do compare adam "$count" 1; done
compare adam 3 2
LOCKSTEP_RANKS_PER_NODE=1 compare adam 3 1
LOCKSTEP_RANKS_PER_NODE=2 compare adam 5 1
expect 0 "$lockstep" train "$folder/job.yaml" --out "$folder/sgd-1-1" --progress none "${sgd[@]}"
compare sgd 2 2 "${sgd[@]}"
compare sgd 6 1 "${sgd[@]}"
LOCKSTEP_RANKS_PER_NODE=2 compare sgd 4 1 "${sgd[@]}"
LOCKSTEP_RANKS_PER_NODE=2,cyclic compare sgd 5 1 "${sgd[@]}"
# The last batch of an epoch has three microbatches: five of eight ranks have none.
small=(--set train.microbatch=8 --set train.batch_size=100 --set data.train_count=1136)
expect 0 "$lockstep" train "$folder/job.yaml" --out "$folder/small-1-1" --progress none "${small[@]}"
compare small 8 1 "${small[@]}"
# Microbatches of one and two samples.
for size in 1 2; do
    tiny=(--set train.microbatch=$size --set train.batch_size=7 --set data.train_count=80 --set train.epochs=1)
    expect 0 "$lockstep" train "$folder/job.yaml" --out "$folder/tiny$size-1-1" --progress none "${tiny[@]}"
    compare "tiny$size" 1 2 "${tiny[@]}"
    for count in 2 3 4; do compare "tiny$size" "$count" 1 "${tiny[@]}"; done
done

# Augmentation: what happens to a sample depends on epoch and sample alone.
augment=(--set "data.augment={random_crop: 2, flip: true, cutout: 5}" --set data.standardize=train
    --set data.resize=[15,18] --set data.center_crop=[16,16] --set data.pad=1)
expect 0 "$lockstep" train "$folder/job.yaml" --out "$folder/augment-1-1" --progress none "${augment[@]}"
for count in 2 3 4; do compare augment "$count" 1 "${augment[@]}"; done
compare augment 1 2 "${augment[@]}"
compare augment 3 2 "${augment[@]}"
for key in random_crop=0 flip=false cutout=0; do
    expect 0 "$lockstep" train "$folder/job.yaml" --out "$folder/$key" --progress none "${augment[@]}" \
        --set "data.augment.$key"
    if cmp -s "$folder/augment-1-1/latest.h5" "$folder/$key/latest.h5"; then fail "$key has no effect"; fi
done

# Another seed must give other bits, or the comparison above says nothing.
expect 0 "$lockstep" train "$folder/job.yaml" --out "$folder/other" --progress none --set seed=4
if cmp -s "$folder/adam-1-1/latest.h5" "$folder/other/latest.h5"; then fail "the seed has no effect"; fi

# More ranks than microbatches: one clear error that names the way out.
expect 78 ranks 8 train "$folder/job.yaml" --out "$folder/many" --progress none
expect_text "use at most 7 ranks"
passed
