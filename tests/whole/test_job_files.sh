#!/usr/bin/env bash
# Every shipped job, on a small set: the same file on any number of ranks and threads, and through a
# stop in the middle of an epoch that is resumed on another number of ranks.
. "$(dirname "$0")/lib.sh"
data=$source_folder/../shared/data
for set in mnist-small cifar10-small; do
    [ -d "$data/$set" ] || skip "no $set in $data"
done

# A batch of four is enough for four ranks in microbatches of one.
small=(--set train.epochs=2 --progress none)

# check JOB SET STEP: where to stop, in the middle of the second epoch.
check() {
    local job=$1 set=$2 stop=$3 sets=("${small[@]}")
    case $set in
    synthetic) sets+=(--set data.train_count=512 --set data.test_count=64) ;;
    *) sets+=(--set "data.path=$data/$set") ;;
    esac
    case $job in
    cifar-cnn | cifar-dropout-bn) sets+=(--set train.microbatch=1) ;;
    esac
    local file=$source_folder/jobs/$job.yaml run=$folder/$job
    expect 0 ranks 1 train "$file" "${sets[@]}" --out "$run-1"
    expect 0 ranks 2 train "$file" "${sets[@]}" --out "$run-2" --threads 2
    expect 0 ranks 3 train "$file" "${sets[@]}" --out "$run-3"
    expect 75 ranks 4 train "$file" "${sets[@]}" --out "$run-4" --stop-after "$stop"
    expect 0 ranks 2 train "$file" "${sets[@]}" --out "$run-4" --resume --threads 2
    for other in 2 3 4; do expect_same "$run-1/latest.h5" "$run-$other/latest.h5"; done
    for other in 2 3; do
        checks=$((checks + 1))
        diff <(losses "$run-1") <(losses "$run-$other") || fail "$job: other losses on $other ranks"
    done
    rm -rf "$run"-*
}

for file in "$source_folder"/jobs/*.yaml; do
    job=$(basename "$file" .yaml)
    case $job in
    mnist-mlp-adam*) check "$job" mnist-small 40 ;;
    mnist-*) check "$job" mnist-small 45 ;;
    cifar-resnet20) check "$job" cifar10-small 12 ;;
    cifar-lenet*) check "$job" cifar10-small 19 ;;
    cifar-*) check "$job" cifar10-small 300 ;;
    quickstart) check "$job" synthetic 10 ;;
    *) fail "no small set for $job" ;;
    esac
done
passed
