/* file_kind.c - see file_kind.h. */
#include "io/file_kind.h"
#include <string.h>

static const struct {
    size_t offset, length;
    const char *bytes, *what;
} signatures[] = {
    {0, 4, "\x89HDF", "an HDF5 file"},
    {0, 2, "<!", "a web page, perhaps an error page that a download saved"},
    {0, 4, "<htm", "a web page, perhaps an error page that a download saved"},
    {0, 4, "<HTM", "a web page, perhaps an error page that a download saved"},
    {0, 4, "<?xm", "an XML page, perhaps an error page that a download saved"},
    {0, 4, "vers", "a Git LFS pointer, not the file it stands for"},
    {0, 2, "\x1f\x8b", "a gzip file, to be unpacked first"},
    {0, 4, "PK\x03\x04", "a zip archive (.npz is one, too), to be unpacked first"},
    {0, 3, "BZh", "a bzip2 file, to be unpacked first"},
    {0, 4, "\xfd\x37zX", "an xz file, to be unpacked first"},
    {257, 5, "ustar", "a tar archive, to be unpacked first"},
    {0, 4, "\x93NUM", "a NumPy array (.npy)"},
    {0, 2, "\x80\x02", "a Python pickle"},
    {0, 2, "\x80\x03", "a Python pickle"},
    {0, 2, "\x80\x04", "a Python pickle"},
    {0, 2, "\x80\x05", "a Python pickle"},
    {0, 8, "MATLAB 5", "a MATLAB file"}, /* 7.3 is HDF5 */
    {0, 4, "PAR1", "a Parquet file"},
    {0, 4, "\x89PNG", "a PNG image"},
    {0, 3, "\xff\xd8\xff", "a JPEG image"},
    {0, 4, "GIF8", "a GIF image"},
    {8, 4, "WEBP", "a WebP image"},
    {0, 2, "BM", "a BMP image"},
    {0, 4, "II*\0", "a TIFF image"},
    {0, 4, "MM\0*", "a TIFF image"},
    {4, 4, "ftyp", "a HEIC or AVIF image, or a film"},
    {0, 4, "\x01\x08\x00\x00", "IDX in the wrong byte order"},
    {0, 4, "\x03\x08\x00\x00", "IDX in the wrong byte order"},
};

const char *file_kind_recognize(const unsigned char *start, size_t count) {
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++)
        if (signatures[i].offset + signatures[i].length <= count &&
            memcmp(start + signatures[i].offset, signatures[i].bytes, signatures[i].length) == 0)
            return signatures[i].what;
    return NULL;
}
