# The integration tests through prism; see README.md.

.PHONY: prism
prism: $(PROGRAMS) ## integration tests through prism, which holds both sides to web/openapi.json: T=name for some
	@etc/setup check
	@BUILD=$(BUILD) T=$(T) tests/prism/run
