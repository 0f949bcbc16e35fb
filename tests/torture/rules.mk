# Programs whose allocations fail (tests/torture), all under AddressSanitizer. In them carpool's code is in a
# section of its own, by which the allocator tells its requests from those of the tests.
TORTURE      := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/torture/%) $(BUILD)/torture/scenario \
                $(patsubst tests/torture/test_%.c,$(BUILD)/torture/torture_%,$(wildcard tests/torture/test_*.c))
comma        := ,
TORTURE_RUN  := $(addprefix tests/torture/,runner.c quiet.c shim.c)
TORTURE_LIB  := $(BUILD)/torture/libcarpool.a
TORTURE_LIBS := -lfcgi $(COORD_LIBS)
marked        = $(1:%.c=$(BUILD)/marked/%.o)

$(BUILD)/marked/%.o: $(BUILD)/obj/%.o
	@mkdir -p $(@D)
	$(Q)objcopy --rename-section .text=carpool_text --rename-section .text.unlikely=carpool_text $< $@

$(TORTURE_LIB): $(call marked,$(LIB_SRC))
	@mkdir -p $(@D); rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BUILD)/obj/tests/torture/shim.o: CFLAGS += -fno-sanitize=all -fno-builtin

# Those of tests/torture may name rooms, as the harnesses of tests/fuzz do.
marked_links = $(call marked,$(shell sed -n 's,^/[/*] *LINK: *\([^*]*\).*,\1,p' $(1)))
marked_rooms = $(patsubst $(BUILD)/obj/fcgi_app/%,$(BUILD)/marked/fcgi_app/%,$(call rooms,$(1)))
$(BUILD)/torture/torture_%: $(BUILD)/obj/tests/torture/test_%.o $(call obj,tests/torture/unit.c $(TORTURE_RUN)) \
    $$(call marked_rooms,tests/torture/test_$$*.c) $(TORTURE_LIB)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(TORTURE_LIBS)

$(BUILD)/torture/test_%: $(BUILD)/obj/tests/unit/test_%.o $(call obj,tests/torture/unit.c $(TORTURE_RUN)) \
    $$(call marked_links,tests/unit/test_$$*.c) $(TORTURE_LIB)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(TORTURE_LIBS)

# Where lives.c stands between the core and its world.
TORTURE_WRAP := $(addprefix -Wl$(comma)--wrap=,core_receive core_turn core_maintain core_drain core_committed core_called \
    core_arrived core_claimed core_looked core_settings_put core_shared_standing core_shared_open \
    core_link_fini core_fini core_init intake_retract commit_apply_group client_read_all world_blame \
    settle_world world_open world_open_twin world_close world_crash process_crash process_leave process_take_over)
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
