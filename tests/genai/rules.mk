# Google's SDK as the reference for Gemini's API; see README.md.

.PHONY: genai
genai: ## Google's own SDK for JavaScript beside carpool, at the same fake Gemini; T=name for some
	@etc/setup check
	@$(BUILDER) all
	@BUILD=$(BUILD) T=$(T) tests/genai/run
