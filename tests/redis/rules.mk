# lib/shared against a real redis-server; see README.md.
REDIS_SRC  := $(if $(HAVE_HIREDIS),$(wildcard tests/redis/*.c))
REDIS_TEST := $(if $(REDIS_SRC),$(BUILD)/tests/redis)

$(BUILD)/tests/redis: $(call obj,$(REDIS_SRC)) $(LIB)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -luv $(REDIS_LIBS) $(LIB_LIBS)

.PHONY: redis-program
redis-program: $(REDIS_TEST)

.PHONY: redis
redis: ## lib/shared against a real redis-server: how fast, then tests under AddressSanitizer: T=name
	@etc/setup check
	@$(BUILDER) redis-program
	@$(BUILDER) $(SANITIZE) redis-program
	@T=$(T) tests/redis/run $(BUILD)/tests/redis build/asan/tests/redis

$(BUILD)/obj/tests/redis/memory.o: CFLAGS += -fno-sanitize=all -fno-builtin
