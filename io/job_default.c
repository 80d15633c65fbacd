/* job_default.c - the job of a program that was given none: ten drawn digits, learned in seconds.
 * jobs/quickstart.yaml is the same with comments. */
#include "io/job_reader.h"

const char job_default_text[] = "seed: 1\n"
                                "data:\n"
                                "  format: synthetic\n"
                                "  train_count: 8192\n"
                                "  valid_split: 0.1\n"
                                "model:\n"
                                "  input: [1, 28, 28]\n"
                                "  layers:\n"
                                "    - flatten\n"
                                "    - linear: {out: 256, bias: false}\n"
                                "    - batch_norm: {sync: global}\n"
                                "    - relu\n"
                                "    - linear: {out: 128, bias: false}\n"
                                "    - batch_norm\n"
                                "    - relu\n"
                                "    - linear: {out: 10}\n"
                                "loss: cross_entropy\n"
                                "optimizer: {name: sgd, lr: 0.1, momentum: 0.9}\n"
                                "train: {epochs: 3, batch_size: 64, microbatch: 16}\n"
                                "checkpoint: {keep_best: valid_accuracy}\n";
