# broken_npy.sh - to be sourced after broken_idx.sh: sets of NumPy arrays that a program must refuse.
#
#   make_good_npy DIR     a small good set of 4 and 2 images of 3 x 5
#   make_broken_npy DIR   as make_broken_idx
# shellcheck shell=bash

# npy FILE HEADER BYTES: an array of that header, version 1, and so many zero bytes.
npy() {
    local length=$((${#2} + 1))
    put "$1" "\\0223NUMPY\\01\\0\\0$(printf '%o' $((length % 256)))\\0$(printf '%o' $((length / 256)))"
    printf '%s\n' "$2" >>"$1"
    if [ "$3" -gt 0 ]; then zeros "$1" "$3"; fi
}
# images FILE DESCR SHAPE BYTES
images() { npy "$1" "{'descr': '$2', 'fortran_order': False, 'shape': $3, }" "$4"; }

make_good_npy() {
    mkdir -p "$1"
    images "$1/train_images.npy" '|u1' '(4, 3, 5)' 60
    images "$1/train_labels.npy" '<i8' '(4,)' 32
    images "$1/test_images.npy" '|u1' '(2, 3, 5)' 30
    images "$1/test_labels.npy" '|u1' '(2, 1)' 2
}
# The last bytes of the good headers are at: images 10 + 66, labels 10 + 58.
poke_end() { # FILE BYTES-FROM-END BYTES
    poke "$1" $(($(stat -c %s "$1") - $2)) "$3"
}
save_as_npz() { printf 'PK\03\04 a zip archive' >"$1"; }
nan_image() { images "$1" '<f4' '(4, 3, 5)' 240 && poke_end "$1" 4 '\0\0\0300\0177'; }
huge_double() { images "$1" '<f8' '(4, 3, 5)' 480 && poke_end "$1" 8 '\0\0\0\0\0\0\0360\0174'; }
infinite_half() { images "$1" '<f2' '(4, 3, 5)' 120 && poke_end "$1" 2 '\0\0174'; }
cut_end() { cut_to "$1" $(($(stat -c %s "$1") - 1)); }
promise_in_gzip() { images "$1" '|u1' '(2000000000, 4000, 4000)' 60 && gzip -n "$1" && mv "$1.gz" "$1"; }
rename_labels() { mv train_labels.npy labels.npy; }

make_broken_npy() {
    local broken_folder=$1 make_good=make_good_npy x=train_images.npy y=train_labels.npy
    local good="'descr': '|u1', 'fortran_order': False, 'shape': (4, 3, 5)"
    mkdir -p "$broken_folder"
    broken empty 65 "byte 0: the file is empty" make_empty $x
    broken not-npy 65 "found something else, expected a NumPy array" poke $x 0 '\0224'
    broken npz 65 "found a zip archive" save_as_npz $x
    broken version 65 "byte 6: format version 4.0 found" poke $x 6 '\04'
    broken header-length 65 "byte 8: a header of 0 bytes promised" poke $x 8 '\0\0'
    broken header-cut 65 "the file ends here, inside its header" cut_to $x 40
    broken no-dictionary 65 "'[' found in the header, '{' expected" npy $x "[$good]" 60
    broken call 65 "found in the header, a size expected" \
        npy $x "{'descr': '|u1', 'fortran_order': False, 'shape': (4, len('abc'), 5)}" 60
    broken unknown-key 65 "descr, fortran_order, shape, once" npy $x "{$good, 'more': 1}" 60
    broken key-twice 65 "descr, fortran_order, shape, once" npy $x "{$good, 'shape': (4, 3, 5)}" 60
    broken key-missing 65 'the header has no "fortran_order"' npy $x "{'descr': '|u1', 'shape': (4, 3, 5)}" 60
    broken after-header 65 "blanks and a newline expected" npy $x "{$good} or 1" 60
    broken fortran 65 "np.ascontiguousarray(a)" \
        npy $x "{'descr': '|u1', 'fortran_order': True, 'shape': (4, 3, 5)}" 60
    broken negative-size 65 "'-' found in the header, a size expected" images $x '|u1' '(4, -3, 5)' 60
    broken leading-zero 65 "a size without leading zeros" images $x '|u1' '(4, 03, 5)' 60
    broken size-overflow 65 "a size of at most 2^40" images $x '|u1' '(4, 99999999999999999999, 5)' 60
    broken product-overflow 65 "more than the file's" images $x '<f8' '(1000000000000, 1000000000, 1000000000)' 60
    broken huge 65 "more than the file's" images $x '|u1' '(2000000000, 4000, 4000)' 60
    broken huge-gzip 65 "bytes of gzip can hold" promise_in_gzip $x
    broken objects 65 "holds Python objects" images $x '|O' '(4, 3, 5)' 60
    broken structured 65 "elements have fields" \
        npy $x "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (4, 3, 5)}" 60
    broken texts 65 "np.unique(a, return_inverse=True)[1]" images $y '<U3' '(4,)' 48
    broken complex 65 "element type '<c8' found" images $x '<c8' '(4, 3, 5)' 480
    broken two-names 65 "has train_images.npy and x_train.npy; keep one of them" \
        images x_train.npy '|u1' '(4, 3, 5)' 60
    broken infinite-half 65 "sample 3 has a number that is infinite, or too large" infinite_half $x
    broken int-images 65 "a.astype(np.uint8)" images $x '<i8' '(4, 3, 5)' 480
    broken short 65 "more than the file's" cut_end $x
    broken long 65 "the file goes on" zeros $x 3
    broken flat-images 65 "images are (N, H, W), (N, C, H, W) or (N, H, W, C)" images $x '|u1' '(4, 15)' 60
    broken no-images 65 "1 to 2147483647 samples expected" images $x '|u1' '(0, 3, 5)' 0
    broken which-layout 65 "say which with data.layout" images $x '|u1' '(4, 3, 5, 3)' 180
    broken both-layout 65 "both of its dimensions 1 and 3 may be channels" images $x '|u1' '(4, 3, 8, 3)' 288
    broken neither-layout 65 "neither of its dimensions 1 and 3" images $x '|u1' '(4, 5, 3, 2)' 120
    broken nan 65 "sample 3 has a number that is not a number (NaN), element 14" nan_image $x
    broken too-large 65 "sample 3 has a number that is infinite, or too large" huge_double $x
    broken float-test 65 "test_images.npy: the images are floats, but those of" \
        images test_images.npy '<f4' '(2, 3, 5)' 120
    broken byte-test 65 "train_images.npy are floats; uint8 is scaled by 1/255" images $x '<f4' '(4, 3, 5)' 240
    broken label-count 65 "5 labels found, 4 expected" images $y '<i8' '(5,)' 40
    broken one-hot 65 "not one-hot rows" images $y '<i8' '(4, 10)' 320
    broken float-one-hot 65 "not one-hot rows: save a.argmax(axis=1) of these" images $y '<f4' '(4, 10)' 160
    broken float-labels 65 "the labels are floats" images $y '<f4' '(4,)' 16
    broken negative-label 65 "sample 3 has label -1; labels count from 0" poke_end $y 8 '\0377\0377\0377\0377\0377\0377\0377\0377'
    broken huge-label 65 "but the labels possible end at" poke_end $y 1 '\0177'
    broken test-label 65 "sample 1 has label 7, but the training labels end at 1" poke_end test_labels.npy 1 '\07'
    broken no-labels 66 "found neither train_labels.npy nor y_train.npy" rename_labels
    broken folder 65 "not a regular file but a directory" make_folder $x
}
