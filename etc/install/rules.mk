# Installing and packing; etc/install has the scripts. Paths are those of the FHS and of GNU's variables.
#
#   make install PREFIX=/usr DESTDIR=/tmp/tree     systemd units and web servers' snippets included
#   make shared-hosting DEST=~/public_html/llm     for a site of one's own under somebody else's Apache
#   make dist-bin, make deb                        into build/dist

LIBEXECDIR = $(PREFIX)/libexec
DATADIR    = $(PREFIX)/share/carpool
MANDIR     = $(PREFIX)/share/man
DOCDIR     = $(PREFIX)/share/doc/carpool
# The system's prefixes share /etc and /var; any other one is a world of its own.
SYSTEM     = $(filter /usr /usr/local,$(PREFIX))
SYSCONFDIR = $(if $(SYSTEM),/etc,$(PREFIX)/etc)
STATEDIR   = $(if $(SYSTEM),,$(PREFIX))/var
# systemd looks in both of /usr/lib and /usr/local/lib.
UNITDIR    = $(PREFIX)/lib/systemd/system
DIST      ?= build/dist

INSTALL_VARIABLES = BUILD='$(BUILD)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' LIBEXECDIR='$(LIBEXECDIR)' DATADIR='$(DATADIR)' \
    MANDIR='$(MANDIR)' DOCDIR='$(DOCDIR)' SYSCONFDIR='$(SYSCONFDIR)' STATEDIR='$(STATEDIR)' UNITDIR='$(UNITDIR)'

.PHONY: install
install: all ## copy to $(DESTDIR)$(PREFIX), with systemd units, web servers' snippets, man pages
	@$(INSTALL_VARIABLES) etc/install/install

.PHONY: uninstall
uninstall: ## remove what make install put there; configuration that was changed, and all state, stay
	@$(INSTALL_VARIABLES) etc/install/install --remove

.PHONY: shared-hosting
shared-hosting: all ## lay out a site for Apache with mod_fcgid: DEST=~/public_html/llm DATA= BASE_PATH= PROCESSES=
	@BUILD='$(BUILD)' etc/install/shared-hosting --dest='$(DEST)' $(if $(DATA),--data='$(DATA)') \
	    $(if $(filter command line environment,$(origin BASE_PATH)),--base-path='$(BASE_PATH)') $(if $(PROCESSES),--processes='$(PROCESSES)')

# Without Redis and Kafka, which shared hosts have not: two trees of libraries fewer to carry.
PORTABLE := BUILD=build/portable HAVE_HIREDIS= HAVE_RDKAFKA= EXTRA_LDFLAGS='-Wl,--disable-new-dtags,-rpath,\$$$$ORIGIN/lib'

.PHONY: dist-bin
dist-bin: pages ## a tarball with its own libraries for hosts without a compiler, in build/dist
	@$(BUILDER) $(PORTABLE) all
	@BUILD=build/portable DIST='$(DIST)' etc/install/dist-bin

.PHONY: deb
deb: all ## a Debian package, in build/dist
	@BUILD='$(BUILD)' DIST='$(DIST)' etc/install/deb
