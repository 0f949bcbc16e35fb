/* The list of models; see models.h. */
#include "worker/models.h"

#include <string.h>

bool models_next(const char **at, struct slice *ret_model)
{
    while (**at) {
        size_t n = strcspn(*at, ",");
        *ret_model = slice_trim((struct slice){*at, n});
        *at += n + ((*at)[n] == ',');
        if (ret_model->n)
            return true;
    }
    return false;
}
