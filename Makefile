# carpool — see README.md. `make help` lists the targets.
#
# Variants share this file: BUILD names the tree, EXTRA the flags (see asan, tsan).
# T=name limits `make test` to the tests whose file name contains it.

BUILD ?= build/release
T     ?=
PREFIX ?= /usr/local

PKGS   := libuv libcjson libsodium lmdb inih libcurl
CC     ?= gcc
OPT    ?= -O2
WARN   := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wformat=2 \
          -Wundef -Wvla -Wwrite-strings -Werror
HARDEN := -fstack-protector-strong -fPIE $(if $(filter -O0,$(OPT)),,-D_FORTIFY_SOURCE=2)
CFLAGS += -std=gnu11 -g $(OPT) $(WARN) $(HARDEN) -pthread -D_GNU_SOURCE -Ilib -Ifcgi_app -MMD -MP $(EXTRA)
LDFLAGS += -pie -Wl,-z,relro,-z,now -pthread $(EXTRA)

LIB_SRC    := $(wildcard lib/*/*.c)
WORKER_SRC := $(wildcard fcgi_app/worker/*.c)
COORD_SRC  := $(wildcard fcgi_app/coordinator/*.c)
UNIT_SRC   := $(wildcard tests/unit/test_*.c)

LIB      := $(BUILD)/libcarpool.a
PROGRAMS := $(if $(WORKER_SRC),$(BUILD)/carpool.fcgi) $(if $(COORD_SRC),$(BUILD)/carpoold)
UNIT     := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/tests/%)

obj = $(1:%.c=$(BUILD)/obj/%.o)

LIB_LIBS    := -lcjson -lsodium -llmdb -linih -lm
WORKER_LIBS := -lfcgi $(LIB_LIBS)
COORD_LIBS  := -luv -lcurl $(LIB_LIBS)

.PHONY: all
all: $(PROGRAMS) ## build the programs

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<

# Made anew each time, so that objects of deleted sources do not linger in it.
$(LIB): $(call obj,$(LIB_SRC))
	@mkdir -p $(@D); rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/carpool.fcgi: $(call obj,$(WORKER_SRC)) $(LIB)
	$(CC) $(LDFLAGS) -o $@ $^ $(WORKER_LIBS)

$(BUILD)/carpoold: $(call obj,$(COORD_SRC)) $(LIB)
	$(CC) $(LDFLAGS) -o $@ $^ $(COORD_LIBS)

$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIB_LIBS) -lcriterion

.PHONY: unit
unit: $(UNIT) ## unit tests only
	@set -e; for t in $(foreach u,$(UNIT),$(if $(findstring $(T),$(u)),$(u))); do echo "$$t"; $(UNIT_RUNNER) $$t $(UNIT_FLAGS); done

.PHONY: clean
clean: ## remove what was built (state in var/ stays)
	rm -rf build

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
