/* Checked getters; see read.h. */
#include "json/read.h"

#include <math.h>

#include "json/scan.h"

/* 2^53 and 2^53 + 1 are the same double: from here on nobody can tell what was written. */
#define INTEGER_END 9007199254740992.0

int json_parse(struct slice text, cJSON **ret_root, struct err *e)
{
    struct json_fault fault;
    int rc = json_scan(text, &fault);
    if (rc == ERR_NOMEM)
        return err_set(e, rc, "Out of memory while checking JSON.");
    if (rc && fault.field[0])
        return err_set(e, rc, "byte %zu, in \"%s\": %s", fault.offset, fault.field, fault.reason);
    if (rc)
        return err_set(e, rc, "byte %zu: %s", fault.offset, fault.reason);
    /* What the scan let through, cJSON refuses only when it cannot allocate. */
    cJSON *root = cJSON_ParseWithLength(text.p, text.n);
    if (!root)
        return err_set(e, ERR_NOMEM, "Out of memory while parsing JSON.");
    *ret_root = root;
    return 0;
}

/* The member, or NULL when it is absent or null; says which in *ret_present. */
static const cJSON *member(const cJSON *object, const char *key, bool *ret_present)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (cJSON_IsNull(item))
        item = NULL;
    if (!item && ret_present)
        *ret_present = false;
    return item;
}

static int found(bool *ret_present)
{
    if (ret_present)
        *ret_present = true;
    return 0;
}

int json_get_text(const cJSON *object, const char *key, size_t max_bytes, struct slice *ret_text,
                  bool *ret_present, struct err *e)
{
    const cJSON *item = member(object, key, ret_present);
    if (!item)
        return 0;
    if (!cJSON_IsString(item))
        return err_set(e, ERR_INVAL, "%s must be a string.", key);
    struct slice text = slice_of(item->valuestring);
    if (text.n > max_bytes)
        return err_set(e, ERR_INVAL, "%s is %zu bytes long; at most %zu are allowed.", key, text.n,
                       max_bytes);
    *ret_text = text;
    return found(ret_present);
}

int json_get_double(const cJSON *object, const char *key, double min, double max, double *ret_number,
                    bool *ret_present, struct err *e)
{
    const cJSON *item = member(object, key, ret_present);
    if (!item)
        return 0;
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= min && item->valuedouble <= max))
        return err_set(e, ERR_INVAL, "%s must be a number from %g to %g.", key, min, max);
    *ret_number = item->valuedouble;
    return found(ret_present);
}

int json_get_u64(const cJSON *object, const char *key, uint64_t min, uint64_t max, uint64_t *ret_number,
                 bool *ret_present, struct err *e)
{
    const cJSON *item = member(object, key, ret_present);
    if (!item)
        return 0;
    double d = cJSON_IsNumber(item) ? item->valuedouble : -1;
    bool whole = d >= 0 && d < INTEGER_END && d == floor(d);
    if (!whole || (uint64_t)d < min || (uint64_t)d > max)
        return err_set(e, ERR_INVAL, "%s must be a whole number from %llu to %llu.", key,
                       (unsigned long long)min, (unsigned long long)max);
    *ret_number = (uint64_t)d;
    return found(ret_present);
}

int json_get_bool(const cJSON *object, const char *key, bool *ret_value, bool *ret_present, struct err *e)
{
    const cJSON *item = member(object, key, ret_present);
    if (!item)
        return 0;
    if (!cJSON_IsBool(item))
        return err_set(e, ERR_INVAL, "%s must be true or false.", key);
    *ret_value = cJSON_IsTrue(item);
    return found(ret_present);
}

int json_get_object(const cJSON *object, const char *key, const cJSON **ret_value, bool *ret_present,
                    struct err *e)
{
    const cJSON *item = member(object, key, ret_present);
    if (!item)
        return 0;
    if (!cJSON_IsObject(item))
        return err_set(e, ERR_INVAL, "%s must be an object.", key);
    *ret_value = item;
    return found(ret_present);
}
