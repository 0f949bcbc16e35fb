# What strangers, neighbours and hostile prompts try; see README.md.

.PHONY: security
security: $(PROGRAMS) ## strangers, other users, hostile headers and prompts, slow clients, garbage on sockets: T=name for some
	@etc/setup check
	@BUILD=$(BUILD) T=$(T) tests/security/run
