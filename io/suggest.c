/* suggest.c - see suggest.h. */
#include "io/suggest.h"
#include <ctype.h>
#include <limits.h>
#include <string.h>

static int smaller(int a, int b) {
    return a < b ? a : b;
}

static int is_same_letter(char a, char b) {
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

int suggest_distance(const char *a, const char *b) {
    size_t a_bytes = strlen(a), b_bytes = strlen(b);
    if (a_bytes >= SUGGEST_WORD_BYTES || b_bytes >= SUGGEST_WORD_BYTES) return INT_MAX;
    int rows[3][SUGGEST_WORD_BYTES]; /* the row two above, the one above, this one */
    for (size_t j = 0; j <= b_bytes; j++) rows[1][j] = (int)j;
    for (size_t i = 1; i <= a_bytes; i++) {
        int *row = rows[2];
        row[0] = (int)i;
        for (size_t j = 1; j <= b_bytes; j++) {
            int replaced = rows[1][j - 1] + !is_same_letter(a[i - 1], b[j - 1]);
            row[j] = smaller(replaced, smaller(rows[1][j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && is_same_letter(a[i - 1], b[j - 2]) &&
                is_same_letter(a[i - 2], b[j - 1]))
                row[j] = smaller(row[j], rows[0][j - 2] + 1);
        }
        memcpy(rows[0], rows[1], sizeof rows[0]);
        memcpy(rows[1], rows[2], sizeof rows[1]);
    }
    return rows[1][b_bytes];
}

void suggest_offer(Suggestion *suggestion, const char *word) {
    int wrong_length = (int)strnlen(suggestion->wrong, SUGGEST_WORD_BYTES);
    int word_length = (int)strlen(word);
    if (word_length >= SUGGEST_WORD_BYTES) return;
    int limit = word_length / 3 > 2 ? word_length / 3 : 2;
    int difference = wrong_length - word_length;
    if (difference > limit || -difference > limit) return;
    int distance = suggest_distance(suggestion->wrong, word);
    if (distance > limit || distance >= smaller(wrong_length, word_length)) return;
    if (suggestion->word[0] != '\0' && distance >= suggestion->distance) return;
    memcpy(suggestion->word, word, strlen(word) + 1);
    suggestion->distance = distance;
}
