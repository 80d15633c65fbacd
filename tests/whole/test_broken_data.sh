#!/usr/bin/env bash
# Data sets that are not what they claim: one clear message that names file and place, the right exit
# code, all ranks gone within seconds, and no memory taken for what a file only promises.
# Also under the sanitizers.
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/whole/broken_idx.sh
. "$source_folder/tests/whole/broken_idx.sh"
# shellcheck source=tests/whole/broken_cifar.sh
. "$source_folder/tests/whole/broken_cifar.sh"
# shellcheck source=tests/whole/broken_npy.sh
. "$source_folder/tests/whole/broken_npy.sh"
# refuse_all FORMAT INPUT LEAST: each set of $folder/FORMAT, at least so many.
refuse_all() {
    local expectation code fragment start count=0
    printf 'data: {format: %s}\nmodel: {input: %s, layers: [flatten, linear: {out: 100}]}\n' "$1" "$2" \
        >"$folder/$1.yaml"
    for expectation in "$folder/$1"/*.expect; do
        count=$((count + 1))
        start=$SECONDS
        { read -r code && read -r fragment; } <"$expectation"
        expect "$code" ranks 3 train "$folder/$1.yaml" --out "$folder/run" \
            --set "data.path=${expectation%.expect}"
        [ $((SECONDS - start)) -le 20 ] || fail "took $((SECONDS - start)) s: $expectation"
        expect_text "$fragment"
        expect_text "$folder/$1"
        rm -rf "$folder/run"
    done
    echo "$1: $count broken sets refused"
    [ "$count" -ge "$3" ] || fail "only $count broken sets of format $1"
}

# good_is_read FORMAT INPUT PATH: what was broken is good without that.
good_is_read() {
    expect 0 ranks 2 train "$folder/$1.yaml" --out "$folder/good-$1" --progress none --set "data.path=$2" \
        --set train.batch_size=2 --set train.microbatch=1 --set train.epochs=1
}

python=${PYTHON:-python3}
[ -x /usr/bin/python3 ] && python=/usr/bin/python3 # the one that Debian's packages are for
if "$python" -c 'import h5py, numpy' 2>/dev/null; then
    mkdir "$folder/hdf5"
    "$python" "$source_folder/tests/whole/broken_hdf5.py" "$folder/hdf5" || fail "broken_hdf5.py"
fi
# Address space of a rank: far below what the absurd files promise. A sanitizer needs more than there is.
[ -n "${LOCKSTEP_SANITIZE:-}" ] || ulimit -v 4000000

make_broken_cifar "$folder/cifar"
refuse_all cifar '[3, 32, 32]' 20
make_good_cifar "$folder/good-set-cifar"
good_is_read cifar "$folder/good-set-cifar"

make_broken_npy "$folder/npy"
refuse_all npy '[1, 3, 5]' 35
make_good_npy "$folder/good-set-npy"
gzip "$folder/good-set-npy/test_labels.npy"
good_is_read npy "$folder/good-set-npy"
for label in 1 2 3 4; do poke_end "$folder/good-set-npy/train_labels.npy" $((8 * label)) '\03'; done
expect 78 "$lockstep" train "$folder/npy.yaml" --set "data.path=$folder/good-set-npy" \
    --set 'model.layers=[flatten, linear: {out: 3}]'
expect_text "wants [4]; labels count from 0, but those for training are 3 to 3: save a - 3"

[ -d "$folder/hdf5" ] || skip "no python3 with h5py and numpy for the broken HDF5 files; $checks checks passed"
refuse_all hdf5 '[1, 3, 5]' 25
passed
