#!/usr/bin/env bash
# Folders of PNG and JPEG images, and sets of other formats, into one HDF5 file: what Pillow reads, equal bytes for
# equal input, nothing left behind after a failure, and one clear message for each broken image.
# Also under the sanitizers.
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/whole/broken_idx.sh
. "$source_folder/tests/whole/broken_idx.sh"
convert() { "$lockstep" convert "$@"; }
nothing_left() {
    [ -z "$(find "$folder/out.d" -mindepth 1)" ] || fail "left behind: $(find "$folder/out.d" -mindepth 1)"
}
grows() { [ -n "$(find "$folder/out.d" -name '.set.h5.tmp.*' -size +100k)" ]; }
mkdir "$folder/out.d"
out=$folder/out.d/set.h5

# IDX, whose files are here without Python: every byte is the same, plain and gzip.
make_good_idx "$folder/idx"
for i in 700 1500 12000; do poke "$folder/idx/train-images-idx3-ubyte" "$i" '\0311'; done
expect 0 convert "$folder/idx" "$out"
grep -q "format idx" "$folder/out" || fail "the format was not told"
h5dump -d /train/images -b LE -o "$folder/images" "$out" >/dev/null || fail "h5dump cannot read it"
tail -c +17 "$folder/idx/train-images-idx3-ubyte" >"$folder/pixels"
expect_same "$folder/pixels" "$folder/images"
h5dump -d /test/labels -b LE -o "$folder/labels" "$out" >/dev/null
tail -c +9 "$folder/idx/t10k-labels-idx1-ubyte" >"$folder/pixels"
expect_same "$folder/pixels" "$folder/labels"
expect 0 convert "$folder/idx" "$folder/again.h5" --format idx
expect_same "$out" "$folder/again.h5"
expect 0 convert "$folder/idx" "$folder/gzip.h5" --gzip 6
[ "$(stat -c %s "$folder/gzip.h5")" -lt "$(stat -c %s "$out")" ] || fail "--gzip does not make it smaller"

# Transformed while it is converted, or when it is read: the same training.
cat >"$folder/idx.yaml" <<'YAML'
model: {input: [1, 18, 22], layers: [flatten, linear: {out: 10}]}
train: {epochs: 1, batch_size: 8, microbatch: 4}
YAML
expect 0 "$lockstep" train "$folder/idx.yaml" --out "$folder/raw" --progress none --set data.format=idx \
    --set "data.path=$folder/idx" --set data.resize=[20,26] --set data.pad=3 --set data.center_crop=[18,22]
expect 0 convert "$folder/idx" "$folder/small.h5" --resize 20x26 --pad 3 --center-crop 18x22
if grep -q 'data.layout' "$folder/out"; then fail "[1, 18, 22] is called ambiguous"; fi
expect 0 "$lockstep" train "$folder/idx.yaml" --out "$folder/small" --progress none --set data.format=hdf5 \
    --set "data.path=$folder/small.h5"
expect 0 h5diff "$folder/raw/latest.h5" "$folder/small/latest.h5" /model
losses "$folder/raw" >"$folder/a"
losses "$folder/small" >"$folder/b"
expect_same "$folder/a" "$folder/b"

# A file that cannot be written, a disk that is full: the file that was there stays.
cp "$out" "$folder/before"
expect 73 convert "$folder/idx" "$folder/absent/set.h5"
expect_text "$folder/absent/set.h5: cannot create: No such file"
expect 73 convert "$folder/idx" "$folder/out.d"
expect_text "$folder/out.d: is a folder: a file's name is wanted"
expect 73 convert "$folder/idx" /dev/full
expect_text "/dev/full: is no regular file"
(ulimit -f 8 && expect 74 convert "$folder/idx" "$out") || fail "no error at the file size limit"
expect_same "$folder/before" "$out"

# The input is not replaced, under no name; what an earlier conversion left beside it is.
ln "$out" "$folder/other.h5"
ln -s "$out" "$folder/link.h5"
for name in "$out" "$folder/out.d/./set.h5" "$folder/other.h5" "$folder/link.h5"; do
    expect 73 convert "$out" "$name" --resize 8x8
    expect_text "$name: is the input; the result needs another name"
done
expect_same "$folder/before" "$out"
cp "$folder/idx/t10k-labels-idx1-ubyte" "$folder/labels"
expect 73 convert "$folder/idx" "$folder/idx/t10k-labels-idx1-ubyte"
expect_text "t10k-labels-idx1-ubyte: is a file of the input"
expect_same "$folder/labels" "$folder/idx/t10k-labels-idx1-ubyte"
expect 0 convert "$folder/idx" "$folder/idx/set.h5"
expect 0 convert "$folder/idx" "$folder/idx/set.h5"
rm "$folder/idx/set.h5"

# A signal ends a conversion that would take long, and leaves nothing behind.
rm "$out"
mkdir "$folder/long"
for part in train t10k; do
    printf '\0\0\010\003\0\0\116\040\0\0\0\034\0\0\0\034' >"$folder/long/$part-images-idx3-ubyte"
    printf '\0\0\010\001\0\0\116\040' >"$folder/long/$part-labels-idx1-ubyte"
    truncate -s $((16 + 20000 * 784)) "$folder/long/$part-images-idx3-ubyte"
    truncate -s $((8 + 20000)) "$folder/long/$part-labels-idx1-ubyte"
done
for name in HUP INT TERM; do
    env --default-signal="$name" "$lockstep" convert "$folder/long" "$out" --resize 512x512 >"$folder/started" 2>&1 &
    started=$!
    wait_until grows
    kill -"$name" "$started"
    code=0
    wait "$started" || code=$?
    [ "$code" = $((128 + $(kill -l "$name"))) ] || fail "exit code $code after $name"
    nothing_left
done
for n in $(seq 1 100); do
    code=0
    LOCKSTEP_FAULT=$n "$lockstep" convert "$folder/idx" "$out" --format idx >"$folder/out" 2>"$folder/err" || code=$?
    [ "$code" != 0 ] || break
    [ "$code" -ge 64 ] && [ "$code" -le 78 ] || { cat "$folder/err"; fail "exit code $code at fault $n"; }
    [ "$(wc -l <"$folder/err")" = 1 ] || { cat "$folder/err"; fail "not one message at fault $n"; }
    # The last fault points come after the rename: then the file is there, whole.
    [ ! -e "$out" ] || expect_same "$folder/before" "$out"
    rm -f "$out"
    nothing_left
done
[ "$n" -gt 20 ] && [ "$code" = 0 ] || fail "fault points end at $n with exit code $code"
rm -f "$out"

# The command line, and input that is none.
expect 64 convert "$folder/idx"
expect 64 convert "$folder/idx" "$out" --resize 12
expect 64 convert "$folder/idx" "$out" --resize 0x5
expect 64 convert "$folder/idx" "$out" --gzip 10
expect 64 convert "$folder/idx" "$out" --channels 3
expect 64 convert "$folder/idx" "$out" --layout nchw
expect_text "--layout is for sets of format npy or hdf5; "
expect 64 convert "$folder/idx" "$out" --layout hwc
expect 64 convert "$folder/idx" "$out" --pad 0
expect 64 convert "$folder/idx" "$out" --center-crop 5
expect 64 convert "$folder/idx" "$out" --pad 4000
expect_text "lockstep: --pad: 4000 zeros on every side of [1, 28, 28]; at most 28"
expect 64 convert "$folder/idx" "$out" --resize 4096x4096 --pad 1
expect_text "lockstep: --pad: makes samples of [1, 4098, 4098]"
expect 64 convert "$folder/idx" "$out" --center-crop 28x29
expect_text "lockstep: --center-crop: [28, 29] is larger than what there is to cut, [1, 28, 28]"
expect 64 convert "$folder/idx" "$out" --format tiff
expect_text "--format wants one of idx"
expect 66 convert "$folder/absent" "$out"
expect 66 convert "$folder/absent" "$out" --format idx
expect_text "lockstep: IN: there is no folder '$folder/absent'"
expect 66 convert "$folder/out.d" "$out"
expect_text "out.d: is a set of no format:"
expect_text "  idx: $folder/out.d: found neither train-images-idx3-ubyte"
expect_text "  cifar: $folder/out.d: found neither data_batch_1.bin"
expect_text "  npy: $folder/out.d: found neither train_images.npy nor x_train.npy, plain or with .gz; it is empty"
mkdir -p "$folder/out.d/cifar-10-batches-bin"
touch "$folder/out.d/"{.hidden,a.tar.gz,b,c,d}
expect 66 convert "$folder/out.d" "$out" --format npy
expect_text "found neither train_images.npy nor x_train.npy, plain or with .gz; it holds a.tar.gz, b, c, cifar-10-batches-bin/, ..."
rm -r "$folder/out.d/"{.hidden,*}
expect 66 convert "$folder/out.d" "$out"
expect_text "  images: $folder/out.d: holds no folders, one for each class"
expect 65 convert "$folder/idx/train-images-idx3-ubyte" "$out"
expect_text "train-images-idx3-ubyte: HDF5 cannot open it"
gzip -c "$folder/idx/train-images-idx3-ubyte" >"$folder/data_batch_1.bin.gz"
expect 65 convert "$folder/data_batch_1.bin.gz" "$out"
expect_text "found a gzip file, to be unpacked first, expected an HDF5 file; of a set of another format give the folder"
# What lies beside a set and is none does not hide it, nor does a broken set pass for another one.
cp -r "$folder/idx" "$folder/beside"
mkdir "$folder/beside/raw"
zeros "$folder/beside/train.bin" 100
zeros "$folder/beside/train_images.npy" 100
expect 0 convert "$folder/beside" "$folder/again.h5"
expect_same "$folder/before" "$folder/again.h5"
cut_to "$folder/beside/train-labels-idx1-ubyte" 20
expect 65 convert "$folder/beside" "$out"
expect_text "train-labels-idx1-ubyte: byte 20: the file ends here"
rm "$folder/beside"/train-*
expect 65 convert "$folder/beside" "$out"
expect_text "train.bin: byte 100: the file ends here, inside record 0"
make_broken_idx "$folder/broken-idx"
expect 65 convert "$folder/broken-idx/short-images" "$out"
expect_text "byte 12559: the file ends here"
nothing_left

find_python 'PIL, h5py'
[ -n "$python" ] || skip "the rest: no python3 with Pillow and h5py (Debian: python3-pil, python3-h5py)"
images() { PYTHONDONTWRITEBYTECODE=1 "$python" "$source_folder/tests/whole/make_images.py" "$@"; }
made=$folder/made
images "$made" || fail "no images were made"

# compare FOLDER [HEIGHT WIDTH] [MODE]: what was just converted is what Pillow makes of it.
compare() {
    checks=$((checks + 1))
    images --compare "$out" "$made/$1" "${@:2}" || fail "$1 is not what Pillow makes of it"
}
expect 0 convert "$made/mixed" "$out"
compare mixed
expect 0 convert "$made/mixed" "$folder/again.h5"
expect_same "$out" "$folder/again.h5"
expect 0 convert "$made/mixed" "$out" --channels 1 --resize 28x32 --gzip 1
compare mixed 28 32 L
expect 0 convert "$made/modes" "$out" --channels 3
compare modes
expect 0 convert "$made/modes" "$out" --channels 1
compare modes L
expect 65 convert "$made/modes" "$folder/mixed-colours.h5"
expect_text "modes/only/0.png is grey, "
expect_text " has colours: say what all shall be with --channels 3 or --channels 1"
expect 0 convert "$made/sizes" "$out" --resize 16x24
compare sizes 16 24
expect 0 convert "$made/sizes" "$out" --center-crop 12x9
h5dump -H -d /train/images "$out" | grep -q '( 6, 3, 12, 9 )' || fail "the sizes differ after --center-crop"
rm "$out"
expect 64 convert "$made/sizes" "$out" --center-crop 20x9
expect_text ": --center-crop: [20, 9] is larger than what there is to cut, [3, 12, 9]"
grep -q "^lockstep: .*sizes/[ab]/1.[pj][np]g: --center-crop: " "$folder/err" || fail "the small image is not named"
expect 65 convert "$made/sizes" "$out"
grep -q "sizes/a/0.png has 20 x 30 pixels, .*sizes/[ab]/[0-2].[pj][np]g [0-9]* x [0-9]*: " "$folder/err" ||
    { cat "$folder/err"; fail "the two images are not named"; }
mkdir "$made/mixed/val"
expect 0 convert "$made/mixed" "$out"
grep -q "^val is not used$" "$folder/out" || fail "val is passed over in silence"
expect_same "$folder/again.h5" "$out"
rmdir "$made/mixed/val"
mv "$made/mixed/test" "$made/mixed/valid"
mkdir "$made/mixed/validation"
expect 0 convert "$made/mixed" "$out"
grep -q "^the set has no test split: its valid is taken for the test; validation is not used$" "$folder/out" ||
    fail "valid becomes test in silence"
expect_same "$folder/again.h5" "$out"
rmdir "$made/mixed/validation"
mv "$made/mixed/valid" "$made/mixed/test"

# Folders within a class, in torchvision's order; links are followed, but not up; no file is passed over in silence.
expect 0 convert "$made/flat" "$folder/flat.h5"
expect 0 convert "$made/deep" "$out"
compare deep
expect_same "$folder/flat.h5" "$out"
if grep -q "passed over" "$folder/out"; then fail "something was passed over"; fi
mv "$made/deep/train/a/b" "$made/b"
ln -s "$made/b" "$made/deep/train/a/b"
mkdir "$made/deep/train/a/none" "$made/deep/train/a/.hidden"
touch "$made/deep/train/a/"{README,x.GIF,none/y.webp,none/.y.webp,b/.gif,c.gif,c.longest-of-endings} "$made/deep/train/list.csv"
expect 0 convert "$made/deep" "$out"
expect_same "$folder/flat.h5" "$out"
grep -q "^passed over, being no .jpg, .jpeg or .png: 6 files (others, .GIF, .csv, .gif, .webp), the first is $made/deep/train/a/README$" \
    "$folder/out" || { cat "$folder/out"; fail "what is passed over is not told"; }
ln -s "$made/deep/train/a" "$made/b/up"
expect 65 convert "$made/deep" "$out"
expect_text "/b/up: is a link to "
rm "$made/b/up"
mkdir "$made/above"
mv "$made/deep" "$made/above/deep"
expect 65 convert "$made/above" "$out"
expect_text "above/deep: has a folder train: it is a set, not a class"

# A file that could be CIFAR-100's, beside folders of images.
head -c 100 /dev/zero >"$made/mixed/train.bin"
expect 0 convert "$made/mixed" "$out"
expect_same "$folder/again.h5" "$out"
rm "$made/mixed/train.bin"

# More classes than a byte tells apart, with names that are longer in all than HDF5's headers hold.
expect 0 convert "$made/many" "$out"
compare many
cat >"$folder/many.yaml" <<YAML
data: {format: hdf5, path: $out, valid_split: 0.2}
model: {input: [3, 5, 4], layers: [flatten, linear: {out: 300}]}
train: {epochs: 1, batch_size: 32}
YAML
expect 0 "$lockstep" train "$folder/many.yaml" --out "$folder/many" --progress none
expect 78 "$lockstep" train "$folder/many.yaml" --out "$folder/few" --progress none \
    --set 'model.layers=[flatten, linear: {out: 299}]'
expect_text "of 300 classes wants [300]"
rm "$out"
mkdir "$made/mixed/test/unknown"
expect 65 convert "$made/mixed" "$out"
expect_text "test/unknown: there is no class of that name in"
rmdir "$made/mixed/test/unknown"
mkdir "$made/mixed/train/empty"
expect 65 convert "$made/mixed" "$out"
expect_text "train/empty: holds no image (.jpg, .jpeg or .png), nor anything else"
touch "$made/mixed/train/empty/picture"
expect 65 convert "$made/mixed" "$out"
expect_text "train/empty: holds no image: no name of its files (1) ends in "
rm -r "$made/mixed/train/empty"
# Splits under names of others are neither classes nor left out.
mv "$made/mixed/test" "$made/mixed/Testing"
expect 65 convert "$made/mixed" "$out"
expect_text "mixed: has folders train and Testing: name them train and test"
mv "$made/mixed/train" "$made/mixed/Train"
expect 65 convert "$made/mixed" "$out"
expect_text "mixed: has folders Train and Testing: name them train and test"

# An array whose dimensions may be read in two ways, or as channels where they are none.
cat >"$folder/turn.py" <<'PYTHON'
import os, sys, h5py, numpy
folder, *result = sys.argv[1:]
images = numpy.arange(8 * 5 * 6 * 7).astype(numpy.uint8).reshape(8, 5, 6, 7)
if result:
    found = h5py.File(result[0])["train/images"][...]
    sys.exit(not numpy.array_equal(found, images.transpose(0, 3, 1, 2)))
os.mkdir(folder)
numpy.save(folder + "/x_train.npy", images)
numpy.save(folder + "/y_train.npy", numpy.arange(8))
PYTHON
rm -f "$out"
"$python" "$folder/turn.py" "$folder/turn"
expect 65 convert "$folder/turn" "$out"
expect_text "say which with data.layout (convert: --layout): nchw or nhwc"
expect 0 convert "$folder/turn" "$out" --layout nhwc
grep -q '^a job that reads it has to say data.layout: nchw$' "$folder/out" || fail "the layout was not told"
expect 0 "$python" "$folder/turn.py" "$folder/turn" "$out"
expect 65 convert "$out" "$folder/again.h5"
expect 0 convert "$out" "$folder/again.h5" --layout nchw
expect_same "$out" "$folder/again.h5"
rm "$out"

# Broken images, with little memory.
count=0
for expectation in "$made"/broken/*.expect; do
    count=$((count + 1))
    limit=4000000
    [ -z "${LOCKSTEP_SANITIZE:-}" ] || limit=unlimited
    (ulimit -v "$limit" && expect 65 convert "${expectation%.expect}" "$out") ||
        fail "$expectation"
    expect_text "$(cat "$expectation")"
    expect_text "$(basename "${expectation%.expect}")/class/"
    nothing_left
done
[ "$count" -ge 15 ] || fail "only $count broken images"
passed
