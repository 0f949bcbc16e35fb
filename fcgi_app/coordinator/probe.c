/* Asking a model server how it is; see probe.h. */
#include "coordinator/probe.h"

#include "base/clock.h"
#include "base/log.h"

#define PROBE_AGAIN_US (5 * US_PER_S)

void probe_reset(struct core *c)
{
    c->probe.fault.code = 0;
    probe_soon(c);
}

void probe_soon(struct core *c)
{
    c->probe.wanted = true;
    c->probe.at_us = 0;
}

void probe_fini(struct core *c)
{
    if (c->probe.running)
        provider_call_fini(&c->probe.request);
    c->probe.running = false;
}

void probe_ask(struct core *c, uint64_t now_us)
{
    struct probe *p = &c->probe;
    bool wanted = p->wanted || c->provider_fault.code == ERR_AGAIN;
    if (p->running || !wanted || now_us < p->at_us || c->draining || !c->ports.probe)
        return;
    p->at_us = now_us + PROBE_AGAIN_US;
    if (provider_probe_encode(&c->provider->provider, &p->request, NULL) < 0) {
        p->wanted = false; /* nothing to ask, or no memory: calls will tell */
        return;
    }
    p->endpoint = c->provider->endpoint;
    p->running = true;
    if (c->ports.probe(c->ports.arg, &p->request) < 0)
        probe_fini(c);
}

void core_probed(struct core *c, const struct provider_response *response, uint64_t now_us)
{
    struct probe *p = &c->probe;
    struct err fault = {0};
    bool current = p->endpoint == c->provider->endpoint;
    probe_fini(c);
    if (!current)
        return;
    int rc = provider_probe_decode(&c->provider->provider, response, &fault);
    if (rc < 0 && !p->fault.code)
        log_warning("%s", fault.text);
    p->fault = fault;
    p->wanted = rc < 0;
    if (rc < 0)
        return;
    if (c->provider_fault.code != ERR_AGAIN)
        return; /* what else was wrong, an answer has to show it gone */
    /* It is there: the next batch may go and see, however long the breaker would have waited. */
    c->provider_fault.code = 0;
    breaker_hurry(&c->guard.breaker, now_us);
}
