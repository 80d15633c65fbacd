/* test_job_file.c - job files that are right, and what is said about those that are not. */
#include "io/job_file.h"
#include "src/memory.h"
#include "tests/support/unit_check.h"
#include <dirent.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LAYERS "model:\n  input: [1, 28, 28]\n  layers:\n    - flatten\n    - linear: {out: 10}\n"
#define COUNT(table) (int)(sizeof(table) / sizeof *(table))
enum { SETS_MAX = 8, LARGE_BYTES = 1024 * 1024 };

static Job job;

static int set_count(char *const *sets) {
    int count = 0;
    while (sets != NULL && sets[count] != NULL) count++;
    return count;
}

static Status parse(const char *text, char *const *sets) {
    job_free(&job);
    return job_file_parse(&job, "j.yaml", text, sets, set_count(sets));
}

static void parse_well(const char *text, char *const *sets) {
    Status status = parse(text, sets);
    ck_assert_msg(status == STATUS_OK, "%s\n%s", text, status_message());
}

static void expect_message(Status status, const char *fragment) {
    ck_assert_int_eq(status, STATUS_CONFIG);
    ck_assert_msg(strstr(status_message(), fragment) != NULL, "wanted: %s\ngot:\n%s", fragment,
        status_message());
}

static char *print_well(const Job *printed, int with_docs) {
    char *text = NULL;
    ck_assert_int_eq(job_file_print(printed, with_docs, &text), STATUS_OK);
    return text;
}

/* A path below the source folder, from the environment that CTest gives. */
static const char *source_path(const char *path, char out[512]) {
    const char *folder = getenv("LOCKSTEP_SOURCE");
    snprintf(out, 512, "%s/%s", folder == NULL ? "." : folder, path);
    return out;
}

static void set_up(void) {
    job = (Job){0};
}

static void tear_down(void) {
    job_free(&job);
    ck_assert_uint_eq(memory_in_use(), 0);
}

/* ---- right ---- */

/* A text, and a line that the printed job must have. */
static const struct {
    const char *text, *line;
} good[] = {
    {LAYERS, "seed: 1\n"},
    {LAYERS "seed: 9007199254740991\n", "seed: 9007199254740991\n"},
    {LAYERS "seed: +7\n", "seed: 7\n"},
    {LAYERS "\"seed\": 7\n", "seed: 7\n"},
    {"{model: {layers: [flatten, {linear: {out: 3}}]}}", "    - linear: {out: 3, bias: true}\n"},
    {"model: {layers: [relu: {}]}", "    - relu\n"},
    {"model: {layers: [relu: ]}", "    - relu\n"},
    {"model: {layers: [relu: {name: a.b-c_1}]}", "    - relu: {name: a.b-c_1}\n"},
    {"model: {layers: [relu: {name: \"0\"}]}", "    - relu: {name: \"0\"}\n"},
    {"model: {layers: [relu: {name: 1}, relu: {name: 0}]}", "    - relu: {name: \"1\"}\n"},
    {"model: {layers: [relu], input: 784}", "  input: [784]\n"},
    {"model: {layers: [batch_norm: {sync: none, momentum: null}]}",
        "{eps: 1.0e-5, momentum: null, affine: true, sync: none, init_gamma: ones}\n"},
    {"model: {layers: [batch_norm: {sync: {group: 4}, init_gamma: uniform}]}",
        "sync: {group: 4}, init_gamma: uniform}\n"},
    {"model: {layers: [batch_norm: {sync: {group: 1}}]}", "sync: none, "},
    {"model: {layers: [sequential: {layers: [relu, flatten: {name: f}], name: a.b}]}",
        "    - sequential:\n        name: a.b\n        layers:\n          - relu\n"
        "          - flatten: {name: f}\n"},
    {"model: {layers: [residual: {layers: [relu]}, relu]}",
        "    - residual:\n        layers:\n          - relu\n    - relu\n"},
    {"model: {input: 4, layers: [residual: {projection: [linear: {out: 3}], layers: [linear: {out: "
     "3}]}]}",
        "        projection:\n          - linear: {out: 3, bias: true}\n"},
    {"model: {layers: [sequential: {layers: [sequential: {layers: [residual: {layers: [sequential:"
     " {layers: [sequential: {layers: [residual: {layers: [relu]}]}]}]}]}]}]}",
        "                                  - residual:\n"
        "                                      layers:\n"
        "                                        - relu\n"},
    {"model: {layers: [sequential: {layers: [relu: {name: a}]}, relu: {name: a}]}",
        "          - relu: {name: a}\n    - relu: {name: a}\n"},
    {LAYERS "optimizer: {lr: 1e-3}\n", "  lr: 0.001\n"},
    {LAYERS "optimizer: {lr: .5}\n", "  lr: 0.5\n"},
    {LAYERS "optimizer: {lr: 5.}\n", "  lr: 5.0\n"},
    {LAYERS "optimizer: {lr: 1e-5}\n", "  lr: 1.0e-5\n"},
    {LAYERS "optimizer: {lr: 1.25E-5}\n", "  lr: 1.25e-5\n"},
    {LAYERS "optimizer: {lr: 0.1234567890123}\n", "  lr: 0.1234567890123\n"},
    {LAYERS "optimizer: {lr: 0.30000000000000004}\n", "  lr: 0.30000000000000004\n"},
    {LAYERS "optimizer: {clip_norm: 1e7}\n", "  clip_norm: 10000000.0\n"},
    {LAYERS "optimizer: {clip_norm: 1e30}\n", "  clip_norm: 1.0e+30\n"},
    {LAYERS "optimizer: {clip_norm: 1e-400}\n", "  clip_norm: 0.0\n"},
    {LAYERS "optimizer: {nesterov: true, momentum: 0.9}\n", "  nesterov: true\n"},
    {LAYERS "optimizer:\n", "  name: sgd\n"},
    {LAYERS "data: {normalize: {mean: 0.5, std: [0.5]}}\n", "    mean: [0.5]\n    std: [0.5]\n"},
    {LAYERS "data: {format: 'idx', path: 007}\n", "  path: \"007\"\n"},
    {LAYERS "data: {format: idx, path: yes}\n", "  path: \"yes\"\n"},
    {LAYERS "data: {format: idx, path: /a/b.c}\n", "  path: /a/b.c\n"},
    {LAYERS "data: {format: idx, path: \"a $b\\t\\\"\\u2028é\"}\n",
        "  path: \"a $b\\u0009\\\"\\u2028é\"\n"},
    {LAYERS "data:\n  format: npy\n  path: |\n    x\n", "  path: \"x\\u000A\"\n"},
    {LAYERS "data: {format: idx, path: \"${LOCKSTEP_TEST}/${LOCKSTEP_TEST}$\"}\n",
        "  path: \"a b/a b$\"\n"},
    {LAYERS "train: {batch_size: 10, microbatch: 16}\n", "  microbatch: 16\n"},
    {LAYERS "    - log_softmax\nloss: nll # as PyTorch's\n", "loss: nll\n"},
    {"\xef\xbb\xbf" LAYERS, "seed: 1\n"},
    {"%YAML 1.1\n---\n" LAYERS "...\n", "seed: 1\n"},
    {"model:\r\n  layers:\r\n  - relu\r\n", "    - relu\n"},
    {"model: {layers: [relu], input: [3, 2, 2]}\ndata: {normalize: {mean: [1, 2, 3]}}\n",
        "    mean: [1.0, 2.0, 3.0]\n"},
};

START_TEST(a_good_text_is_read_and_printed_back) {
    setenv("LOCKSTEP_TEST", "a b", 1);
    parse_well(good[_i].text, NULL);
    char *once = print_well(&job, 0), *again = NULL;
    ck_assert_msg(strstr(once, good[_i].line) != NULL, "wanted: %s\ngot:\n%s", good[_i].line, once);
    for (int with_docs = 0; with_docs < 2; with_docs++) {
        char *printed = print_well(&job, with_docs);
        job_free(&job);
        parse_well(printed, NULL);
        again = print_well(&job, 0);
        ck_assert_str_eq(once, again);
        memory_free(again);
        memory_free(printed);
    }
    memory_free(once);
}
END_TEST

START_TEST(the_struct_holds_what_the_text_says) {
    parse_well("seed: 5\nloss: nll\noptimizer: {name: adamw, betas: [0.8, 0.9]}\n"
               "data: {format: idx, path: some/where}\ntrain: {shuffle: false}\n"
               "model: {input: [3, 8, 9], layers: [flatten, log_softmax: {name: last}]}\n",
        NULL);
    ck_assert_int_eq(job.seed, 5);
    ck_assert_int_eq(job.loss, LOSS_NLL);
    ck_assert_int_eq(job.optimizer.name, OPTIMIZER_ADAMW);
    ck_assert_int_eq(job.optimizer.betas.count, 2);
    ck_assert_double_eq(job.optimizer.betas.values[1], 0.9);
    ck_assert_double_eq(job.optimizer.eps, 1e-8);
    ck_assert_int_eq(job.data.format, DATA_IDX);
    ck_assert_str_eq(job.data.path, "some/where");
    ck_assert_int_eq(job.train.shuffle, 0);
    ck_assert_int_eq(job.train.microbatch, 16);
    ck_assert_int_eq(job.network.list.count, 2);
    ck_assert_ptr_eq(job.network.list.layers[0].type, layer_type_find("flatten"));
    ck_assert_str_eq(job.network.list.layers[0].label, "");
    ck_assert_str_eq(job.network.list.layers[1].label, "last");
    ck_assert_int_eq(job.network.input.dimension_count, 3);
    ck_assert_int_eq(job.network.input.size[0], 3);
    ck_assert_int_eq(job.network.input.size[2], 9);
}
END_TEST

START_TEST(every_layer_reads_its_own_example) {
    for (const LayerType *const *type = layer_types(); *type != NULL; type++) {
        char text[512];
        const char *options = (*type)->example[0] == '\0' ? "{}" : (*type)->example;
        const char *input = strcmp((*type)->name, "linear") == 0 ? "[4]" : "[3, 4, 4]";
        snprintf(text, sizeof text, "model: {input: %s, layers: [{%s: %s}]}\n", input,
            (*type)->name, options);
        parse_well(text, NULL);
        char *once = print_well(&job, 1);
        job_free(&job);
        parse_well(once, NULL);
        char *again = print_well(&job, 1);
        ck_assert_str_eq(once, again);
        memory_free(once);
        memory_free(again);
        job_free(&job);
    }
}
END_TEST

START_TEST(a_failure_that_names_a_key_gets_its_place) {
    static const char *const cases[][2] = {{"data.pad: 7 is", "j.yaml:6:13: data.pad: 7 is"},
        {"train.epochs: is", "--set #1: train.epochs: is"},
        {"model.layers: the last", "j.yaml:5:7: model.layers: the last"},
        {"train.shuffle: is", "train.shuffle: is"}, {"data.padding: is", "data.padding: is"},
        {"all is lost", "all is lost"}};
    parse_well(LAYERS "data: {pad: 7}\n", (char *[]){"train.epochs=3", NULL});
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        status_set_message(cases[i][0]);
        ck_assert_int_eq(job_locate(&job, STATUS_DATA), STATUS_DATA);
        ck_assert_str_eq(status_message(), cases[i][1]);
    }
    status_set_message(cases[0][0]);
    ck_assert_int_eq(job_locate(&job, STATUS_OK), STATUS_OK);
    ck_assert_str_eq(status_message(), cases[0][0]);
}
END_TEST

START_TEST(no_path_gives_the_job_of_quickstart) {
    char path[512];
    ck_assert_int_eq(job_file_read(&job, NULL, NULL, 0), STATUS_OK);
    char *embedded = print_well(&job, 0);
    job_free(&job);
    Status status = job_file_read(&job, source_path("jobs/quickstart.yaml", path), NULL, 0);
    ck_assert_msg(status == STATUS_OK, "%s", status_message());
    char *shipped = print_well(&job, 0);
    ck_assert_str_eq(embedded, shipped);
    memory_free(embedded);
    memory_free(shipped);
}
END_TEST

START_TEST(every_shipped_job_is_read) {
    char folder[512], path[1024];
    int count = 0;
    DIR *files = opendir(source_path("jobs", folder));
    ck_assert_ptr_nonnull(files);
    for (const struct dirent *file = readdir(files); file != NULL; file = readdir(files)) {
        if (strstr(file->d_name, ".yaml") == NULL) continue;
        snprintf(path, sizeof path, "%s/%s", folder, file->d_name);
        Status status = job_file_read(&job, path, NULL, 0);
        ck_assert_msg(status == STATUS_OK, "%s", status_message());
        job_free(&job);
        count++;
    }
    closedir(files);
    ck_assert_int_ge(count, 5);
}
END_TEST

START_TEST(documentation_fits_the_screen_and_names_every_option) {
    ck_assert_int_eq(job_file_read(&job, NULL, NULL, 0), STATUS_OK);
    char *text = print_well(&job, 1);
    for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1)
        ck_assert_uint_le(strcspn(line, "\n"), 100);
    ck_assert_ptr_nonnull(
        strstr(text, "  # learning rate; above 0 and at most 1000000; default 0.01\n  lr: 0.1\n"));
    ck_assert_ptr_nonnull(strstr(text, "one of sgd, adam, adamw; default sgd\n"));
    ck_assert_ptr_nonnull(strstr(text, "npy: train_images.npy,")); /* a list too long for a line */
    ck_assert_ptr_nonnull(strstr(text, "    #   out: output features;"));
    memory_free(text);
}
END_TEST

START_TEST(options_of_another_optimizer_are_not_printed) {
    parse_well(LAYERS "optimizer: {name: adam, eps: 1.0e-6}\n", NULL);
    char *plain = print_well(&job, 0), *documented = print_well(&job, 1);
    ck_assert_ptr_nonnull(strstr(plain, "\n  eps: 1.0e-6\n"));
    ck_assert_ptr_null(strstr(plain, "momentum"));
    ck_assert_ptr_nonnull(strstr(documented, "  # sgd: momentum; from 0 to 1; default 0\n"
                                             "  # momentum: 0.0\n"));
    memory_free(plain);
    memory_free(documented);
}
END_TEST

START_TEST(a_set_of_another_optimizer_leaves_the_options_of_the_files_behind) {
    char *sets[] = {"optimizer.name=adam", "schedule.name=linear", NULL};
    parse_well(LAYERS "optimizer: {momentum: 0.9, nesterov: true, clip_norm: 2}\n"
                      "schedule: {name: step, gamma: 0.5}\n",
        sets);
    ck_assert_int_eq(job.optimizer.name, OPTIMIZER_ADAM);
    ck_assert_double_eq(job.optimizer.momentum, 0);
    ck_assert_int_eq(job.optimizer.nesterov, 0);
    ck_assert_double_eq(job.optimizer.clip_norm, 2);
    ck_assert_double_eq(job.schedule.gamma, 0.1);
}
END_TEST

START_TEST(options_of_another_optimizer_may_have_their_defaults) {
    parse_well(LAYERS "optimizer: {name: adam, momentum: 0, nesterov: false, dampening: 0.0}\n"
                      "schedule: {step_epochs: 30, gamma: 0.1, final_lr: 0.0}\n",
        NULL);
    job_free(&job);
    parse_well(LAYERS "optimizer: {eps: 0.00000001, betas: [0.9, 0.999]}\n", NULL);
}
END_TEST

/* What an older version stored of a job that gave options without a use. */
START_TEST(a_stored_job_may_have_options_of_another_optimizer) {
    static const char *const text = LAYERS
        "optimizer: {name: adam, lr: 0.5, momentum: 0.9, nesterov: true, betas: [0.8, 0.9]}\n"
        "schedule: {name: constant, gamma: 0.5}\n";
    char *sets[] = {"optimizer.momentum=0.5", NULL};
    ck_assert_int_eq(job_file_parse(&job, "j.yaml", text, NULL, 0), STATUS_CONFIG);
    job_free(&job);
    ck_assert_int_eq(job_file_parse_stored(&job, "j.h5", text, sets, 1), STATUS_CONFIG);
    ck_assert_ptr_nonnull(strstr(status_message(), "--set #1: optimizer.momentum: belongs to sgd"));
    job_free(&job);
    Status status = job_file_parse_stored(&job, "j.h5", text, NULL, 0);
    ck_assert_msg(status == STATUS_OK, "%s", status_message());
    ck_assert_double_eq(job.optimizer.momentum, 0);
    ck_assert_int_eq(job.optimizer.nesterov, 0);
    ck_assert_double_eq(job.optimizer.betas.values[0], 0.8);
    ck_assert_double_eq(job.schedule.gamma, 0.1);
}
END_TEST

/* Switch to a locale that writes 0,5; one is made where none is installed. Returns whether it
 * worked. */
static int enter_comma_locale(char *folder) {
    static const char *const locales[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR"};
    char command[256];
    for (int i = 0; i < COUNT(locales); i++)
        if (setlocale(LC_ALL, locales[i]) != NULL) return 1;
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >%s/log 2>&1",
        folder, folder);
    if (system(command) != 0) return 0;
    setenv("LOCPATH", folder, 1);
    return setlocale(LC_ALL, locales[0]) != NULL;
}

START_TEST(numbers_do_not_depend_on_the_locale) {
    char folder[] = "/tmp/lockstep-locale-XXXXXX", command[64];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    int has_comma = enter_comma_locale(folder);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
    parse_well(LAYERS "optimizer: {lr: 0.25}\n", NULL);
    char *text = print_well(&job, 0), half[8];
    snprintf(half, sizeof half, "%.1f", 0.5);
    setlocale(LC_ALL, "C");
    if (has_comma)
        ck_assert_str_eq(half, "0,5");
    else
        fprintf(stderr, "no locale with a comma and no localedef: only \"C\" was tested\n");
    ck_assert_double_eq(job.optimizer.lr, 0.25);
    ck_assert_ptr_nonnull(strstr(text, "  lr: 0.25\n"));
    memory_free(text);
}
END_TEST

/* ---- wrong ---- */

/* Texts beside those of tests/whole/broken_jobs, and a part of what is said of them. */
static const struct {
    const char *text, *message;
} bad[] = {
    {"", "j.yaml:1:1: model.layers: must be given"},
    {"# nothing\n", "j.yaml:1:1: model.layers: must be given"},
    {"word", "j.yaml:1:1: a job file is a mapping of sections, got \"word\""},
    {"model: {layers: relu}", "j.yaml:1:17: model.layers: wants a list of layers, got \"relu\""},
    {"model: {layers: {relu: }}", "j.yaml:1:17: model.layers: wants a list of layers, got a map"},
    {"model: {layers: [~]}", "j.yaml:1:18: model.layers.0: unknown layer \"~\"; known: linear, "},
    {"model: {layers: [[relu]]}", "j.yaml:1:18: model.layers.0: wants a layer, as relu or"},
    {"model: {layers: [relu: 3]}", "j.yaml:1:24: model.layers.0: relu wants its options as {key"},
    {"model: {layers: [relu: {a: }]}", "j.yaml:1:25: model.layers.0.a: unknown key; known here: n"},
    {"model: {layers: [relu: {name: .a}]}", "j.yaml:1:31: model.layers.0.name: wants up to 63"},
    {"model: {layers: [relu: {name: a..a}]}", "j.yaml:1:31: model.layers.0.name: wants up to 63"},
    {"model: {layers: [relu: {name: [a]}]}", "got a list"},
    {"model: {layers: [relu: {name: a, name: b}]}", "j.yaml:1:34: model.layers.0.name: duplicate"},
    {"model: {layers: [linear: {out: 3, out: 4}]}", "j.yaml:1:35: model.layers.0.out: duplicate"},
    {"model: {layers: [sequential]}",
        "j.yaml:1:18: model.layers.0.layers: must be given: the list of layers, first to last"},
    {"model: {layers: [residual: [relu]]}",
        "j.yaml:1:28: model.layers.0: residual wants its options as {layers: [...]}, got a list"},
    {"model: {layers: [residual: {layers: [relu], projection: []}]}",
        "j.yaml:1:57: model.layers.0.projection: wants a list of layers, got an empty list"},
    {"model: {layers: [sequential: {layers: [sequential: {layers: [linear]}]}]}",
        "j.yaml:1:62: model.layers.0.layers.0.layers.0.out: must be given"},
    {"model: {layers: [relu: {layers: [relu]}]}", "model.layers.0.layers: unknown key; known here"},
    {"model: {input: [1, 4, 4], layers: [relu, conv2d: {out: 2, kernel: 5}]}",
        "j.yaml:1:42: conv2d '1': a window of 5 pixels does not fit into [1, 4, 4] with padding "
        "0\n"},
    {"model:\n  layers:\n  - sequential:\n      layers:\n      - residual: {layers: [linear: {out: "
     "3}], name: r}\n",
        "j.yaml:5:29: linear '0.r.layers.0' wants features, got [1, 28, 28]: put flatten before "
        "it\n"
        "        - residual: {layers: [linear: {out: 3}], name: r}\n"
        "                              ^"},
    {"model:\n  input: 6\n  layers:\n  - relu\n  - residual: {layers: [linear: {out: 4}]}\n",
        "j.yaml:5:5: residual '1': its layers give [4], its input is [6], and only equal shapes"},
    {"model:\n  layers:\n  - linear: {out: 3}\n  - dropout: {p: 2}\n",
        "j.yaml:4:18: model.layers.1.p: must be from 0"},
    {"model:\n  input: 6\n  layers:\n  - sequential: {layers: [linear: {out: 6}]}\n  - linear: "
     "{out: "
     "6, name: \"0.0\"}\n",
        "j.yaml:4:3: model: two layers have a tensor '0.0.bias': give one of them another name\n"},
    {LAYERS "data: {normalize: {mean: []}}\n",
        ":6:26: data.normalize.mean: wants a list of number"},
    {LAYERS "data: {normalize: 3}\n", ":6:19: data.normalize: wants a mapping of its options"},
    {LAYERS "data: {normalize: {std: [1, x]}}\n", ":6:29: data.normalize.std.1: wants a number"},
    {LAYERS "data: {normalize: {std: [1, 0]}}\n", ":6:29: data.normalize.std.1: must be above 0"},
    {LAYERS "data: {normalize: {men: 1}}\n",
        "data.normalize.men: unknown key; did you mean \"mean\"?"},
    {LAYERS "data: {path: [a]}\n", ":6:14: data.path: wants a text, got a list"},
    {LAYERS "data: {format: idx, path: \"${\"}\n",
        ":6:27: data.path: wants ${NAME}: letters, digits and _"},
    {LAYERS "data: {format: idx, path: \"${A B}\"}\n", ":6:27: data.path: wants ${NAME}"},
    {LAYERS "data: {path: \"a\\0b\"}\n", ":6:14: a text with a zero byte in it"},
    {LAYERS "data: {format: idx, path: \"${LOCKSTEP_LATIN}\"}\n",
        ":6:27: data.path: a variable in it is not UTF-"},
    {LAYERS "model: {input: [1, 2, 3]}\n", ":6:1: model: duplicate key; it is already in line 1"},
    {LAYERS "train: {shuffle: \"true\"}\n", "wants true or false, got the quoted text \"true\""},
    {LAYERS "optimizer: {lr: 0x1p3}\n", "optimizer.lr: wants a number, got \"0x1p3\""},
    {LAYERS "optimizer: {lr: nan}\n", "optimizer.lr: wants a number, got \"nan\""},
    {LAYERS "optimizer: {lr: \"\"}\n", "optimizer.lr: wants a number, got the quoted text \"\""},
    {LAYERS "optimizer: {lr: }\n", "optimizer.lr: wants a number, got nothing"},
    {LAYERS "optimizer: {lr: null}\n", "optimizer.lr: wants a number, got \"null\""},
    {LAYERS "optimizer: {LR: 1}\n", "optimizer.LR: unknown key; did you mean \"lr\"?"},
    {LAYERS "optimizer: {1r: {}}\n", "optimizer.1r: unknown key; did you mean \"lr\"?"},
    {LAYERS "optimizer: {weigth_decay: 0}\n", "did you mean \"weight_decay\"?"},
    {LAYERS "optimizer: {name: sgd, betas: [0.9, 0.99]}\n",
        ":6:24: optimizer.betas: belongs to adam, adamw, and optimizer.name is sgd: leave it out, "
        "or "
        "choose another optimizer.name\n"
        "  optimizer: {name: sgd, betas: [0.9, 0.99]}\n"
        "                         ^"},
    {LAYERS "optimizer: {eps: 1.0e-6}\n", ":6:13: optimizer.eps: belongs to adam, adamw, and"},
    {LAYERS "optimizer: {nesterov: true, name: adamw}\n",
        ":6:13: optimizer.nesterov: belongs to sgd, and optimizer.name is adamw"},
    {LAYERS "schedule: {name: cosine, gamma: 0.5}\n",
        ":6:26: schedule.gamma: belongs to step, and schedule.name is cosine"},
    {LAYERS "data: {format: idx, path: a, layout: nhwc}\n",
        ":6:30: data.layout: belongs to npy, hdf5, and data.format is idx: leave it out"},
    {LAYERS "data: {path: a}\n", ":6:8: data.path: belongs to idx, cifar, npy, hdf5, and"},
    {LAYERS "data: {format: npy, path: a, noise: 0.5}\n", "data.noise: belongs to synthetic, and"},
    {LAYERS "schedule: {final_lr: 0.1}\n",
        ":6:12: schedule.final_lr: belongs to cosine, linear, and schedule.name is constant"},
    {LAYERS "optimizer: {xyz: 0}\n", "known here: name, lr, momentum, dampening, nesterov, weight"},
    {LAYERS "train: {epochs: 99999999999999999999}\n", "is too large for a number"},
    {LAYERS "train: {epochs: 1_000}\n", "wants a whole number, got \"1_000\""},
    {LAYERS "train: {epochs: -1}\n", "must be from 1 to 1000000, got \"-1\""},
    {LAYERS "train: {? [a] : 1}\n", ":6:11: a key must be a word"},
    {LAYERS "train: {*a : 1}\n", ":6:9: aliases (*a) are not part of job files"},
    {LAYERS "train: *a\n", ":6:8: aliases (*a) are not part of job files"},
    {LAYERS "train: [\xff]\n", ":6:9: invalid leading UTF-8 octet"},
    {LAYERS "seed: \x01\n", ":6:7: control characters are not allowed"},
    {LAYERS "sèèd: 3\nlog: {x: 1}\n", ":6:1: sèèd: unknown key; known here: seed, data, model, l"},
    {LAYERS "log: {\"é\": 1, x: 1}\n", ":6:15: log.x: unknown key"},
    {"model: {input: 2000000000, layers: [relu]}\ndata: {normalize: {mean: [1, 2]}}",
        ":2:26: data.normalize.mean: has 2 values, but model.input has 1 channel;"},
    {"model: {input: [1, 65536, 65536], layers: [relu]}", "a sample of 4294967296 numbers is too"},
};

START_TEST(a_bad_text_is_refused_at_its_place) {
    setenv("LOCKSTEP_LATIN", "\xe9t\xe9", 1);
    expect_message(parse(bad[_i].text, NULL), bad[_i].message);
}
END_TEST

START_TEST(every_broken_job_gives_the_expected_message) {
    char folder[512], path[1024], line[256];
    int count = 0;
    DIR *files = opendir(source_path("tests/whole/broken_jobs", folder));
    ck_assert_ptr_nonnull(files);
    for (const struct dirent *file = readdir(files); file != NULL; file = readdir(files)) {
        if (strstr(file->d_name, ".yaml") == NULL) continue;
        snprintf(path, sizeof path, "%s/%s", folder, file->d_name);
        FILE *stream = fopen(path, "r");
        ck_assert_ptr_nonnull(stream);
        ck_assert_ptr_nonnull(fgets(line, sizeof line, stream));
        fclose(stream);
        line[strcspn(line, "\n")] = '\0';
        ck_assert_int_eq(strncmp(line, "# expect: ", 10), 0);
        expect_message(job_file_read(&job, path, NULL, 0), line + 10);
        ck_assert_ptr_nonnull(strstr(status_message(), "^"));
        job_free(&job);
        count++;
    }
    closedir(files);
    ck_assert_int_ge(count, 30);
}
END_TEST

START_TEST(all_problems_are_told_in_the_order_of_the_file) {
    expect_message(parse("optimizer: {lr: x}\n" LAYERS "loss: y\ndata: {format: idx}\n", NULL),
        "j.yaml:1:17: optimizer.lr: wants a number, got \"x\"\n"
        "  optimizer: {lr: x}\n"
        "                  ^\n"
        "j.yaml:7:7: loss: wants one of cross_entropy, nll, got \"y\"\n"
        "  loss: y\n"
        "        ^\n"
        "j.yaml:8:16: data.path: must be given for format idx: the folder of the data set\n"
        "  data: {format: idx}\n"
        "                 ^");
}
END_TEST

START_TEST(twenty_problems_are_shown_and_the_others_counted) {
    char text[4096] = LAYERS "train:\n";
    for (int i = 0; i < 50; i++) snprintf(strchr(text, '\0'), 32, "  unknown%d: 1\n", i);
    expect_message(parse(text, NULL), "\nand 30 more");
    ck_assert_ptr_nonnull(strstr(status_message(), "unknown19"));
    ck_assert_ptr_null(strstr(status_message(), "unknown20"));
}
END_TEST

START_TEST(a_message_holds_whole_problems_only) {
    enum { LINES = 20, LINE_BYTES = 400 };
    char text[LINES * LINE_BYTES + 256] = LAYERS "train:\n";
    for (int i = 0; i < LINES; i++)
        snprintf(strchr(text, '\0'), LINE_BYTES, "  ? \"%0300d\"\n  : 1\n", i);
    char name[300];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    ck_assert_int_eq(job_file_parse(&job, name, text, NULL, 0), STATUS_CONFIG);
    const char *message = status_message(), *end = strstr(message, "\nand ");
    ck_assert_ptr_nonnull(end);
    ck_assert_uint_lt(strlen(message), STATUS_MESSAGE_BYTES - 1);
    ck_assert_int_eq(end[-1], '^');
}
END_TEST

START_TEST(a_long_line_is_shown_around_the_caret) {
    static char text[LARGE_BYTES] = LAYERS "data: {path: \"";
    size_t used = strlen(text);
    memset(text + used, 'x', 100 * 1024);
    sprintf(text + used + 100 * 1024, "\", noise: 7}\n");
    expect_message(parse(text, NULL), "xxx\", noise: 7}\n");
    const char *line = strstr(status_message(), "\n  ...");
    ck_assert_ptr_nonnull(line);
    const char *caret = strchr(line + 1, '\n') + 1;
    ck_assert_int_eq(line[1 + strcspn(caret, "^")], '7');
}
END_TEST

START_TEST(large_and_deep_texts_end_in_a_message) {
    char *text = malloc(2 * LARGE_BYTES + 64);
    memset(text, '[', LARGE_BYTES);
    text[LARGE_BYTES] = '\0';
    expect_message(parse(text, NULL), "j.yaml:1:65: nested more than 64 deep");
    for (int i = 0; i < LARGE_BYTES / 4; i++) memcpy(text + (size_t)i * 4, "a: {", 4);
    expect_message(parse(text, NULL), "j.yaml:1:");
    for (int i = 0; i < 30000; i++) memcpy(text + (size_t)i * 4, "- 1\n", 5);
    expect_message(parse(text, NULL), "j.yaml:20000:3: more than 20000 values");
    for (int i = 0; i < 5000; i++) memcpy(text + 17 + (size_t)i * 6, "relu, ", 7);
    memcpy(text, "model: {layers: [", 17);
    strcpy(text + 17 + 30000, "]}");
    expect_message(parse(text, NULL), "model.layers: has 5000 layers; at most 4096");
    memset(text, 'a', LARGE_BYTES);
    text[LARGE_BYTES] = '\0';
    expect_message(parse(text, NULL), "a job file is a mapping of sections, got \"aaaa");
    memset(text, ' ', LARGE_BYTES + 1);
    text[LARGE_BYTES + 1] = '\0';
    expect_message(parse(text, NULL), "j.yaml: a job file has at most 1048576 bytes");
    free(text);
}
END_TEST

/* ---- --set ---- */

static const struct {
    char *sets[SETS_MAX];
    const char *line; /* of the printed job */
} good_sets[] = {
    {{"optimizer.lr=0.5"}, "  lr: 0.5\n"},
    {{"optimizer.lr=0.5", "optimizer.lr=0.25"}, "  lr: 0.25\n"},
    {{"optimizer={name: adam}"}, "  name: adam\n  lr: 0.125\n"},
    {{"optimizer={lr: 0.5, momentum: 0.5}", "optimizer={lr: 0.25}"},
        "  lr: 0.25\n  momentum: 0.5\n"},
    {{"data.normalize.mean=[0.5]"}, "    mean: [0.5]\n"},
    {{"data={normalize: {mean: 0.5}}"}, "    mean: [0.5]\n"},
    {{"optimizer.name=adam", "optimizer.betas=[0.8,0.9]", "optimizer.betas.1=0.95"},
        "  betas: [0.8, 0.95]\n"},
    {{"model.layers.1.out=20"}, "    - linear: {out: 20, bias: true}\n"},
    {{"model.layers.1.linear.out=20"}, "    - linear: {out: 20, bias: true}\n"},
    {{"model.layers.0.name=f"}, "    - flatten: {name: f}\n"},
    {{"model.layers.0=relu", "model.input=784"}, "    - relu\n    - linear:"},
    {{"model.layers.1={linear: {out: 7}}"}, "    - linear: {out: 7, bias: true}\n"},
    {{"model.layers.1=batch_norm", "model.layers.1.sync.group=3"}, "sync: {group: 3}"},
    {{"model.layers=[relu]"}, "  layers:\n    - relu\nloss:"},
    {{"model.layers.1=residual", "model.layers.1.layers=[relu, linear: {out: 4}]",
         "model.layers.1.layers.1.out=5", "model.layers.1.projection=[linear: {out: 6}]",
         "model.layers.1.residual.projection.0.linear.out=5"},
        "          - linear: {out: 5, bias: true}\n        projection:\n"
        "          - linear: {out: 5, bias: true}\n"},
    {{"model.input=784"}, "  input: [784]\n"},
    {{"data.path="}, "data:\n  format: synthetic\n"},
    {{"data.format=idx", "data.path=a=b"}, "  path: \"a=b\"\n"},
    {{"data.format=idx", "data.path=a # comment"}, "  path: a\n"},
    {{"data.format=idx", "data.path=\"#\""}, "  path: \"#\"\n"},
    {{"loss=nll", "model.layers.1=log_softmax"}, "loss: nll\n"},
    {{"loss.x=1", "loss=nll", "model.layers.1=log_softmax"}, "loss: nll\n"},
    {{"loss=nll", "model.layers.1={sequential: {layers: [log_softmax]}}"}, "loss: nll\n"},
};

START_TEST(a_set_changes_the_job) {
    parse_well(LAYERS "optimizer: {lr: 0.125}\n", good_sets[_i].sets);
    char *text = print_well(&job, 0);
    ck_assert_msg(
        strstr(text, good_sets[_i].line) != NULL, "wanted: %s\ngot:\n%s", good_sets[_i].line, text);
    memory_free(text);
}
END_TEST

static const struct {
    char *sets[SETS_MAX];
    const char *message;
} bad_sets[] = {
    {{"foo"}, "--set #1: wants the form section.key=value, as in optimizer.lr=0.01\n  foo\n  ^"},
    {{"=3"}, "--set #1: wants the form"},
    {{"a..b=3"}, "--set #1: wants the form"},
    {{".a=3"}, "--set #1: wants the form"},
    {{"a b=3"}, "--set #1: wants the form"},
    {{""}, "--set #1: wants the form"},
    {{"seed=1", "optimizer.lr=0.1x"}, "--set #2: optimizer.lr: wants a number, got \"0.1x\"\n  "
                                      "optimizer.lr=0.1x\n               ^"},
    {{"model.layers.0=relu"},
        "j.yaml:5:7: linear '1' wants features, got [1, 28, 28]: put flatten before it\n"},
    {{"model.layers=[relu, linear: {out: 3}]"},
        "--set #1: linear '1' wants features, got [1, 28, 28]: put flatten before it\n"
        "  model.layers=[relu, linear: {out: 3}]\n"
        "                      ^"},
    {{"optimizer.name=adam", "optimizer.momentum=0.9"},
        "--set #2: optimizer.momentum: belongs to sgd, and optimizer.name is adam"},
    {{"optimizer.momentum=0.9", "optimizer.name=adam"},
        "--set #1: optimizer.momentum: belongs to sgd, and optimizer.name is adam"},
    {{"optimzer.lr=1"}, "--set #1: optimzer: unknown key; did you mean \"optimizer\"?"},
    {{"optimizer={lr: 1, lr: 2}"}, "--set #1: optimizer.lr: duplicate key\n"},
    {{"optimizer.lr=1", "optimizer={lr: 1, lr: 2}"}, "--set #2: duplicate key \"lr\""},
    {{"optimizer={lrr: 1}"}, "--set #1: optimizer.lrr: unknown key; did you mean \"lr\"?"},
    {{"optimizer=3"}, "--set #1: optimizer: wants a mapping of its options, got \"3\""},
    {{"loss=nll"}, "--set #1: loss: nll wants log-probabilities, and the last layer is linear"},
    {{"checkpoint.keep_best=valid_loss"}, "--set #1: checkpoint.keep_best: looks at validation"},
    {{"loss.x=3"}, "--set #1: loss: wants one of cross_entropy, nll, got a mapping"},
    {{"data.path=[a"}, "--set #1: while parsing a flow sequence: did not find expected"},
    {{"data.path=#a"}, "--set #1: there is no value: # starts a comment, quote it"},
    {{"data.path=\n- a"}, "--set #1: the value may not be indented YAML"},
    {{"optimizer=lr: 3"}, "--set #1: the value may not be indented YAML"},
    {{"data.path=&a b"}, "--set #1: anchors (&a) are not part of job files"},
    {{"model.layers.2=relu"}, "--set #1: the list has no item \"2\"; its items are 0 to 1"},
    {{"model.layers.0=sequential: {layers: [relu]}", "model.layers.0.layers.1=relu"},
        "--set #1: the value may not be indented YAML"},
    {{"model.layers.0={sequential: {layers: [relu]}}", "model.layers.0.layers.1=relu"},
        "--set #2: the list has no item \"1\"; its items are 0 to 0"},
    {{"model.layers.x.out=3"}, "--set #1: the list has no item \"x\""},
    {{"model.layers.1.ou=3"}, "--set #1: model.layers.1.ou: unknown key; did you mean \"out\"?"},
    {{"model.layers=[]", "model.layers.0.x=3"},
        "--set #2: the list has no item \"0\": it is empty"},
};

START_TEST(a_wrong_set_is_named_by_its_number) {
    expect_message(parse(LAYERS, bad_sets[_i].sets), bad_sets[_i].message);
}
END_TEST

START_TEST(a_set_mends_what_is_wrong_in_the_file) {
    char *sets[] = {"optimizer.lr=0.5", NULL};
    parse_well(LAYERS "optimizer: {lr: x}\n", sets);
    ck_assert_double_eq(job.optimizer.lr, 0.5);
}
END_TEST

/* ---- files ---- */

static void write_file(const char *path, const char *bytes, size_t count) {
    FILE *stream = fopen(path, "wb");
    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(fwrite(bytes, 1, count, stream), count);
    ck_assert_int_eq(fclose(stream), 0);
}

START_TEST(what_cannot_be_opened_is_missing) {
    char folder[] = "/tmp/lockstep-job-XXXXXX", path[64];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/none.yaml", folder);
    ck_assert_int_eq(job_file_read(&job, path, NULL, 0), STATUS_MISSING);
    ck_assert_ptr_nonnull(strstr(status_message(), "none.yaml: cannot read the job file: No such"));
    ck_assert_int_eq(job_file_read(&job, folder, NULL, 0), STATUS_MISSING);
    ck_assert_ptr_nonnull(strstr(status_message(), "Is a directory"));
    rmdir(folder);
}
END_TEST

START_TEST(a_zero_byte_in_a_file_is_refused_at_its_place) {
    static const char bytes[] = "seed: 1\nloss: \0nll\n";
    char path[] = "/tmp/lockstep-job-XXXXXX";
    close(mkstemp(path));
    write_file(path, bytes, sizeof bytes - 1);
    expect_message(job_file_read(&job, path, NULL, 0), ":2:7: control characters are not allowed");
    unlink(path);
}
END_TEST

START_TEST(a_file_that_is_too_large_is_refused) {
    char path[] = "/tmp/lockstep-job-XXXXXX", *text = calloc(1, LARGE_BYTES + 1);
    close(mkstemp(path));
    memset(text, '\n', LARGE_BYTES + 1);
    memcpy(text, LAYERS, sizeof LAYERS - 1);
    write_file(path, text, LARGE_BYTES);
    ck_assert_int_eq(job_file_read(&job, path, NULL, 0), STATUS_OK);
    job_free(&job);
    write_file(path, text, LARGE_BYTES + 1);
    expect_message(job_file_read(&job, path, NULL, 0), "a job file has at most 1048576 bytes");
    unlink(path);
    free(text);
}
END_TEST

/* Everything that asks for a fault point, once each. */
static Status read_print_compare(const char *path) {
    char *sets[] = {"optimizer.lr=0.5", "model.layers.0.name=f",
        "model.layers.3={residual: {layers: [relu], projection: [relu: {name: g}]}}", NULL};
    char *text = NULL;
    int is_same_run = 0;
    Job other = {0};
    Status status = job_file_read(&job, path, sets, 3);
    if (status == STATUS_OK) status = job_file_read(&other, NULL, NULL, 0);
    if (status == STATUS_OK) status = job_file_print(&job, 1, &text);
    memory_free(text);
    text = NULL;
    if (status == STATUS_OK) status = job_file_compare(&job, &other, &text, &is_same_run);
    memory_free(text);
    job_free(&other);
    job_free(&job);
    return status;
}

START_TEST(every_allocation_and_every_read_may_fail) {
    char path[512];
    source_path("jobs/mnist-mlp-bn.yaml", path);
    int io_errors = 0;
    for (long n = 1;; n++) {
        status_arm_fault(n, 0);
        Status status = read_print_compare(path);
        int was_due = status_fault_points_seen() >= n;
        status_arm_fault(0, 0);
        ck_assert_uint_eq(memory_in_use(), 0);
        if (!was_due) {
            ck_assert_int_eq(status, STATUS_OK);
            ck_assert_int_gt(n, 50);
            break;
        }
        ck_assert_msg(
            status == STATUS_NO_MEMORY || status == STATUS_IO, "%ld: %s", n, status_message());
        io_errors += status == STATUS_IO;
    }
    ck_assert_int_eq(io_errors, 3); /* open, the read, and the read that finds the end */
}
END_TEST

/* ---- compare ---- */

static const struct {
    char *set;
    const char *difference;
    int is_same_run;
} changes[] = {
    {"seed=1", "", 1},
    {"optimizer.lr=0.25", "optimizer.lr: 0.125 -> 0.25", 1},
    {"optimizer.momentum=0.9", "optimizer.momentum: 0.0 -> 0.9", 1},
    {"train.epochs=20", "train.epochs: 10 -> 20", 1},
    {"data.path=x", "data.path: a -> x", 1},
    {"schedule.name=step", "schedule.name: constant -> step", 1},
    {"checkpoint.keep_last=5", "checkpoint.keep_last: 3 -> 5", 1},
    {"log.every_seconds=1", "log.every_seconds: 5.0 -> 1.0", 1},
    {"model.layers.0.name=0", "", 1},
    {"seed=2", "seed: 1 -> 2", 0},
    {"data.layout=nchw", "data.layout: auto -> nchw", 0},
    {"data.normalize.mean=0.5", "data.normalize.mean: [0.0] -> [0.5]", 0},
    {"model.layers.1.bias=false", "model.layers.1.bias: true -> false", 0},
    {"optimizer.name=adam", "optimizer.name: sgd -> adam", 0},
    {"train.batch_size=32", "train.batch_size: 64 -> 32", 0},
    {"train.microbatch=8", "train.microbatch: 16 -> 8", 0},
    {"train.shuffle=false", "train.shuffle: true -> false", 0},
    {"model.input=[1, 14, 14]", "model.input: [1, 28, 28] -> [1, 14, 14]", 0},
    {"model.layers.1.out=11", "model.layers.1.out: 10 -> 11", 0},
    {"model.layers.1=relu", "model.layers.1: linear -> relu", 0},
    {"model.layers.1.name=fc", "model.layers.1.name: 1 -> fc", 0},
    {"model.layers=[flatten, linear: {out: 10}, relu]", "model.layers.2: (no layer) -> relu", 0},
    {"model.layers=[flatten]", "model.layers.1: linear -> (no layer)", 0},
    {"model.layers.0={sequential: {layers: [flatten]}}", "model.layers.0: flatten -> sequential",
        0},
};

START_TEST(a_difference_is_named_and_judged) {
    char *sets[] = {changes[_i].set, NULL}, *text = NULL;
    int is_same_run = -1;
    parse_well(LAYERS "data: {format: npy, path: a}\noptimizer: {lr: 0.125}\n", NULL);
    Job before = job;
    job = (Job){0};
    parse_well(LAYERS "data: {format: npy, path: a}\noptimizer: {lr: 0.125}\n", sets);
    ck_assert_int_eq(job_file_compare(&before, &job, &text, &is_same_run), STATUS_OK);
    ck_assert_str_eq(text, changes[_i].difference);
    ck_assert_int_eq(is_same_run, changes[_i].is_same_run);
    memory_free(text);
    job_free(&before);
}
END_TEST

START_TEST(differences_of_inner_layers_are_listed) {
    char *sets[] = {"model.layers.2.layers.0.out=4", "model.layers.2.layers.1.name=a",
        "model.layers.2.projection=[linear: {out: 4}, relu]", NULL};
    char *text = NULL;
    int is_same_run = -1;
    parse_well(LAYERS "    - residual: {layers: [linear: {out: 10}, relu]}\n", NULL);
    Job before = job;
    job = (Job){0};
    parse_well(LAYERS "    - residual: {layers: [linear: {out: 10}, relu]}\n", sets);
    ck_assert_int_eq(job_file_compare(&before, &job, &text, &is_same_run), STATUS_OK);
    ck_assert_str_eq(text, "model.layers.2.layers.0.out: 10 -> 4\n"
                           "model.layers.2.layers.1.name: 1 -> a\n"
                           "model.layers.2.projection.0: (no layer) -> linear\n"
                           "model.layers.2.projection.1: (no layer) -> relu");
    ck_assert_int_eq(is_same_run, 0);
    memory_free(text);
    job_free(&before);
}
END_TEST

static const struct {
    char *sets[4];
    const char *differences;
    int is_same_run;
} several[] = {
    {{"optimizer.lr=0.5", "train.epochs=3"}, "optimizer.lr: 0.01 -> 0.5\ntrain.epochs: 10 -> 3", 1},
    {{"seed=2", "train.epochs=3", "train.shuffle=false"},
        "seed: 1 -> 2\ntrain.shuffle: true -> false", 0},
    {{"train.epochs=3", "model.layers.1=relu"}, "model.layers.1: linear -> relu", 0},
};

START_TEST(all_differences_are_listed_or_those_that_make_another_run) {
    char *sets[4], *text = NULL;
    memcpy(sets, several[_i].sets, sizeof sets);
    int is_same_run = -1;
    parse_well(LAYERS, NULL);
    Job before = job;
    job = (Job){0};
    parse_well(LAYERS, sets);
    ck_assert_int_eq(job_file_compare(&before, &job, &text, &is_same_run), STATUS_OK);
    ck_assert_str_eq(text, several[_i].differences);
    ck_assert_int_eq(is_same_run, several[_i].is_same_run);
    memory_free(text);
    job_free(&before);
}
END_TEST

static void add_good_tests(TCase *tests) {
    tcase_add_loop_test(tests, a_good_text_is_read_and_printed_back, 0, COUNT(good));
    tcase_add_test(tests, the_struct_holds_what_the_text_says);
    tcase_add_test(tests, every_layer_reads_its_own_example);
    tcase_add_test(tests, a_failure_that_names_a_key_gets_its_place);
    tcase_add_test(tests, no_path_gives_the_job_of_quickstart);
    tcase_add_test(tests, every_shipped_job_is_read);
    tcase_add_test(tests, documentation_fits_the_screen_and_names_every_option);
    tcase_add_test(tests, options_of_another_optimizer_are_not_printed);
    tcase_add_test(tests, a_set_of_another_optimizer_leaves_the_options_of_the_files_behind);
    tcase_add_test(tests, options_of_another_optimizer_may_have_their_defaults);
    tcase_add_test(tests, a_stored_job_may_have_options_of_another_optimizer);
    tcase_add_test(tests, numbers_do_not_depend_on_the_locale);
    tcase_add_loop_test(tests, a_set_changes_the_job, 0, COUNT(good_sets));
    tcase_add_test(tests, a_set_mends_what_is_wrong_in_the_file);
    tcase_add_loop_test(tests, a_difference_is_named_and_judged, 0, COUNT(changes));
    tcase_add_test(tests, differences_of_inner_layers_are_listed);
    tcase_add_loop_test(
        tests, all_differences_are_listed_or_those_that_make_another_run, 0, COUNT(several));
}

static void add_bad_tests(TCase *tests) {
    tcase_add_loop_test(tests, a_bad_text_is_refused_at_its_place, 0, COUNT(bad));
    tcase_add_test(tests, every_broken_job_gives_the_expected_message);
    tcase_add_test(tests, all_problems_are_told_in_the_order_of_the_file);
    tcase_add_test(tests, twenty_problems_are_shown_and_the_others_counted);
    tcase_add_test(tests, a_message_holds_whole_problems_only);
    tcase_add_test(tests, a_long_line_is_shown_around_the_caret);
    tcase_add_test(tests, large_and_deep_texts_end_in_a_message);
    tcase_add_loop_test(tests, a_wrong_set_is_named_by_its_number, 0, COUNT(bad_sets));
    tcase_add_test(tests, what_cannot_be_opened_is_missing);
    tcase_add_test(tests, a_zero_byte_in_a_file_is_refused_at_its_place);
    tcase_add_test(tests, a_file_that_is_too_large_is_refused);
    tcase_add_test(tests, every_allocation_and_every_read_may_fail);
}

int main(void) {
    Suite *suite = suite_create("job_file");
    TCase *good_case = unit_check_case(suite, "right"), *bad_case = unit_check_case(suite, "wrong");
    add_good_tests(good_case);
    add_bad_tests(bad_case);
    tcase_add_checked_fixture(good_case, set_up, tear_down);
    tcase_add_checked_fixture(bad_case, set_up, tear_down);
    tcase_set_timeout(bad_case, 60);
    return unit_check_run(suite);
}
