# broken_cifar.sh - to be sourced after broken_idx.sh: CIFAR sets that a program must refuse.
#
#   make_good_cifar DIR     a small good set, CIFAR-10, of 2 + 1 and 2 records
#   make_broken_cifar DIR   as make_broken_idx
# shellcheck shell=bash

# records FILE LABEL...: one record of zeros for each label, given in octal.
records() {
    local file=$1 label
    shift
    : >"$file"
    for label in "$@"; do
        printf '%b' "\\0$label" >>"$file"
        zeros "$file" 3072
    done
}
make_good_cifar() {
    mkdir -p "$1"
    records "$1/data_batch_1.bin" 0 11
    records "$1/data_batch_2.bin" 3
    records "$1/test_batch.bin" 1 2
}
# A record of CIFAR-100: COARSE FINE.
record_100() { printf '%b' "\\0$2\\0$3" >"$1" && zeros "$1" 3072; }
make_100() {
    rm -f ./*.bin
    record_100 train.bin "$1" "$2"
    record_100 test.bin 1 1
}
remove_all() { rm ./*.bin; }
keep_python_version() { mv data_batch_1.bin data_batch_1 && mv test_batch.bin test_batch && rm data_batch_2.bin; }
add_test_100() { record_100 test.bin 1 1; }
cut_before_gzip() { cut_to "$1" 3072 && gzip -n "$1"; }
replace_by_zip() { printf 'PK\03\04 a zip archive' >"$1"; }
replace_by_pickle() { printf '\200\4\225\1\2' >"$1"; }
lengthen_test_100() { make_100 1 1 && zeros test.bin 1; }

make_broken_cifar() {
    local broken_folder=$1 make_good=make_good_cifar
    local first=data_batch_1.bin second=data_batch_2.bin test=test_batch.bin
    mkdir -p "$broken_folder"
    broken empty-folder 66 "found neither data_batch_1.bin (CIFAR-10) nor train.bin" remove_all
    broken python-version 66 "not those for Python or Matlab" keep_python_version
    broken no-first-batch 66 "found no data_batch_1.bin" rm $first
    broken no-test 66 "found no test_batch.bin" rm $test
    broken both-versions 65 "holds files of CIFAR-10 and of CIFAR-100" add_test_100
    broken empty-batch 65 "data_batch_2.bin: byte 0: the file is empty" make_empty $second
    broken short-batch 65 "byte 6145: the file ends here, inside record 1" cut_to $first 6145
    broken short-first 65 "byte 100: the file ends here, inside record 0" cut_to $second 100
    broken long-test 65 "byte 6149: the file ends here, inside record 2" zeros $test 3
    broken label 65 "byte 3073: record 1 has label 10; CIFAR-10 has 0 to 9" poke $first 3073 '\012'
    broken test-label 65 "test_batch.bin: byte 0: record 0 has label 255" poke $test 0 '\0377'
    broken web-page 65 "found a web page" replace_by_page $first
    broken zip 65 "found a zip archive" replace_by_zip $first
    broken pickle 65 "found a Python pickle" replace_by_pickle $test
    broken folder-for-file 65 "not a regular file but a directory" make_folder $second
    broken cut-gzip 65 "the gzip stream is cut off" cut_gzip $first
    broken damaged-gzip 65 "the gzip stream is damaged" damage_gzip $second
    broken short-gzip 65 "byte 3072: the file ends here, inside record 0" cut_before_gzip $second
    broken coarse-label 65 "byte 0: record 0 has coarse label 20" make_100 24 1
    broken fine-label 65 "byte 1: record 0 has fine label 100" make_100 1 144
    broken long-100 65 "a record of CIFAR-100 has 3074 bytes" lengthen_test_100
}
