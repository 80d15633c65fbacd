/* help.h - the options of the program, and what --help prints of it and of each command. */
#ifndef SRC_HELP_H
#define SRC_HELP_H

#include "src/command.h"

/* An option of one or more commands, which name those they take by their letters. */
typedef struct CommandOption {
    const char *name;  /* without the dashes */
    int letter;        /* tells it from the others; not for the command line */
    const char *value; /* what it wants behind it; NULL: nothing */
    const char *doc;   /* one line */
} CommandOption;

enum { COMMAND_OPTION_MAX = 32 };
extern const CommandOption command_options[]; /* ended by a name that is NULL */

/* Local. Print all commands, a NULL at their end; one command with its options and examples. */
void help_print(const Command *const *commands);
void help_print_command(const Command *command);

#endif
