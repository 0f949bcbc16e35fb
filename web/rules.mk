# What pages need of other people's work is installed by npm (package-lock.json) and copied beside them; it is never
# committed. Without npm there is none of it, and pages show tables where charts would be.

UPLOT  := node_modules/uplot/dist
VENDOR := $(if $(wildcard $(UPLOT)/uPlot.esm.js),web/vendor/uPlot.esm.js web/vendor/uPlot.min.css)

web/vendor/%: $(UPLOT)/%
	@mkdir -p $(@D)
	@echo "  COPY $@"
	$(Q)install -m 644 $< $@

.PHONY: pages
pages: $(VENDOR) ## copy what pages load into web/vendor, where npm installed it

all: pages
