/* suggest.h - "did you mean": the nearest of a few known words. */
#ifndef IO_SUGGEST_H
#define IO_SUGGEST_H

enum { SUGGEST_WORD_BYTES = 64 }; /* longer words are like no other */

/* Local. Edits (insert, delete, replace, swap of neighbours) that make `a` into `b`, without regard
 * to case: the restricted Damerau-Levenshtein distance. A large number for long words. */
int suggest_distance(const char *a, const char *b);

/* The nearest word so far; start with {.wrong = the word that is not known}. */
typedef struct Suggestion {
    const char *wrong;
    char word[SUGGEST_WORD_BYTES]; /* "": none is near */
    int distance;
} Suggestion;

/* Local. Take `word` if it is nearer than what was offered, and near at all: at most 2 edits or a
 * third of its length, and not a new word altogether. */
void suggest_offer(Suggestion *suggestion, const char *word);

#endif
