# Ways of installing; see README.md.

.PHONY: install-test
install-test: all ## make install, shared-hosting, deb and dist-bin under real web servers and in a chroot: T=name for some
	@etc/setup check
	@BUILD=$(BUILD) T=$(T) tests/install/run
