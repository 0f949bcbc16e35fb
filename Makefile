# carpool — see README.md. `make help` lists the targets.
#
# Variants share this file: BUILD names the tree, EXTRA the flags (see asan, tsan).
# T=name limits `make test` to the tests whose file name contains it.

BUILD ?= build/release
T     ?=
PREFIX ?= /usr/local
DESTDIR ?=

ifeq ($(origin CC),default)
CC     := gcc
endif
# V=1 shows the commands.
Q      := $(if $(V),,@)
OPT    ?= -O2
WARN   := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wformat=2 \
          -Wundef -Wvla -Wwrite-strings -Werror
# Those of the flags that this compiler has, asked once and told to the makes below this one. Not among them:
# -ftrivial-auto-var-init=zero, which hides from valgrind what was never set (and costs workers some 2 % of their time).
HARDEN_WANTED := -D_FORTIFY_SOURCE=3 -fstack-clash-protection -fcf-protection=full -mbranch-protection=standard
ifneq ($(HARDEN_FOR),$(CC))
export HARDEN_FOR   := $(CC)
export HARDEN_FOUND := $(shell for flag in $(HARDEN_WANTED); do \
    printf '\043include <string.h>\nint main(void) { return 0; }\n' | \
    $(CC) -Werror -O2 -U_FORTIFY_SOURCE $$flag -x c - -o /dev/null 2>/dev/null && echo $$flag; done)
endif
FORTIFY := -U_FORTIFY_SOURCE $(or $(filter -D_FORTIFY_SOURCE=%,$(HARDEN_FOUND)),-D_FORTIFY_SOURCE=2)
HARDEN  := -fPIE -fstack-protector-strong $(filter-out -D%,$(HARDEN_FOUND)) $(if $(filter -O0,$(OPT)),,$(FORTIFY))
# Sanitizers look around in /proc and trace; coverage writes its figures into the tree: no sandbox for them.
HARDEN  += $(if $(filter -fsanitize% --coverage,$(EXTRA)),-DCARPOOL_UNCONFINED)
CFLAGS += -std=gnu11 -g $(OPT) $(WARN) $(HARDEN) -pthread -D_GNU_SOURCE -DHASH_NONFATAL_OOM=1 -Ilib -Ifcgi_app -MMD -MP $(EXTRA)
LDFLAGS += -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code -Wl,--as-needed -pthread $(EXTRA) $(EXTRA_LDFLAGS)

# What is missing is left out: carpool then says so where it is switched on. HAVE_HIREDIS= builds without it.
has = $(shell pkg-config --exists $(1) 2>/dev/null && echo yes)
ifeq ($(origin HAVE_HIREDIS),undefined)
HAVE_HIREDIS := $(call has,hiredis)
endif
ifeq ($(origin HAVE_RDKAFKA),undefined)
HAVE_RDKAFKA := $(call has,rdkafka)
endif
ifeq ($(origin HAVE_SECCOMP),undefined)
HAVE_SECCOMP := $(call has,libseccomp)
endif
REDIS_LIBS   := $(if $(HAVE_HIREDIS),-lhiredis)
KAFKA_LIBS   := $(if $(HAVE_RDKAFKA),-lrdkafka)
FILTER_LIBS  := $(if $(HAVE_SECCOMP),-lseccomp)
CFLAGS       += $(if $(HAVE_RDKAFKA),-DHAVE_RDKAFKA) $(if $(HAVE_SECCOMP),-DHAVE_SECCOMP)

SHARED_SRC   := $(if $(HAVE_HIREDIS),$(filter-out lib/shared/none.c,$(wildcard lib/shared/*.c)),lib/shared/none.c)
LIB_SRC      := $(filter-out lib/shared/%,$(wildcard lib/*/*.c)) $(SHARED_SRC)
WORKER_SRC   := $(wildcard fcgi_app/worker/*.c)
COORD_SRC    := $(wildcard fcgi_app/coordinator/*.c)
CTL_SRC      := $(wildcard fcgi_app/ctl/*.c)
UNIT_SRC     := $(filter-out $(if $(HAVE_HIREDIS),,tests/unit/test_shared_%.c),$(wildcard tests/unit/test_*.c))
SCENARIO_SRC := $(wildcard tests/scenario/*.c)
BENCH_SRC    := $(wildcard tests/bench/*.c)

LIB      := $(BUILD)/libcarpool.a
PROGRAMS := $(if $(WORKER_SRC),$(BUILD)/carpool.fcgi) $(if $(COORD_SRC),$(BUILD)/carpoold) \
            $(if $(CTL_SRC),$(BUILD)/carpoolctl)
UNIT     := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/tests/%)
SCENARIO := $(if $(SCENARIO_SRC),$(BUILD)/tests/scenario)
BENCH    := $(BENCH_SRC:tests/bench/%.c=$(BUILD)/bench/%)

obj = $(1:%.c=$(BUILD)/obj/%.o)

LIB_LIBS    := -lcjson -lsodium -llmdb -linih $(FILTER_LIBS) -lm
WORKER_LIBS := -lfcgi $(LIB_LIBS)
COORD_LIBS  := -luv -lcurl $(REDIS_LIBS) $(KAFKA_LIBS) $(LIB_LIBS)

SANITIZE := BUILD=build/asan OPT=-O1 EXTRA="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"

.PHONY: all
all: $(PROGRAMS) ## build the programs
	@:

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(Q)$(CC) $(CFLAGS) -c -o $@ $<

# Made anew each time, so that objects of deleted sources do not linger in it.
$(LIB): $(call obj,$(LIB_SRC))
	@mkdir -p $(@D); rm -f $@
	@echo "  AR   $@"
	$(Q)$(AR) rcs $@ $^

# The document and its page are inside the program (.incbin), which -MMD does not see.
$(BUILD)/obj/fcgi_app/worker/api_docs.o: web/openapi.json web/docs.html

$(BUILD)/carpool.fcgi: $(call obj,$(WORKER_SRC)) $(LIB)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(WORKER_LIBS)

$(BUILD)/carpoold: $(call obj,$(COORD_SRC)) $(LIB)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(COORD_LIBS)

$(BUILD)/carpoolctl: $(call obj,$(CTL_SRC)) $(LIB)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIB_LIBS)

# A unit test that needs objects of a program names their sources in a comment of one line:
# /* LINK: fcgi_app/worker/route.c fcgi_app/worker/path.c */
.SECONDEXPANSION:
linked = $(call obj,$(shell sed -n 's,^/[/*] *LINK: *\([^*]*\).*,\1,p' $(1)))
$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $$(call linked,tests/unit/$$*.c) $(LIB)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcriterion -lfcgi $(COORD_LIBS)

# The real coordinator under a fake clock: everything of it but main().
$(BUILD)/tests/scenario: $(call obj,$(SCENARIO_SRC) $(filter-out %/main.c,$(COORD_SRC))) $(LIB)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(COORD_LIBS)

$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(LIB)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(WORKER_LIBS)

# Suites with programs of their own, and what pages load.
include $(wildcard tests/*/rules.mk) web/rules.mk etc/install/rules.mk

BUILDER = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

# What etc/setup installs must be there before anything is built, hence the second make.
.PHONY: setup
setup: ## install what is missing (Debian packages)
	@etc/setup

.PHONY: run
run: ## install, build, and run in the foreground: PORT=8000 HOST=127.0.0.1
	@etc/setup
	@$(BUILDER) all
	@exec env CARPOOL_BUILD="$${CARPOOL_BUILD:-$(abspath $(BUILD))}" etc/run

.PHONY: tests
tests: $(PROGRAMS) $(UNIT) $(SCENARIO) $(CRASH) ## build the programs and all tests

.PHONY: test
test: ## all tests: unit, scenario, integration; T=name for some
	@etc/setup
	@$(BUILDER) tests
	@BUILD=$(BUILD) T=$(T) tests/run unit scenario integration

.PHONY: unit
unit: $(UNIT) ## unit tests only
	@BUILD=$(BUILD) T=$(T) UNIT_RUNNER="$(UNIT_RUNNER)" UNIT_FLAGS="$(UNIT_FLAGS)" UNITS="$(UNIT)" tests/run unit

.PHONY: scenario
scenario: $(SCENARIO) ## scenario tests only
	@BUILD=$(BUILD) T=$(T) tests/run scenario

.PHONY: integration
integration: $(PROGRAMS) ## integration tests only
	@BUILD=$(BUILD) T=$(T) tests/run integration

# Each Criterion test is a process of its own, started anew: hence --trace-children.
.PHONY: valgrind
valgrind: $(UNIT) ## unit tests under valgrind
	@BUILD=$(BUILD) T=$(T) UNITS="$(UNIT)" UNIT_FLAGS="--jobs=2 --timeout=120" \
	    UNIT_RUNNER="valgrind -q --fair-sched=yes --trace-children=yes --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite" tests/run unit

.PHONY: asan
asan: ## everything under AddressSanitizer and UndefinedBehaviorSanitizer, in build/asan
	@$(BUILDER) $(SANITIZE) tests
	@BUILD=build/asan T=$(T) SANITIZED=1 tests/run unit scenario integration

# Not the unit tests: Criterion itself does not start under it.
.PHONY: tsan
tsan: ## scenarios and integration under ThreadSanitizer, in build/tsan
	@$(BUILDER) BUILD=build/tsan OPT=-O1 EXTRA=-fsanitize=thread all build/tsan/tests/scenario
	@BUILD=build/tsan T=$(T) SANITIZED=1 tests/run scenario integration

.PHONY: check
check: ## test, then lint and check-extra
	@etc/setup check
	@$(BUILDER) tests
	@tests/tally '$(MAKE) --no-print-directory test' '$(MAKE) --no-print-directory lint' \
	    '$(MAKE) --no-print-directory check-extra'

# LANES=2 runs two at a time, which takes three quarters of the time where nothing else needs the machine.
LANES ?= 1
EXTRA_SUITES := asan torture crash apache install-test redis kafka machines security openai genai browser prism fuzz crash-points \
    faults mutants powercut valgrind simulate

.PHONY: check-extra
check-extra: ## what check adds to test and lint: sanitizers, valgrind, faults, kills, power cuts, fuzzing
	@etc/setup check
	@$(BUILDER) tests
	@tests/tally --lanes=$(LANES) $(EXTRA_SUITES:%='$(MAKE) --no-print-directory %')

.PHONY: apache
apache: $(PROGRAMS) ## under Apache's mod_fcgid: prompts, stop, restart; 3 minutes
	@etc/setup check
	@BUILD=$(BUILD) T=$(T) tests/run apache
# Seeds that fail are printed, and replay: build/release/tests/scenario --random SEED 1 --verbose
SEEDS ?= 1000
FROM  ?= 1
.PHONY: simulate
simulate: $(SCENARIO) ## random lives of the coordinator with faults of all kinds: SEEDS=1000 FROM=1
	@$(SCENARIO) --random $(FROM) $(SEEDS) --jobs=$(shell nproc) --census

.PHONY: bench
bench: $(PROGRAMS) $(BENCH) ## compare with a bare FastCGI echo (needs wrk), and with LLAMA_SERVER, LLAMA_MODEL
	@BUILD=$(BUILD) node tests/bench/bench.js
	@BUILD=$(BUILD) node tests/bench/streams.js

.PHONY: lint
lint: ## formatting, clang-tidy, layers, configuration, scripts
	@etc/setup check
	@tests/lint/all.sh

C_FILES = $(shell find lib fcgi_app tests -name '*.[ch]')

.PHONY: format
format: ## put all C sources into the house format
	clang-format -i $(C_FILES)

.PHONY: coverage
coverage: ## line coverage of all tests, in build/coverage/index.html
	@etc/setup check
	@$(BUILDER) BUILD=build/coverage OPT=-O0 EXTRA=--coverage tests
	@find build/coverage -name '*.gcda' -delete
	@BUILD=build/coverage T=$(T) SANITIZED=1 tests/run unit scenario integration
	gcovr -r . --object-directory build/coverage -f lib/ -f fcgi_app/ \
	    --html-details build/coverage/index.html --print-summary

URL ?= http://$(or $(HOST),127.0.0.1):$(or $(PORT),8000)

.PHONY: quick-batch
quick-batch: ## 3 HIGH, 3 MEDIUM and 2 LOW prompts to a running server: URL=…
	@node etc/quick-batch $(URL)

.PHONY: batching-live
batching-live: ## several batching scenarios against a running server: URL=…
	@node etc/batching-live $(URL)

.PHONY: clean
clean: ## remove what was built (state in var/ stays)
	rm -rf build

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(filter-out %.d,$(MAKEFILE_LIST)) | sort | awk -F '\t' '{ printf "  make %-14s %s\n", $$1, $$2 }'

# Objects of tests are kept, or every run would compile them again.
.SECONDARY:

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
