/* table.c - the table of one compilation of the kernels. */
#include "src/kernels/kernel.h"

#define TEXT_(name) #name
#define TEXT(name) TEXT_(name)

#define ENTRY(name) .name = KERNEL(name),
#define ENTRY_OF_WIDEST(name) .name = KERNEL_OF_WIDEST(name),
const Kernels KERNEL(table) = {.isa = TEXT(KERNEL_ISA),
    .width = WIDTH,
    .widest = KERNEL_WIDEST,
    KERNEL_LANES_LIST(ENTRY) KERNEL_FLAT_LIST(ENTRY_OF_WIDEST)};
