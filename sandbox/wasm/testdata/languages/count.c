// Counts the words of its input, as a command for wasip1 that knows nothing of
// Mayfly:
//
//	clang --target=wasm32-wasi --sysroot=/usr -O2 -o count.wasm count.c
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

int main(void) {
	size_t words = 0, room = 0;
	char **list = NULL, *word;
	while (scanf("%ms", &word) == 1) {
		if (words == room) list = realloc(list, (room = room * 2 + 8) * sizeof *list);
		list[words++] = word;
	}
	if (words == 0) {
		fprintf(stderr, "no words in %s\n", getenv("SUBJECT"));
		return 3;
	}
	qsort(list, words, sizeof *list, by_text);
	printf("{\"words\":%zu,\"first\":\"%s\",\"subject\":\"%s\",\"clock\":%s}\n", words, list[0], getenv("SUBJECT"), time(NULL) > 1700000000 ? "true" : "false");
	return 0;
}
