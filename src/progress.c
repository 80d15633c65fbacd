/* progress.c - see progress.h. */
#include "src/progress.h"
#include "src/memory.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static const double BAR_EVERY_SECONDS = 0.1;
enum { BAR_CELLS = 20, LINE_BYTES = 512 };

struct Progress {
    int is_bar, is_silent;
    double every_seconds;
    double last_shown;
    int bar_on_screen;
    FILE *log;
};

double progress_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int is_real_terminal(void) {
    struct winsize size = {0};
    const char *terminal = getenv("TERM");
    return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 &&
           size.ws_col > 0 && terminal != NULL && strcmp(terminal, "dumb") != 0;
}

Status progress_create(
    Progress **progress_out, ProgressMode mode, double every_seconds, const char *log_path) {
    Progress *progress = NULL;
    *progress_out = NULL;
    TRY(MEMORY_ALLOCATE(&progress, 1, "progress"));
    *progress_out = progress;
    progress->is_bar = mode == PROGRESS_BAR || (mode == PROGRESS_AUTO && is_real_terminal());
    progress->is_silent = mode == PROGRESS_NONE;
    progress->every_seconds = progress->is_bar ? BAR_EVERY_SECONDS : every_seconds;
    progress->last_shown = progress_now();
    if (log_path == NULL) return STATUS_OK;
    progress->log = fopen(log_path, "a");
    if (progress->log == NULL)
        return FAIL(STATUS_CREATE, "%s: cannot create: %s", log_path, strerror(errno));
    return STATUS_OK;
}

void progress_free(Progress *progress) {
    if (progress == NULL) return;
    if (progress->bar_on_screen) printf("\n");
    if (progress->log != NULL) fclose(progress->log);
    memory_free(progress);
}

static void print_duration(double duration, char text[32]) {
    long seconds = duration > 0 && duration < 1e9 ? (long)(duration + 0.5) : 0;
    if (seconds >= 3600)
        snprintf(text, 32, "%ld:%02ld:%02ld", seconds / 3600, seconds / 60 % 60, seconds % 60);
    else
        snprintf(text, 32, "%ld:%02ld", seconds / 60, seconds % 60);
}

static void print_numbers(const ProgressPoint *point, const char *eta, char line[LINE_BYTES]) {
    snprintf(line, LINE_BYTES,
        "loss %.4f  accuracy %.4f  lr %.3g  %.0f samples/s  comm %.0f%%  eta %s", point->loss,
        point->accuracy, point->lr, point->samples_per_second, 100 * point->communication_share,
        eta);
}

static int terminal_columns(void) {
    struct winsize size = {0};
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* The bar takes what the terminal's width leaves; a line that wraps could not be drawn over. */
static void show_bar(Progress *progress, const ProgressPoint *point, const char *eta) {
    enum { FRAME = 4, CELLS_MIN = 8 }; /* brackets and blanks around the cells */
    char head[LINE_BYTES], numbers[LINE_BYTES], cells[BAR_CELLS + FRAME + 1] = " ";
    snprintf(head, sizeof head, "Epoch %lld/%lld %lld/%lld", (long long)point->epoch,
        (long long)point->epochs, (long long)point->position, (long long)point->steps_per_epoch);
    snprintf(numbers, sizeof numbers, "loss %.4f acc %.4f lr %.3g %.0f/s comm %.0f%% eta %s",
        point->loss, point->accuracy, point->lr, point->samples_per_second,
        100 * point->communication_share, eta);
    int columns = terminal_columns() - 1;
    int room = columns - (int)strlen(head) - (int)strlen(numbers) - FRAME;
    int count = room > BAR_CELLS ? BAR_CELLS : room;
    if (count >= CELLS_MIN) {
        int filled = (int)(count * point->position / point->steps_per_epoch), at = 0;
        cells[at++] = ' ';
        cells[at++] = '[';
        for (int i = 0; i < count; i++) cells[at++] = i < filled ? '=' : i == filled ? '>' : ' ';
        snprintf(cells + at, FRAME - 1, "] ");
    }
    char line[2 * LINE_BYTES + sizeof cells];
    snprintf(line, sizeof line, "%s%s%s", head, cells, numbers);
    printf("\r%.*s\033[K", columns, line);
    fflush(stdout);
    progress->bar_on_screen = 1;
}

void progress_show(Progress *progress, const ProgressPoint *point) {
    if (progress == NULL) return;
    double now = progress_now();
    if (now - progress->last_shown < progress->every_seconds) return;
    progress->last_shown = now;
    char eta[32], numbers[LINE_BYTES];
    print_duration(point->seconds_left, eta);
    if (progress->is_bar) {
        show_bar(progress, point, eta);
        return;
    }
    print_numbers(point, eta, numbers);
    progress_print(progress, "epoch %lld/%lld  step %lld/%lld  %s", (long long)point->epoch,
        (long long)point->epochs, (long long)point->step, (long long)point->steps, numbers);
}

void progress_log(Progress *progress, const char *line) {
    if (progress == NULL || progress->log == NULL) return;
    time_t now = time(NULL);
    struct tm parts;
    char stamp[32];
    gmtime_r(&now, &parts);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &parts);
    fprintf(progress->log, "%s %s\n", stamp, line);
    fflush(progress->log);
}

static void print_line(Progress *progress, int is_silent, const char *format, va_list arguments) {
    char line[STATUS_MESSAGE_BYTES];
    vsnprintf(line, sizeof line, format, arguments);
    if (progress->bar_on_screen) printf("\r\033[K");
    progress->bar_on_screen = 0;
    if (!is_silent) printf("%s\n", line);
    fflush(stdout);
    progress_log(progress, line);
}

void progress_print(Progress *progress, const char *format, ...) {
    if (progress == NULL) return;
    va_list arguments;
    va_start(arguments, format);
    print_line(progress, progress->is_silent, format, arguments);
    va_end(arguments);
}

void progress_answer(Progress *progress, const char *format, ...) {
    if (progress == NULL) return;
    va_list arguments;
    va_start(arguments, format);
    print_line(progress, 0, format, arguments);
    va_end(arguments);
}
