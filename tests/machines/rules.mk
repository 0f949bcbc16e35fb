# Several machines with one redis-server; see README.md.

BARE := build/bare

.PHONY: machines
machines: $(PROGRAMS) $(CRASH) ## several machines and a real Redis, then chaos under load: ROUNDS=30 SEED= T=name
	@etc/setup check
	@$(MAKE) --no-print-directory BUILD=$(BARE) HAVE_HIREDIS= all
	@BUILD=$(BUILD) BARE=$(BARE) T=$(T) ROUNDS=$(if $(filter command line environment,$(origin ROUNDS)),$(ROUNDS)) SEED=$(SEED) tests/machines/run
