/* subnormals.c - see subnormals.h. */
#include "src/subnormals.h"
#include <stdint.h>

#if defined(__x86_64__)
/* Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, section 10.2.3: MXCSR. */
enum { OPERANDS_TO_ZERO = 1 << 6, RESULTS_TO_ZERO = 1 << 15 };

void subnormals_flush(void) {
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | OPERANDS_TO_ZERO | RESULTS_TO_ZERO);
}
#elif defined(__aarch64__)
/* Arm Architecture Reference Manual for A-profile: FPCR, bit FZ. */
static const uint64_t FLUSH_TO_ZERO = UINT64_C(1) << 24;

void subnormals_flush(void) {
    uint64_t control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    __asm__ volatile("msr fpcr, %0" : : "r"(control | FLUSH_TO_ZERO));
}
#else
void subnormals_flush(void) {
}
#endif
