# Kills, stops, crash points and power cuts; see README.md.

CRASH_SRC := $(filter-out %/powercut.c,$(wildcard tests/crash/*.c))
CRASH     := $(CRASH_SRC:tests/crash/%.c=$(BUILD)/crash/%)


$(BUILD)/crash/%: $(BUILD)/obj/tests/crash/%.o $(LIB)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIB_LIBS)

# A library: it goes under the coordinator with LD_PRELOAD.
$(BUILD)/crash/powercut.so: tests/crash/powercut.c
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) $(filter-out -fPIE -MMD -MP,$(CFLAGS)) -fPIC -shared -o $@ $<

ROUNDS ?= 40

.PHONY: crash
crash: $(PROGRAMS) $(CRASH) ## kill and stop parts under load, check the history: ROUNDS=200 SEED=
	@BUILD=$(BUILD) ROUNDS=$(ROUNDS) SEED=$(SEED) tests/crash/run

.PHONY: crash-points
crash-points: $(PROGRAMS) $(CRASH) ## kill -9 at every system call of a scenario that leaves a trace: POINTS=name
	@BUILD=$(BUILD) POINTS=$(POINTS) node tests/crash/points.js

.PHONY: powercut
powercut: $(PROGRAMS) $(CRASH) $(BUILD)/crash/powercut.so ## power cuts under load, unsynced writes lost or torn: ROUNDS=30 SEED=
	@BUILD=$(BUILD) ROUNDS=$(if $(filter command line environment,$(origin ROUNDS)),$(ROUNDS)) SEED=$(SEED) node tests/crash/powercut.js

.PHONY: mutants
mutants: $(PROGRAMS) $(SCENARIO) $(CRASH) $(BUILD)/crash/powercut.so ## break promises on purpose and see the tests notice: MUTANT=name
	@BUILD=$(BUILD) MUTANT="$(MUTANT)" node tests/crash/mutants.js
