/* table.c - the table of one compilation of the kernels. */
#include "src/kernels/kernel.h"

#define TEXT_(name) #name
#define TEXT(name) TEXT_(name)

#define ENTRY(name) .name = KERNEL(name),
#define ENTRY_OF_WIDEST(name) .name = KERNEL_OF_WIDEST(name),
#if KERNEL_WIDTH == KERNEL_WIDEST
#define ENTRY_OF_LANES(name) .name = KERNEL_OF_WIDEST(name),
#else
#define ENTRY_OF_LANES(name) .name = KERNEL_OF_WIDEST(name##_narrow),
#endif
const Kernels KERNEL(table) = {.isa = TEXT(KERNEL_ISA),
    .width = WIDTH,
    .widest = KERNEL_WIDEST,
    KERNEL_LANES_LIST(ENTRY) KERNEL_NARROW_LIST(ENTRY_OF_LANES) KERNEL_FLAT_LIST(ENTRY_OF_WIDEST)};
