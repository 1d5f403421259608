/* What the program needs of a board: an output, and an end. */

#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>

/* Writes text that ends with a zero. */
void put(const char *text);

/* Ends the program: exit code 0 for success, else 1. */
_Noreturn void end(bool success);

#endif
