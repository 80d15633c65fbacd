/* table.c - the table of one compilation of the kernels. */
#include "src/kernels/kernel.h"

#define TEXT_(name) #name
#define TEXT(name) TEXT_(name)

#define ENTRY(name) .name = KERNEL(name),
const Kernels KERNEL(table) = {.isa = TEXT(KERNEL_ISA), .width = WIDTH, KERNEL_LIST(ENTRY)};
