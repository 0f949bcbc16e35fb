/* lib/json without memory: what is read is right or refused for that reason; what is written is whole or
 * marked. */
#include "short.h"
#include "json/read.h"
#include "json/scan.h"
#include "json/write.h"

/* Enough keys for the scan to need memory for them. */
static char *many_keys(void)
{
    torture_pause();
    char *text = malloc(100000), *at = text + sprintf(text, "{\"deep\":");
    for (int i = 0; i < 30; i++)
        at += sprintf(at, "[{\"a%d\":", i);
    at += sprintf(at, "\"x\\u00e9\"");
    for (int i = 0; i < 30; i++)
        at += sprintf(at, "}]");
    for (int i = 0; i < 300; i++)
        at += sprintf(at, ",\"key%d\":[%d,true,null,\"text %d\"]", i, i, i);
    sprintf(at, ",\"n\":12.5,\"t\":\"word\"}");
    torture_resume();
    return text;
}

static void check(const cJSON *root)
{
    double n = 0;
    struct slice t = {0};
    struct err e = {0};
    cr_assert_eq(cJSON_GetArraySize(root), 303);
    cr_assert_eq(json_get_double(root, "n", 0, 100, &n, NULL, &e), 0, "%s", e.text);
    cr_assert_eq(json_get_text(root, "t", 100, &t, NULL, &e), 0, "%s", e.text);
    cr_assert(n == 12.5 && slice_is(t, "word"));
}

Test(torture_json, parses_or_says_why_not)
{
    struct err e;
    cJSON *root = NULL;
    char *text = many_keys();
    if (!SHORT_E(json_parse(slice_of(text), &root, &e), &e))
        check(root);
    else
        cr_assert_null(root);
    cJSON_Delete(root);
    free(text);
}

Test(torture_json, a_duplicate_key_never_passes)
{
    struct json_fault fault = {0};
    char *text = many_keys();
    memcpy(strstr(text, "\"key299\""), "\"key298\"", 8);
    int rc = json_scan(slice_of(text), &fault);
    cr_assert(rc == ERR_NOMEM || (rc == ERR_INVAL && strcmp(fault.reason, "duplicate key") == 0), "%d", rc);
    free(text);
}

Test(torture_json, writes_whole_or_marks_it)
{
    struct buf b;
    struct json_writer w;
    cJSON *root = NULL;
    buf_init(&b, 1 << 20);
    json_writer_init(&w, &b);
    json_object_begin(&w);
    for (int i = 0; i < 100; i++) {
        char key[32];
        snprintf(key, sizeof(key), "k%d", i);
        json_field_cstr(&w, key, "a \"quoted\"\ttext");
    }
    json_object_end(&w);
    torture_pause();
    if (!buf_failed(&b)) {
        cr_assert_eq(json_parse(buf_slice(&b), &root, NULL), 0);
        cr_assert_eq(cJSON_GetArraySize(root), 100);
    }
    cJSON_Delete(root);
    torture_resume();
    buf_fini(&b);
}
