# Faults of the machine; see README.md.

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
