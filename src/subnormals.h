/* subnormals.h - what the processor makes of numbers too small for all their digits. */
#ifndef SRC_SUBNORMALS_H
#define SRC_SUBNORMALS_H

/* Local. From now on in this thread, and in those it starts: results below 1.2e-38 (for double
 * 2.3e-308) become zero, and such operands count as zero. Sums that fade away, as the averages of
 * gradients of units that no longer learn, otherwise end there and stay, and Intel's processors
 * take a hundred times as long for each. Called before anything is computed, and again when MPI has
 * started, so that all ranks compute the same whatever their libraries set as they are loaded. */
void subnormals_flush(void);

#endif
