/*
 * carpoolctl settings: reads them from the store, and has the coordinator change them. Names are those of
 * /v1/settings with a dot in between: low_priority.window_ms.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "ctl/ctl.h"
#include "store/settings.h"
#include "json/read.h"

#define DOCUMENT_MAX (64u << 10)
#define NAME_MAX_    64
#define KEY_FILE_MAX 4096

/* ---- reading ---- */

/* Those in force; before the first start of a coordinator, those that the configuration gives. */
static int read_settings(struct ctl *t, struct settings *ret_settings, struct err *e)
{
    struct settings_patch none = {0};
    struct store_read *r = NULL;
    int rc = ctl_read(t, &r, e);
    if (!rc)
        rc = r ? settings_load(r, ret_settings, e) : ERR_NOT_FOUND;
    store_read_end(r);
    if (rc != ERR_NOT_FOUND)
        return rc;
    settings_resolve(t->conf, &none, t->conf->provider.api_key, ret_settings);
    return 0;
}

static int read_document(struct ctl *t, cJSON **ret_root, struct err *e)
{
    struct settings s;
    struct buf text;
    int rc = read_settings(t, &s, e);
    if (rc)
        return rc;
    buf_init(&text, DOCUMENT_MAX);
    settings_encode(&text, &s);
    rc = buf_failed(&text) ? err_set(e, ERR_NOMEM, "There is not enough memory for the settings.")
                           : json_parse(buf_slice(&text), ret_root, e);
    buf_fini(&text);
    return rc;
}

/* ---- showing ---- */

/* Shown: all names, or those among the words from `first` on; a word may name a whole group. With a new key,
 * for people, it and whose it is taken for: it chooses a provider where none was. */
static bool is_wanted(const struct args *a, size_t first, const char *name)
{
    bool keyed = a->api_key_file && !a->json;
    if (keyed && (!strcmp(name, "api_key") || !strcmp(name, "provider")))
        return true;
    for (size_t i = first; i < a->words_n; i++) {
        size_t n = strcspn(a->words[i], "=");
        if (!strncmp(name, a->words[i], n) && (!name[n] || name[n] == '.'))
            return true;
    }
    return a->words_n <= first && !keyed;
}

static void show_value(struct buf *out, const cJSON *value)
{
    if (cJSON_IsNumber(value))
        buf_printf(out, "%.0f\n", value->valuedouble);
    else
        buf_printf(out, "%s\n", cJSON_IsString(value) ? value->valuestring : "");
}

/* One name that stands for one value is answered by the value alone, for scripts. */
static void show(struct buf *out, const cJSON *root, const struct args *a, size_t first, bool bare)
{
    const cJSON *item, *inner;
    cJSON_ArrayForEach (item, root) {
        if (!cJSON_IsObject(item)) {
            if (is_wanted(a, first, item->string)) {
                buf_printf(out, "%s%s", bare ? "" : item->string, bare ? "" : "=");
                show_value(out, item);
            }
            continue;
        }
        cJSON_ArrayForEach (inner, item) {
            char name[2 * NAME_MAX_];
            snprintf(name, sizeof(name), "%.60s.%.60s", item->string, inner->string);
            if (!is_wanted(a, first, name))
                continue;
            buf_printf(out, "%s%s", bare ? "" : name, bare ? "" : "=");
            show_value(out, inner);
        }
    }
}

/* The document without what is not wanted. */
static void prune(cJSON *root, const struct args *a, size_t first)
{
    for (cJSON *item = root->child, *next; item; item = next) {
        next = item->next;
        for (cJSON *inner = cJSON_IsObject(item) ? item->child : NULL, *after; inner; inner = after) {
            char name[2 * NAME_MAX_];
            after = inner->next;
            snprintf(name, sizeof(name), "%.60s.%.60s", item->string, inner->string);
            if (!is_wanted(a, first, name))
                cJSON_Delete(cJSON_DetachItemViaPointer(item, inner));
        }
        if (cJSON_IsObject(item) ? !item->child : !is_wanted(a, first, item->string))
            cJSON_Delete(cJSON_DetachItemViaPointer(root, item));
    }
}

static void show_json(struct buf *out, cJSON *root, const struct args *a, size_t first)
{
    prune(root, a, first);
    char *text = cJSON_PrintUnformatted(root);
    if (text)
        buf_printf(out, "%s\n", text);
    else
        out->failed = true;
    cJSON_free(text);
}

static bool names_something(const cJSON *root, const char *word)
{
    char group[NAME_MAX_];
    size_t n = strcspn(word, ".");
    snprintf(group, sizeof(group), "%.*s", (int)(n < sizeof(group) ? n : sizeof(group) - 1), word);
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, group);
    return item && (!word[n] || cJSON_GetObjectItemCaseSensitive(item, word + n + 1));
}

static bool is_single(const cJSON *root, const struct args *a)
{
    return a->words_n == 3 &&
           (strchr(a->words[2], '.') || !cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(root, a->words[2])));
}

/* Shows the settings in force that the words name: first of them, as NAME or NAME=VALUE. */
static enum ctl_exit show_named(struct ctl *t, size_t first, bool bare)
{
    cJSON *root = NULL;
    struct err e = {0};
    struct buf out;
    enum ctl_exit code = CTL_DONE;
    if (read_document(t, &root, &e))
        return ctl_say(CTL_FAILED, "%s", e.text);
    for (size_t i = first; bare && i < t->args->words_n; i++)
        if (!names_something(root, t->args->words[i]))
            code = ctl_say(CTL_NOT_FOUND, "There is no setting \"%.100s\"", t->args->words[i]);
    buf_init(&out, DOCUMENT_MAX);
    if (t->args->json)
        show_json(&out, root, t->args, first);
    else
        show(&out, root, t->args, first, bare && is_single(root, t->args));
    cJSON_Delete(root);
    if (code == CTL_DONE && buf_failed(&out))
        code = ctl_say(CTL_FAILED, "There is not enough memory for the settings.");
    else if (code == CTL_DONE && ctl_write(buf_slice(&out).p, out.len))
        code = ctl_say(CTL_FAILED, "The settings could not be written to standard output.");
    buf_fini(&out);
    return code;
}

enum ctl_exit settings_get(struct ctl *t)
{
    return show_named(t, 2, true);
}

/* ---- changing ---- */

static bool is_number(const char *text)
{
    size_t n = strlen(text);
    return n > 0 && n < 16 && strspn(text, "0123456789") == n;
}

/* Adds NAME=VALUE to the document. What is known of names is what the parser of settings says of them. */
static int add_word(cJSON *root, const char *word, struct err *e)
{
    const char *equals = strchr(word, '='), *dot;
    char name[NAME_MAX_];
    if (!equals || equals == word || (size_t)(equals - word) >= sizeof(name))
        return err_set(e, ERR_INVAL, "\"%.80s\" should be NAME=VALUE, such as low_priority.window_ms=500.",
                       word);
    snprintf(name, sizeof(name), "%.*s", (int)(equals - word), word);
    const char *value = equals + 1, *key = name;
    if (!strcmp(name, "api_key") && *value)
        return err_set(e, ERR_INVAL,
                       "A key does not belong on a command line, where all users of the machine "
                       "can read it: use --api-key-file FILE, or - for standard input.");
    cJSON *object = root;
    if ((dot = strchr(name, '.'))) {
        name[dot - name] = 0;
        key = dot + 1;
        object = cJSON_GetObjectItemCaseSensitive(root, name);
        if (!object)
            object = cJSON_AddObjectToObject(root, name);
    }
    if (object && (!cJSON_IsObject(object) || cJSON_GetObjectItemCaseSensitive(object, key)))
        return err_set(e, ERR_INVAL, "\"%.80s\" is given twice.", word);
    bool ok =
        object && (dot && is_number(value) ? cJSON_AddNumberToObject(object, key, strtod(value, NULL)) != NULL
                                           : cJSON_AddStringToObject(object, key, value) != NULL);
    return ok ? 0 : err_set(e, ERR_NOMEM, "There is not enough memory for this.");
}

/* The key in the file, without the line break at its end. */
static int add_key(cJSON *root, const char *file, struct err *e)
{
    struct buf text;
    char key[KEY_FILE_MAX + 1] = "";
    buf_init(&text, KEY_FILE_MAX);
    int rc = ctl_read_file(file, &text, e);
    struct slice trimmed = slice_trim(buf_slice(&text));
    if (!rc && !trimmed.n)
        rc = err_set(e, ERR_INVAL, "There is no key in %.200s; `settings set api_key=` takes the key back.",
                     file);
    if (!rc && memchr(trimmed.p, 0, trimmed.n))
        rc = err_set(e, ERR_INVAL, "What is in %.200s is no key.", file);
    if (!rc) {
        memcpy(key, trimmed.p, trimmed.n);
        if (cJSON_GetObjectItemCaseSensitive(root, "api_key") ||
            !cJSON_AddStringToObject(root, "api_key", key))
            rc = err_set(e, ERR_INVAL, "The key is given twice, or there is no memory for it.");
    }
    sodium_memzero(key, sizeof(key));
    ctl_wipe(&text);
    return rc;
}

static int gather(const struct args *a, cJSON *root, struct err *e)
{
    int rc = 0;
    for (size_t i = 2; !rc && i < a->words_n; i++)
        rc = add_word(root, a->words[i], e);
    if (!rc && a->api_key_file)
        rc = add_key(root, a->api_key_file, e);
    return rc;
}

static enum ctl_exit put(struct ctl *t, const cJSON *root)
{
    struct settings_patch patch = {0};
    struct err e = {0};
    struct buf document;
    char field[128] = "";
    enum ctl_exit code;
    buf_init(&document, DOCUMENT_MAX);
    int rc = settings_patch_parse(root, &patch, field, &e);
    if (!rc)
        settings_patch_encode(&document, &patch, true);
    const char *dot = strchr(field, '.');
    if (rc && dot && !strncmp(e.text, dot + 1, strlen(dot + 1))) /* the sentence leaves out whose it is */
        code = ctl_say(CTL_FAILED, "%.*s.%s", (int)(dot - field), field, e.text);
    else if (rc)
        code = ctl_say(CTL_FAILED, "%s", e.text);
    else if (buf_failed(&document))
        code = ctl_say(CTL_FAILED, "There is not enough memory for this.");
    else
        code = ctl_change(t, WIRE_SETTINGS_PUT, buf_slice(&document), "settings get");
    settings_patch_wipe(&patch);
    ctl_wipe(&document);
    return code;
}

static void wipe_tree(cJSON *root)
{
    cJSON *key = cJSON_GetObjectItemCaseSensitive(root, "api_key");
    if (cJSON_IsString(key))
        sodium_memzero(key->valuestring, strlen(key->valuestring));
    cJSON_Delete(root);
}

enum ctl_exit settings_set(struct ctl *t)
{
    struct err e = {0};
    if (t->args->words_n == 2 && !t->args->api_key_file)
        return ctl_say(CTL_USAGE, "Nothing to change is given: NAME=VALUE, or --api-key-file FILE.");
    cJSON *root = cJSON_CreateObject();
    int rc =
        root ? gather(t->args, root, &e) : err_set(&e, ERR_NOMEM, "There is not enough memory for this.");
    enum ctl_exit code = rc ? ctl_say(rc == ERR_INVAL ? CTL_USAGE : CTL_FAILED, "%s", e.text) : put(t, root);
    wipe_tree(root);
    return code == CTL_DONE ? show_named(t, 2, false) : code;
}
