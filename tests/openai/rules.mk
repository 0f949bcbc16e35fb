# OpenAI's own SDK as the client; see README.md.

.PHONY: openai
openai: ## OpenAI's own SDK for JavaScript as the client: chat, streams, abort, retries, errors; T=name for some
	@etc/setup check
	@$(BUILDER) all
	@BUILD=$(BUILD) T=$(T) tests/openai/run
