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
HARDEN := -fstack-protector-strong -fPIE $(if $(filter -O0,$(OPT)),,-D_FORTIFY_SOURCE=2)
CFLAGS += -std=gnu11 -g $(OPT) $(WARN) $(HARDEN) -pthread -D_GNU_SOURCE -DHASH_NONFATAL_OOM=1 -Ilib -Ifcgi_app -MMD -MP $(EXTRA)
LDFLAGS += -pie -Wl,-z,relro,-z,now -Wl,--as-needed -pthread $(EXTRA)

LIB_SRC      := $(wildcard lib/*/*.c)
WORKER_SRC   := $(wildcard fcgi_app/worker/*.c)
COORD_SRC    := $(wildcard fcgi_app/coordinator/*.c)
UNIT_SRC     := $(wildcard tests/unit/test_*.c)
SCENARIO_SRC := $(wildcard tests/scenario/*.c)
BENCH_SRC    := $(wildcard tests/bench/*.c)

LIB      := $(BUILD)/libcarpool.a
PROGRAMS := $(if $(WORKER_SRC),$(BUILD)/carpool.fcgi) $(if $(COORD_SRC),$(BUILD)/carpoold)
UNIT     := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/tests/%)
SCENARIO := $(if $(SCENARIO_SRC),$(BUILD)/tests/scenario)
BENCH    := $(BENCH_SRC:tests/bench/%.c=$(BUILD)/bench/%)

obj = $(1:%.c=$(BUILD)/obj/%.o)

LIB_LIBS    := -lcjson -lsodium -llmdb -linih -lm
WORKER_LIBS := -lfcgi $(LIB_LIBS)
COORD_LIBS  := -luv -lcurl $(LIB_LIBS)

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

# The document is inside the program (.incbin), which -MMD does not see.
$(BUILD)/obj/fcgi_app/worker/api_docs.o: web/openapi.json

$(BUILD)/carpool.fcgi: $(call obj,$(WORKER_SRC)) $(LIB)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(WORKER_LIBS)

$(BUILD)/carpoold: $(call obj,$(COORD_SRC)) $(LIB)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(COORD_LIBS)

# A unit test that needs objects of a program names their sources in a comment of one line:
# /* LINK: fcgi_app/worker/route.c fcgi_app/worker/path.c */
.SECONDEXPANSION:
linked = $(call obj,$(shell sed -n 's,^/[/*] *LINK: *\([^*]*\).*,\1,p' $(1)))
$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $$(call linked,tests/unit/$$*.c) $(LIB)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcriterion -lfcgi -luv -lcurl $(LIB_LIBS)

# The real coordinator under a fake clock: everything of it but main().
$(BUILD)/tests/scenario: $(call obj,$(SCENARIO_SRC) $(filter-out %/main.c,$(COORD_SRC))) $(LIB)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(COORD_LIBS)

$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(LIB)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(WORKER_LIBS)

# Suites with programs of their own.
include $(wildcard tests/*/rules.mk)

BUILDER = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

# What etc/setup installs must be there before anything is built, hence the second make.
.PHONY: setup
setup: ## install what is missing (Debian packages)
	@etc/setup

.PHONY: run
run: ## install, build, and run in the foreground: PORT=8000 HOST=127.0.0.1
	@etc/setup
	@$(BUILDER) all
	@CARPOOL_BUILD="$${CARPOOL_BUILD:-$(abspath $(BUILD))}" etc/run

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
check: ## test, then lint, valgrind and the sanitizers
	@etc/setup check
	@$(BUILDER) tests
	@tests/tally '$(MAKE) --no-print-directory test' '$(MAKE) --no-print-directory lint' \
	    '$(MAKE) --no-print-directory check-extra'

.PHONY: check-extra
check-extra: ## what check adds to test and lint
	@etc/setup check
	@tests/tally '$(MAKE) --no-print-directory valgrind' '$(MAKE) --no-print-directory asan'

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
bench: $(PROGRAMS) $(BENCH) ## compare with a bare FastCGI echo (needs wrk)
	@BUILD=$(BUILD) node tests/bench/bench.js

ROUNDS ?= 40

.PHONY: crash
crash: $(PROGRAMS) $(CRASH) ## kill and stop parts under load, check the history: ROUNDS=200 SEED=
	@BUILD=$(BUILD) ROUNDS=$(ROUNDS) SEED=$(SEED) tests/crash/run
# What libfiu does not know how to make fail.
$(BUILD)/faults/%.so: tests/faults/%.c
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) -std=gnu11 -O2 $(WARN) -D_GNU_SOURCE -shared -fPIC -o $@ $< -lfiu

.PHONY: faults
faults: $(PROGRAMS) ## failing system calls, a full disk, no descriptors, clock steps: T=name for some
	@etc/setup check
	@$(MAKE) --no-print-directory $(BUILD)/faults/accept4.so
	@BUILD=$(BUILD) T=$(T) tests/faults/run
# Programs whose allocations fail (tests/torture), all under AddressSanitizer. In them carpool's code is in a
# section of its own, by which the allocator tells its requests from those of the tests.
TORTURE      := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/torture/%) $(BUILD)/torture/scenario \
                $(patsubst tests/torture/test_%.c,$(BUILD)/torture/torture_%,$(wildcard tests/torture/test_*.c))
comma        := ,
TORTURE_RUN  := $(addprefix tests/torture/,runner.c quiet.c shim.c)
TORTURE_LIB  := $(BUILD)/torture/libcarpool.a
TORTURE_LIBS := -lfcgi -luv -lcurl $(LIB_LIBS)
marked        = $(1:%.c=$(BUILD)/marked/%.o)

$(BUILD)/marked/%.o: $(BUILD)/obj/%.o
	@mkdir -p $(@D)
	$(Q)objcopy --rename-section .text=carpool_text --rename-section .text.unlikely=carpool_text $< $@

$(TORTURE_LIB): $(call marked,$(LIB_SRC))
	@mkdir -p $(@D); rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BUILD)/obj/tests/torture/shim.o: CFLAGS += -fno-sanitize=all -fno-builtin

marked_links = $(call marked,$(shell sed -n 's,^/[/*] *LINK: *\([^*]*\).*,\1,p' $(1)))
$(BUILD)/torture/torture_%: $(BUILD)/obj/tests/torture/test_%.o $(call obj,tests/torture/unit.c $(TORTURE_RUN)) \
    $$(call marked_links,tests/torture/test_$$*.c) $(TORTURE_LIB)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(TORTURE_LIBS)

$(BUILD)/torture/test_%: $(BUILD)/obj/tests/unit/test_%.o $(call obj,tests/torture/unit.c $(TORTURE_RUN)) \
    $$(call marked_links,tests/unit/test_$$*.c) $(TORTURE_LIB)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(TORTURE_LIBS)

# Where lives.c stands between the core and its world.
TORTURE_WRAP := $(addprefix -Wl$(comma)--wrap=,core_receive core_turn core_maintain core_drain core_committed core_called \
    core_link_fini core_fini core_init commit_apply_group client_read_all world_blame settle_world world_open world_crash)
$(BUILD)/torture/scenario: $(call obj,tests/torture/lives.c $(filter-out %/main.c,$(SCENARIO_SRC)) $(TORTURE_RUN)) \
    $(call marked,$(filter-out %/main.c,$(COORD_SRC))) $(TORTURE_LIB)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) $(TORTURE_WRAP) -o $@ $^ $(TORTURE_LIBS)

.PHONY: torture-programs
torture-programs: $(TORTURE)

.PHONY: torture
torture: ## every test with memory that fails, once and for ever: T=name, TORTURE=all
	@$(BUILDER) $(subst build/asan,build/torture,$(SANITIZE)) torture-programs
	@BUILD=build/torture T=$(T) tests/torture/run
# make run from a shell that has a variable of that name (bash) must not take it for ours.
FUZZ_SECONDS = $(if $(filter command,$(firstword $(origin SECONDS))),$(SECONDS),60)

.PHONY: fuzz fuzz-harnesses
fuzz-harnesses: $(FUZZ)
fuzz: ## libFuzzer harnesses, two at a time: SECONDS=60 each (0: only their corpora); T=name for some
	@etc/setup check
	@$(BUILDER) $(FUZZING) fuzz-harnesses
	@node tests/fuzz/run.js --seconds $(FUZZ_SECONDS) --match '$(T)'

.PHONY: crash-points
crash-points: $(PROGRAMS) $(CRASH) ## kill -9 at every system call of a scenario that leaves a trace: POINTS=name
	@BUILD=$(BUILD) POINTS=$(POINTS) node tests/crash/points.js

.PHONY: powercut
powercut: $(PROGRAMS) $(CRASH) $(BUILD)/crash/powercut.so ## power cuts under load, unsynced writes lost or torn: ROUNDS=30 SEED=
	@BUILD=$(BUILD) ROUNDS=$(if $(filter command line environment,$(origin ROUNDS)),$(ROUNDS)) SEED=$(SEED) node tests/crash/powercut.js

.PHONY: mutants
mutants: $(PROGRAMS) $(SCENARIO) $(CRASH) $(BUILD)/crash/powercut.so ## break promises on purpose and see the tests notice: MUTANT=name
	@BUILD=$(BUILD) MUTANT="$(MUTANT)" node tests/crash/mutants.js

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

HOME_DIR = $(DESTDIR)$(PREFIX)/lib/carpool

.PHONY: install
install: $(PROGRAMS) ## copy to $(DESTDIR)$(PREFIX)/lib/carpool
	install -d $(HOME_DIR)/etc/errors $(HOME_DIR)/web
	install $(PROGRAMS) $(HOME_DIR)/
	install -m 644 lighttpd.conf $(HOME_DIR)/
	install etc/run etc/lighttpd-env.sh $(HOME_DIR)/etc/
	install -m 644 etc/instance.sh etc/follow.js etc/carpool.conf $(HOME_DIR)/etc/
	install -m 644 etc/errors/*.html $(HOME_DIR)/etc/errors/
	cp -R web/. $(HOME_DIR)/web/

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
