# The pages in a real browser; see README.md.

.PHONY: browser
browser: ## the pages in Chromium behind lighttpd, as people use them; accessibility too: T=name for some
	@etc/setup check
	@$(BUILDER) all
	@BUILD=$(BUILD) T=$(T) tests/browser/run
