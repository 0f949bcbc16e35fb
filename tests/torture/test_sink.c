/* lib/sink without memory: a record is written whole, or counted as dropped. */
#include <unistd.h>

#include "short.h"
#include "sink/sink.h"

#define RECORDS 50

Test(torture_sink, a_record_is_written_or_counted)
{
    char dir[128], path[160], text[8192], record[64];
    struct sink *s = NULL;
    struct err e;
    unsigned taken = 0, lines = 0;
    snprintf(dir, sizeof(dir), "%s/a/logs", short_dir());
    struct sink_options options = {.dir = dir, .rotate_keep = 2, .queue_max_bytes = 1 << 20};
    if (SHORT_E(sink_open(&options, &s, &e), &e)) {
        cr_assert_null(s);
        return;
    }
    for (int i = 0; i < RECORDS; i++) {
        snprintf(record, sizeof(record), "{\"record\":%d}\n", i);
        taken += sink_write(s, SINK_EVENTS, slice_of(record));
    }
    for (int i = 0; i < 500 && !sink_dropped(s) && taken < RECORDS; i++)
        usleep(1000);
    cr_assert_eq(taken + sink_dropped(s), RECORDS);
    sink_close(s, 10000);
    torture_pause();
    snprintf(path, sizeof(path), "%s/", dir);
    char command[200];
    snprintf(command, sizeof(command), "cat %s*", path);
    FILE *all = popen(command, "r");
    while (all && fgets(text, sizeof(text), all)) {
        cr_assert(strncmp(text, "{\"record\":", 10) == 0 && strstr(text, "}\n"), "%s", text);
        lines++;
    }
    if (all)
        pclose(all);
    torture_resume();
    cr_assert_leq(lines, taken);
}
