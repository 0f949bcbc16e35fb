/*
 * A coordinator core in a world of its own: the time is a number, the provider answers what the script says,
 * the disk takes as long and fails as often as the script says, and all chance comes from one seed. The store
 * behind the disk is a real LMDB in a directory of its own, so that what a crash leaves behind is exactly
 * what was committed.
 *
 * Rooms: world.c time; process.c coordinators that come and go; disk.c commits and lookups; upstream.c the
 * provider, speech.c one that streams; client.c those who ask, listen.c those who hear it; watch.c what can
 * be seen of batches; rules*.c the promises that hold in every script. Whatever breaks one of those goes into
 * world.fault (the first one stays). Out of memory ends the program: it is a test.
 */
#ifndef SCENARIO_WORLD_H
#define SCENARIO_WORLD_H

#include <uthash.h>

#include "base/arena.h"
#include "base/clock.h"
#include "coordinator/call.h"
#include "coordinator/core.h"

#define WORLD_START_US    (1000 * US_PER_S) /* what the core's clock shows at time 0 of a script */
#define WORLD_CLIENTS_MAX 2048
#define WORLD_SEEN_MAX    4096 /* batches and calls each */
#define WORLD_ORDERS_MAX  256
#define WORLD_POOLS       3
#define MEMBERS_TEXT      512

/* What the provider does with a call. */
enum conduct {
    CONDUCT_ANSWER,
    CONDUCT_STATUS,    /* an error of that status */
    CONDUCT_RESET,     /* cut off after it was sent */
    CONDUCT_TIMEOUT,   /* the same after provider.timeout_ms */
    CONDUCT_REFUSED,   /* cannot be reached: not sent */
    CONDUCT_UNSENT,    /* the port itself fails */
    CONDUCT_MISSING,   /* leaves out the part of `who` */
    CONDUCT_DOUBLE,    /* has the id of `who` twice */
    CONDUCT_EXTRA,     /* has an id that was not sent */
    CONDUCT_SHIFTED,   /* every answer under the next one's id */
    CONDUCT_TRUNCATED, /* ends at max_tokens */
    CONDUCT_HTML,      /* a page with status 200 */
    CONDUCT_FILTERED,  /* the content filter */
    CONDUCT_LOADING,   /* its model is still being loaded: 503 */
    CONDUCT_LOGPROBS,  /* refuses the log-probabilities it is asked for */
    CONDUCT_BROKEN,    /* of a stream: an error event in the middle */
    CONDUCT_ONE        /* of a stream: answers in one all the same */
};

struct order {
    enum conduct conduct;
    int status;
    char retry_after[32];
    char who[64];     /* request id */
    char word[64];    /* that the filter stops; empty: all of the call, or who */
    uint64_t slow_us; /* instead of the usual latency; 0: that one */
    unsigned after;   /* a stream: so many pieces are said before what goes wrong */
};

/* A batch or a call as it was seen. */
struct sight {
    uint64_t at_us; /* script time */
    uint32_t n;
    enum priority priority;
    char reason[16];
    char members[MEMBERS_TEXT]; /* request ids with commas, oldest first */
    char key[64];               /* of a call: the provider key it is sent with */
    char host[64];              /* of a call: where to */
    char mode[16];              /* of a call: how its body is written */
};

struct sights {
    struct sight *items;
    size_t n, named; /* items before `named` have been named by the script */
};

enum reply { REPLY_NONE, REPLY_ANSWER, REPLY_REFUSAL, REPLY_QUEUED };

/* Somebody who asks. Invariant: waiting exactly between the submit and its reply, the leave, or the end of
 * its link. */
struct client {
    char name[64];
    struct wire_submit submit; /* texts in world.arena */
    struct core_link *link;    /* NULL: gone */
    uint64_t submit_id, watch_id;
    uint64_t asked_us, deadline_us;
    uint64_t since_us;   /* as asked_us, or when that came in which it joined */
    uint32_t max_tokens; /* in force when it was asked */
    bool waiting, watching, cancelled;
    bool fresh; /* its worker had just made the id, before any handing in again */
    bool admin;
    bool elder;           /* its link is one of the elder's */
    unsigned pool;        /* below WORLD_POOLS: whose thread it is */
    char model[64];       /* admin: that it puts */
    char deletes[64];     /* admin: the request id whose deletion it asked for; empty: none */
    bool deletes_running; /* it ran when that was asked */
    bool changes_keys;
    enum reply reply;
    uint64_t replied_us;       /* script time, as all below */
    unsigned flags;            /* ANSWER: enum answer_flags */
    bool cached;               /* ANSWER: one given again */
    unsigned deltas;           /* DELTA frames so far */
    size_t heard;              /* bytes of text in them */
    uint64_t delta_us;         /* the newest */
    bool stalled, late;        /* does not read its link; reads what was written when it did not */
    struct wire_limits limits; /* of either */
    unsigned status;           /* REFUSAL */
    uint32_t retry_after_ms;
    char code[64];
    bool progress_seen;
    unsigned progress; /* enum wire_progress, or what another machine had: */
#define PROGRESS_ANSWER  4
#define PROGRESS_REFUSAL 5
    unsigned progress_status; /* of that refusal */
    uint64_t progress_us;
};

/* What the provider knows of a request key: rules.c. */
struct ledger;

/* What a batch has passed over so far: rules_batch.c. */
struct patience;

/* What was asked of a provider: rules_cache.c. */
struct content;

/* A coordinator that another one has taken over from and that does not know it yet. While it acts, its state
 * stands in the world's own fields and theirs in here (process_swap). */
struct elder {
    struct core *core; /* NULL: there is none */
    uint64_t epoch, group_due_us, maintain_us;
    bool group_reached;
    struct list ops, fresh, group, flights;
    struct connection *connection;
    struct saved_key key_fresh; /* as world.key_fresh: whose the file is when both prepare one is left open */
    uint64_t stalled_until_us;  /* stopped until then */
};

struct server;
struct connection;

#define WORLD_PAYERS 8 /* tenants of random lives */

/* Of one key in a random life, in picodollars (money.c). */
struct payer {
    uint64_t billed;     /* at least, by the provider */
    uint64_t budget_max; /* the largest it was ever given; 0: none */
    uint64_t slack;      /* what calls that had to be asked again may have cost beyond their estimates */
};

/* What is left of a core that crashed. Kept, with what hangs on it, so that a leak checker tells what leaks
 * from what merely died. */
struct grave {
    struct core *core;
    struct list ops, fresh, group, flights;
    struct core_link **links;
    struct connection *connection;
    struct grave *next;
};

struct world {
    struct conf conf;
    char dir[64];
    uint64_t now_us, real_base_us, random_state;
    uint64_t real_max_us; /* the latest the wall clock has shown before it was set back */
    struct payer payers[WORLD_PAYERS];
    bool unbounded;    /* what a prompt may cost was not always known when it came in */
    uint64_t set_us;   /* by how much it was set forward, in all */
    uint64_t slept_us; /* when the wall clock last jumped by hours */
    bool verbose;
    uint64_t *trace; /* hash of everything world_say() was told; NULL: not wanted */
    struct core *core;
    struct arena arena;
    char fault[1024];

    struct store *store;
    struct store_read *reading;
    uint64_t epoch;
    struct list fresh;  /* handed in by this turn of the core */
    struct list ops;    /* with the commit thread, waiting for the disk */
    struct list group;  /* on the disk until group_due_us */
    bool group_reached; /* the disk has it already; only nobody has heard */
    uint64_t group_due_us, commit_us, maintain_us;
    uint32_t commit_fails; /* groups that will fail; UINT32_MAX: all */
    enum err_code commit_error;
    bool commit_reaches;             /* those that fail reach the disk all the same */
    struct saved_key key, key_fresh; /* in the file; prepared beside it */
    struct given *given;             /* keys and hosts that were put (rules_key.c) */
    size_t given_n;
    struct saved_key key_told; /* that the settings told done last came with */
    uint64_t settled_us;       /* when a change of settings was last told done */
    char model[64];            /* that was put since the start, for the provider in force; empty: none */
    bool unheard;   /* whoever put settings has left before they were in force: they may be at any time */
    char keys[512]; /* what was done with keys: "prepare:sk-a@0ms keep:sk-a@1ms" */

    struct elder elder;
    bool elder_acts;
    unsigned dying_in;       /* that many uses of ports from now the process is killed; 0: not planned */
    int dying_survives;      /* enum survives */
    bool dead;               /* it was, in the middle of its turn: nothing leaves it any more */
    unsigned start_deaths;   /* that many of the next starts are killed on the way */
    uint64_t drain_until_us; /* a random life: it drains; 0: not */
    bool at_random; /* a random life: a disk that fails fails starts, too; tenants differ in their first byte
                     */

    struct list flights; /* upstream.c: calls at the provider */
    uint64_t trouble_us; /* when a call last came to anything but answers; 0: never */
    struct order orders[WORLD_ORDERS_MAX];
    size_t orders_n, orders_at;
    uint64_t latency_us;
    uint64_t gap_us; /* between the pieces of a stream */
    char filter[64];
    struct ledger *ledger;
    struct patience *patience;
    struct content *contents;

    struct client clients[WORLD_CLIENTS_MAX];
    size_t clients_n;
    struct uuid pool;
    uint32_t capacity, more_capacity[WORLD_POOLS];
    uint64_t last_frame_id;
    unsigned crashes, deletions, takeovers, replays;
    bool lossy; /* a commit reached the disk and was reported as failed: figures may count twice */

    struct sights batches, calls;

    struct world *twin;            /* another machine; NULL: there is none */
    bool ended;                    /* nothing goes on any more: all have heard of all */
    bool asleep;                   /* nothing runs on this machine, while the other one goes on */
    unsigned machine;              /* 0, and 1 for the twin of that */
    struct server *server;         /* that they share (server.h); NULL: redis is not enabled */
    struct connection *connection; /* of this process */
    bool server_lost;              /* it cannot be reached from this machine */
    uint64_t server_us;            /* a trip there and back takes so long */
};

/* world.c. config is the text of a carpool.conf on top of the world's own defaults. False: *e says why. */
bool world_open(struct world *w, const char *config, uint64_t seed, bool verbose, struct err *e);
/* Another machine with the same configuration, a store of its own, and the same server; w takes it. */
bool world_open_twin(struct world *w, const char *config, uint64_t seed, struct err *e);
/* What the wall clock shows when the next world opens. */
void world_begin_at(uint64_t real_us);
/* finished: it was settled; else it ends in the middle of things. */
void world_close(struct world *w, bool finished);
/* Goes to the next thing that happens up to limit_us (script time). False: nothing does; the time is limit_us
 * then. */
bool world_step(struct world *w, uint64_t limit_us);
void world_run(struct world *w, uint64_t until_us);
uint64_t world_time(const struct world *w); /* script time */
void world_turn(struct world *w);           /* after something was fed to the core */
uint64_t world_real_max_us(const struct world *w);
/* kill -9 and the next coordinator. durable: what was on the disk's way was committed, but nobody heard.
 * workers_too: the clients die with it; else they hand in again. */
void world_crash(struct world *w, bool durable, bool workers_too);
uint64_t world_random(struct world *w, uint64_t below);
void world_blame(struct world *w, const char *format, ...) PRINTF_LIKE(2, 3);
void world_say(const struct world *w, const char *format, ...) PRINTF_LIKE(2, 3);

/* disk.c */
void disk_commit(void *arg, struct commit_op *op);
int disk_lookup(void *arg, const uint8_t key[REQUEST_KEY_SIZE], struct request_record *ret_record,
                struct slice *ret_chat, struct err *e);
int disk_chat(void *arg, const struct uuid *id, struct slice *ret_chat, struct err *e);
void disk_lookup_end(void *arg);
int disk_spent(void *arg, uint32_t month, void (*each)(void *each_arg, const struct spend *s), void *each_arg,
               struct err *e);
/* The turn is over: what it handed in goes to the commit thread. */
void disk_submit(struct world *w);
void disk_start_group(struct world *w);
void disk_finish_group(struct world *w);
/* What the disk does behind the back of a coordinator that is dying. */
enum survives { SURVIVES_NOTHING, SURVIVES_GROUP, SURVIVES_QUEUED };
/* Commits at once without telling the core: the group, or all that the commit thread has. */
void disk_flush(struct world *w, enum survives what);
/* Takes every chat out of the store, as retention does. */
void disk_forget_chats(struct world *w);
/* "none" or the state of its record. */
const char *disk_state(struct world *w, const struct client *c);
uint64_t disk_cache_entries(struct world *w);
/* How many entries the audit trail has, and what the newest says: "actor: details". */
uint64_t disk_audit_entries(struct world *w, char ret_newest[512]);
uint64_t disk_counter(struct world *w, const char *name);
uint64_t disk_real_us(const struct world *w);

/* upstream.c */
int upstream_port_send(void *arg, struct call *call, struct err *e);
uint64_t upstream_due_us(const struct world *w);
void upstream_deliver(struct world *w);
/* "Answer to: <prompt>": every answer can be told from every other. */
bool upstream_is_answer(struct slice prompt, struct slice text);
/* The provider key in the headers of a call. */
void upstream_key(const struct call *call, char ret_key[64]);

/* client.c */
struct client *client_find(struct world *w, const char *name);
struct client *client_add(struct world *w, const char *name);
void client_submit(struct world *w, struct client *c);
/* When it has heard something, or a piece, at the latest: one that streams, when its call may have been sent
 * at its deadline, waited once more for a slot after a failure, and taken its time. */
uint64_t client_deadline_us(const struct world *w, const struct client *c);
void client_watch(struct world *w, struct client *c, uint64_t wait_us);
void client_cancel(struct world *w, struct client *c);
void client_close(struct world *w, struct client *c);
/* A frame of an administrator. */
void client_settings(struct world *w, const char *json);
void client_delete(struct world *w, const char *request_id);
/* An administrator asks for a change of API keys. */
void client_keys(struct world *w, const char *json);
/* The same from administrators who do not wait for each other. */
void client_settings_aside(struct world *w, const char *json);
void client_keys_aside(struct world *w, const char *json);
void client_delete_aside(struct world *w, const char *request_id);
/* Reads what the core has left in the links. */
void client_read_all(struct world *w);

/* watch.c: the log port. */
void watch_log(void *arg, enum sink_stream stream, struct slice record);
void watch_publish(void *arg, enum sink_topic topic, struct slice key, struct slice record);
void watch_call(struct world *w, const struct call *call);

/* rules.c */
void rules_called(struct world *w, const struct call *call, const enum verdict *fates);
void rules_forget_flights(struct world *w);
/* The core has ended the call at the provider. */
void rules_ended(struct world *w, const struct call *call);
void rules_replied(struct world *w, struct client *c, struct slice chat);
/* A watch was told another machine's answer. */
void rules_watched(struct world *w, const struct client *c, struct slice chat);
/* Somebody asks for a deletion; what came of it. */
void rules_deleting(struct world *w, const char *request_id);
void rules_deleted(struct world *w, const char *request_id, uint64_t asked_us);
/* Every chat was taken out of the store. */
void rules_chats_gone(struct world *w);
/* Whatever anybody was told is still there, word for word. */
void rules_check_told(struct world *w);
/* rules_told.c: whoever was told an answer that still stands, for asking again; NULL: the end. at starts at
 * 0.
 */
const struct client *rules_next_told(struct world *w, size_t *at);

/* rules_batch.c */
void rules_sealed(struct world *w, const struct sight *seen, const struct batch *b);
void rules_sent(struct world *w, const struct call *call);
void rules_turned(struct world *w);
void rules_patience_free(struct world *w);

/* rules_key.c */
/* Where a call goes, as base_url_host() says it. */
void rules_key_host(const struct call *call, char ret_host[CONF_TEXT]);
/* A key is put for a host. */
void rules_key_given(struct world *w, const struct saved_key *key);
/* key: that the call is sent with; "": none. */
void rules_key_sent(struct world *w, const struct call *call, const char *key);
/* Whether that is the key for the call, with that one put. */
bool rules_key_is_put(const struct world *w, const struct call *call, const struct saved_key *saved,
                      const char *key);
void rules_key_free(struct world *w);

/* rules_cache.c */
/* It is put into a batch, or sent, for that model (unless it names one). */
void rules_cache_asked(struct world *w, const struct wire_submit *s, const char *model);
/* What it may take in tokens, with the settings in force. */
uint32_t rules_max_tokens(const struct world *w, const struct wire_submit *s);
/* c is told chat, which is one that is given again. */
void rules_cache_told(struct world *w, const struct client *c, const struct chat *chat);
void rules_cache_free(struct world *w);

/* rules_end.c */
/* Nobody has waited for longer than their deadline and a little. */
void rules_overdue(struct world *w);
/* Once nothing goes on any more: nothing is left behind, and the figures add up. */
void rules_final(struct world *w);
/* The keys that the core knows are those of the store (api_keys.c). */
void rules_keys(struct world *w);
void rules_free(struct world *w);

#endif
