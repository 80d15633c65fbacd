# broken_idx.sh - to be sourced: IDX sets that a program must refuse, made with printf and dd.
#
#   make_good_idx DIR     a small good set of 16 and 8 images of 28 x 28
#   make_broken_idx DIR   folders DIR/NAME, each a set broken in one way, beside DIR/NAME.expect:
#                         line 1 is the exit code, line 2 a part of the message
# shellcheck shell=bash

# put FILE BYTES...: FILE becomes what printf makes of BYTES.
put() { printf '%b' "$2" >"$1"; }
# zeros FILE COUNT: append zero bytes.
zeros() { dd if=/dev/zero bs=1 count="$2" status=none >>"$1"; }
# poke FILE OFFSET BYTES: overwrite.
poke() { printf '%b' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }
# cut_to FILE BYTES
cut_to() { dd if=/dev/null of="$1" bs=1 seek="$2" status=none; }

make_good_idx() {
    mkdir -p "$1"
    put "$1/train-images-idx3-ubyte" '\0\0\010\03\0\0\0\020\0\0\0\034\0\0\0\034'
    zeros "$1/train-images-idx3-ubyte" 12544
    put "$1/train-labels-idx1-ubyte" '\0\0\010\01\0\0\0\020'
    put "$1/t10k-images-idx3-ubyte" '\0\0\010\03\0\0\0\010\0\0\0\034\0\0\0\034'
    zeros "$1/t10k-images-idx3-ubyte" 6272
    put "$1/t10k-labels-idx1-ubyte" '\0\0\010\01\0\0\0\010'
    printf '\0\01\02\03\04\05\06\07\010\011\0\01\02\03\04\05' >>"$1/train-labels-idx1-ubyte"
    printf '\011\010\07\06\05\04\03\02' >>"$1/t10k-labels-idx1-ubyte"
}

# broken NAME CODE FRAGMENT COMMAND...: a good set, of $make_good, in NAME, on whose folder COMMAND is run, there.
broken() {
    local folder=$broken_folder/$1
    "$make_good" "$folder"
    printf '%s\n%s\n' "$2" "$3" >"$folder.expect"
    (cd "$folder" && "${@:4}")
}

swap_images_and_labels() {
    mv train-images-idx3-ubyte images
    mv train-labels-idx1-ubyte train-images-idx3-ubyte
    mv images train-labels-idx1-ubyte
}
drop_a_label() { poke "$1" 7 '\017' && cut_to "$1" 23; }
make_empty() { cut_to "$1" 0; }
make_folder() { rm "$1" && mkdir "$1"; }
replace_by_page() { printf '<!DOCTYPE html><html><body>404 Not Found</body></html>' >"$1"; }
replace_by_cifar() { rm "$1" && put "$1" '\06' && zeros "$1" 6145; }
cut_gzip() { gzip -n "$1" && cut_to "$1.gz" 40; }
damage_gzip() { gzip -n "$1" && poke "$1.gz" 10 '\0377'; }
promise_too_much_in_gzip() { poke "$1" 4 '\0177\0377\0377\0377' && gzip -n "$1"; }
tar_up() { tar cf "$1.tar" "$1" && mv "$1.tar" "$1"; }
append_before_gzip() { zeros "$1" 1 && gzip -n "$1"; }

make_broken_idx() {
    local broken_folder=$1 make_good=make_good_idx
    local images=train-images-idx3-ubyte labels=train-labels-idx1-ubyte
    local test_images=t10k-images-idx3-ubyte test_labels=t10k-labels-idx1-ubyte
    mkdir -p "$broken_folder"
    broken magic 65 "byte 0: magic 0xff000803 found" poke $images 0 '\0377'
    broken element-type 65 "byte 2: element type 0x0d found" poke $images 2 '\015'
    broken dimension-count 65 "byte 3: 4 dimensions found" poke $images 3 '\04'
    broken swapped 65 "1 dimension found (labels), 3 (images) expected" swap_images_and_labels
    broken byte-order 65 "IDX in the wrong byte order" poke $images 0 '\03\010\0\0'
    broken no-images 65 "byte 4: count 0 found" poke $images 4 '\0\0\0\0'
    broken no-rows 65 "byte 8: rows 0 found" poke $images 8 '\0\0\0\0'
    broken absurd-columns 65 "byte 12: columns 4294967295 found" \
        poke $images 12 '\0377\0377\0377\0377'
    broken huge-count 65 "promises 1683627179264 bytes" poke $images 4 '\0177\0377\0377\0377'
    broken short-images 65 "byte 12559: the file ends here" cut_to $images 12559
    broken short-header 65 "byte 10: the file ends inside its header" cut_to $images 10
    broken empty-labels 65 "the file is empty" make_empty $labels
    broken long-images 65 "byte 12560: the file goes on" zeros $images 7
    broken label-count 65 "byte 4: 15 labels found, 16 expected" drop_a_label $labels
    broken test-label 65 "sample 3 has label 200" poke $test_labels 11 '\0310'
    broken web-page 65 "found a web page" replace_by_page $images
    broken tar 65 "found a tar archive, to be unpacked first" tar_up $images
    broken cifar 65 "CIFAR-10 binary format" replace_by_cifar $images
    broken missing-labels 66 "neither train-labels-idx1-ubyte nor" rm $labels
    broken missing-test 66 "neither t10k-images-idx3-ubyte nor" rm $test_images
    broken folder-for-file 65 "not a regular file but a directory" make_folder $images
    broken cut-gzip 65 "the gzip stream is cut off" cut_gzip $images
    broken damaged-gzip 65 "the gzip stream is damaged" damage_gzip $images
    broken gzip-promise 65 "bytes of gzip can hold" promise_too_much_in_gzip $images
    broken long-gzip 65 "byte 12560: the file goes on after" append_before_gzip $images
}
