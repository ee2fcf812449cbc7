# make demo    two gateways and a tunnel between them, shown from nothing to pings and down again
# make check   all tests
# make interop  all that is tried with strongSwan and libreswan, into docs/interop.md
# make install, make uninstall   with PREFIX=, DESTDIR= and, for what `cargo build' made, PROFILE=debug

PREFIX ?= /usr/local
UNITDIR ?= $(PREFIX)/lib/systemd/system
CARGO ?= cargo
PROFILE ?= release

SBIN = $(DESTDIR)$(PREFIX)/sbin
LIBEXEC = $(DESTDIR)$(PREFIX)/libexec/ipsec
MAN = $(DESTDIR)$(PREFIX)/share/man
ETC = $(DESTDIR)/etc
UNITS = $(DESTDIR)$(UNITDIR)

TARGET = $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
BUILT = $(TARGET)/$(PROFILE)
PROGRAMS = pluto klipsd whack
MAN5 = $(notdir $(wildcard man/*.5))
MAN8 = $(notdir $(wildcard man/*.8))

.PHONY: all build demo check lint test install uninstall fuzz bench interop clean

all: build

build:
	testing/prereqs build
	$(CARGO) build $(if $(filter release,$(PROFILE)),--release) --locked --workspace --bins

demo:
	testing/prereqs test
	$(CARGO) build --locked --workspace --bins
	HOLD=$(HOLD) $(TARGET)/debug/demo

check: lint test

lint:
	testing/prereqs test
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	for script in conf/_updown testing/prereqs testing/kernels/build testing/kernels/init testing/kernels/module testing/kernels/run; do sh -n $$script || exit 1; done
	mandoc -T lint -W error man/*.[58]

test:
	testing/prereqs test
	testing/prereqs kernel
	testing/prereqs interop
	testing/kernels/build uml
	testing/kernels/module uml
	$(CARGO) build --locked --workspace --bins
	$(CARGO) test --locked --workspace

# Seconds for each target; `cargo install cargo-fuzz` first.
TIME ?= 60
fuzz:
	cd testing/fuzz && for target in $$(RUSTC_BOOTSTRAP=1 $(CARGO) fuzz list --fuzz-dir .); do \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir . $$target -- -max_total_time=$(TIME) -max_len=4096 || exit 1; \
	done

bench:
	$(CARGO) bench --locked --workspace
	$(CARGO) build --release --locked --workspace --bins
	$(TARGET)/release/bench

# With ROWS='strongswan they AH', only the rows that have these words, and the table stays as it is.
ROWS ?=
interop:
	testing/prereqs kernel
	testing/prereqs interop
	testing/kernels/build uml
	testing/kernels/module uml
	$(CARGO) build --locked --workspace --bins
	$(TARGET)/debug/interop $(ROWS)

# Under sudo there is often no cargo: then what `make' has built is installed.
install: $(if $(shell command -v $(CARGO) 2>/dev/null),build)
	@for program in ipsec $(PROGRAMS); do \
		[ -x $(BUILT)/$$program ] || { echo "$(BUILT)/$$program is not built: run \`make' first" >&2; exit 1; }; \
	done
	install -d $(SBIN) $(LIBEXEC) $(MAN)/man5 $(MAN)/man8 $(ETC)/ipsec.d/policies $(UNITS)
	install -m 755 $(BUILT)/ipsec $(SBIN)
	install -m 755 $(addprefix $(BUILT)/,$(PROGRAMS)) conf/_updown $(LIBEXEC)
	install -m 644 $(addprefix man/,$(MAN5)) $(MAN)/man5
	install -m 644 $(addprefix man/,$(MAN8)) $(MAN)/man8
	install -m 644 conf/ipsec.service $(UNITS)
	sed -i 's,@PREFIX@,$(PREFIX),' $(UNITS)/ipsec.service
	[ -e $(ETC)/ipsec.conf ] || install -m 644 conf/ipsec.conf $(ETC)
	[ -e $(ETC)/ipsec.secrets ] || install -m 600 conf/ipsec.secrets $(ETC)

# The configuration is the administrator's and stays.
uninstall:
	rm -f $(SBIN)/ipsec $(addprefix $(LIBEXEC)/,$(PROGRAMS) _updown) $(UNITS)/ipsec.service
	rm -f $(addprefix $(MAN)/man5/,$(MAN5)) $(addprefix $(MAN)/man8/,$(MAN8))
	[ ! -d $(LIBEXEC) ] || rmdir $(LIBEXEC)

clean:
	$(CARGO) clean
