# What pages need of other people's work is installed by npm (package-lock.json) and copied beside them, with its
# licences; it is never committed. Without npm there is none of it: pages show tables where charts would be, and /docs
# says what is missing.

UPLOT   := node_modules/uplot
SWAGGER := node_modules/swagger-ui-dist
VENDOR  := $(if $(wildcard $(UPLOT)/dist/uPlot.iife.min.js),$(addprefix web/vendor/,uPlot.iife.min.js uPlot.min.css uPlot.LICENSE)) \
           $(if $(wildcard $(SWAGGER)/swagger-ui-bundle.js),$(addprefix web/vendor/,swagger-ui-bundle.js swagger-ui.css \
           swagger-ui-bundle.js.LICENSE.txt swagger-ui.LICENSE swagger-ui.NOTICE))

COPY = @mkdir -p $(@D); echo "  COPY $@"; install -m 644 $< $@

web/vendor/uPlot.LICENSE: $(UPLOT)/LICENSE
	$(COPY)
web/vendor/uPlot%: $(UPLOT)/dist/uPlot%
	$(COPY)
web/vendor/swagger-ui.LICENSE: $(SWAGGER)/LICENSE
	$(COPY)
web/vendor/swagger-ui.NOTICE: $(SWAGGER)/NOTICE
	$(COPY)
web/vendor/swagger-ui%: $(SWAGGER)/swagger-ui%
	$(COPY)

.PHONY: pages
pages: $(VENDOR) ## copy what pages load into web/vendor, where npm installed it

all: pages
