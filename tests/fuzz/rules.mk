# The fuzz harnesses: built by clang into a tree of their own. ROOMS in the first line of a harness names what it needs
# besides lib: directories (all of them but main) and files. What judges (the oracles) is not to guide the fuzzer.
FUZZ_SRC    := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ        := $(FUZZ_SRC:tests/fuzz/fuzz_%.c=$(BUILD)/fuzz/%)
FUZZ_SANS   := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FUZZING     := BUILD=build/fuzz CC=clang OPT=-O1 FUZZ_LINK=-fsanitize=fuzzer EXTRA="-fsanitize=fuzzer-no-link $(FUZZ_SANS)"
FUZZ_JUDGES := fuzz reference front front_check provider_check core_world core_workers core_provider
# Nor is what each byte of output goes through: it takes a fifth of the time and tells nothing of the input.
FUZZ_PIPES  := base/buf json/write
$(FUZZ_JUDGES:%=$(BUILD)/obj/tests/fuzz/%.o) $(FUZZ_PIPES:%=$(BUILD)/obj/lib/%.o): override EXTRA := $(filter-out -fsanitize=fuzzer-no-link,$(EXTRA))

rooms = $(call obj,$(filter-out %/main.c,$(foreach r,$(shell sed -n 's,^/[*] *ROOMS: *\([^*]*\).*,\1,p' $(1)),$(or $(wildcard $(r)/*.c),$(r)))))
$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/obj/tests/fuzz/fuzz.o $$(call rooms,tests/fuzz/fuzz_$$*.c) $(LIB)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) $(FUZZ_LINK) -o $@ $^ -lfcgi $(COORD_LIBS)

# make run from a shell that has a variable of that name (bash) must not take it for ours.
FUZZ_SECONDS = $(if $(filter command,$(firstword $(origin SECONDS))),$(SECONDS),60)

.PHONY: fuzz fuzz-harnesses
fuzz-harnesses: $(FUZZ)
fuzz: ## libFuzzer harnesses, two at a time: SECONDS=60 each (0: only their corpora), SEED=; T=name for some
	@etc/setup check
	@$(BUILDER) $(FUZZING) fuzz-harnesses
	@node tests/fuzz/run.js --seconds $(FUZZ_SECONDS) --match '$(T)'
