# Kafka; see README.md.

KAFKA_TOOLS := $(BUILD)/kafka/broker $(BUILD)/kafka/consume

$(BUILD)/kafka/%: $(BUILD)/obj/tests/kafka/%.o
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(KAFKA_LIBS)

.PHONY: kafka
kafka: $(PROGRAMS) ## Kafka that is there, goes, hangs, comes late: T=name for some
	@$(MAKE) --no-print-directory $(if $(HAVE_RDKAFKA),$(KAFKA_TOOLS))
	@BUILD=$(BUILD) T=$(T) tests/kafka/run
