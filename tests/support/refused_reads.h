/* refused_reads.h - a disk that cannot be read, for HDF5. */
#ifndef TESTS_SUPPORT_REFUSED_READS_H
#define TESTS_SUPPORT_REFUSED_READS_H

/* Local. From now on the system refuses every read of the one file that HDF5 has open, with
 * "Input/output error". The test fails if that cannot be had. */
void refuse_reads(void);

#endif
