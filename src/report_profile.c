/* report_profile.c - the table of train --profile; see report.h. */
#include "src/report.h"
#include <stdio.h>

/* The table being printed. */
typedef struct Table {
    Progress *display;
    const Profile *profile;
    double total; /* seconds in steps */
} Table;

enum { CELL_BYTES = 32, NAME_BYTES = LAYER_PATH_BYTES + LAYER_NAME_BYTES };

/* "   1.234  12.3%": milliseconds per step, share of the step. */
static const char *print_cell(const Table *table, int slot, char text[CELL_BYTES]) {
    double seconds = table->profile->seconds[slot];
    snprintf(text, CELL_BYTES, "%9.3f %5.1f%%", 1e3 * seconds / (double)table->profile->steps,
        100 * seconds / table->total);
    return text;
}

static void print_layer(const Table *table, const Layer *layer) {
    char name[NAME_BYTES], cells[2][CELL_BYTES];
    snprintf(name, sizeof name, "%s (%s)", layer->label, layer->type->name);
    progress_answer(table->display, "%-40s %s %s", name,
        print_cell(table, profile_slot(layer->index, PROFILE_FORWARD), cells[0]),
        print_cell(table, profile_slot(layer->index, PROFILE_BACKWARD), cells[1]));
}

static void print_parts(const Table *table) {
    char cell[CELL_BYTES];
    for (int slot = PROFILE_OTHER; slot < PROFILE_LAYERS; slot++)
        progress_answer(
            table->display, "%-40s %s", profile_part_names[slot], print_cell(table, slot, cell));
}

void report_profile(const Trainer *trainer) {
    const Network *network = trainer->engine.network;
    Table table = {.display = trainer->display, .profile = trainer->engine.profile};
    if (table.profile == NULL || table.profile->steps == 0) return;
    int end = profile_slot((uint32_t)network->layer_count, PROFILE_FORWARD);
    for (int slot = PROFILE_OTHER; slot < end; slot++) table.total += table.profile->seconds[slot];
    progress_answer(table.display,
        "profile of %lld steps, rank 0: %.3f ms per step; a layer's own time, without layers in it",
        (long long)table.profile->steps, 1e3 * table.total / (double)table.profile->steps);
    progress_answer(table.display, "%-40s %16s %16s", "ms per step, share", "forward", "backward");
    for (int i = 0; i < network->layer_count; i++) print_layer(&table, network->layers[i]);
    print_parts(&table);
}
