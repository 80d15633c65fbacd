/* schedule.c - see schedule.h. */
#include "src/schedule.h"
#include <math.h>

static const double PI = 3.14159265358979323846;

double schedule_lr(const Job *job, int64_t step, int64_t steps_per_epoch) {
    const JobSchedule *schedule = &job->schedule;
    double lr = job->optimizer.lr, final = schedule->final_lr;
    int64_t warmup = llround(schedule->warmup_epochs * (double)steps_per_epoch);
    int64_t all = job->train.epochs * steps_per_epoch;
    if (step < warmup) return lr * (double)(step + 1) / (double)warmup;
    double t = all > warmup ? (double)(step - warmup) / (double)(all - warmup) : 1;
    if (t > 1) t = 1;
    switch (schedule->name) {
    case SCHEDULE_STEP:
        return lr * pow(schedule->gamma, (double)(step / steps_per_epoch / schedule->step_epochs));
    case SCHEDULE_COSINE:
        return final + (lr - final) * (1 + cos(PI * t)) / 2;
    case SCHEDULE_LINEAR:
        return lr + (final - lr) * t;
    default:
        return lr;
    }
}
