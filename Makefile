# make demo    two gateways and a tunnel between them, shown from nothing to pings and down again
# make check   all tests
# make interop  all that is tried with strongSwan and libreswan, into docs/interop.md
# make bad-wire   200 tunnels set up with each peer over a wire that loses, delays and doubles; SET_UPS=20 for fewer
# make check-debug, make check-smp   the tests of klips.ko in a kernel that looks for mistakes: one with KASAN; one with two
#              processors, the lock validator and the leak detector, emulated. Each kernel is built once.
# make fuzz-module TIME=600   changed packets and PF_KEY messages into klips.ko; FLAVOUR=uml-debug or x86_64 for those kernels
# make attack   floods and forgeries against pluto for SECONDS=20 each; figures on what they cost and who gets in meanwhile
# make storm SEEDS=1-20 HOURS=24   random events for simulated hours, on both data paths: nothing in the clear, everything back
# make install, make uninstall   with PREFIX=, DESTDIR= and, for what `cargo build' made, PROFILE=debug

# Tests of one program that run at a time, and programs of integration tests. Where a program's last test goes on alone, the next
# program's keep the processors busy.
THREADS ?= $(shell nproc)
ABREAST ?= 2

PREFIX ?= /usr/local
UNITDIR ?= $(PREFIX)/lib/systemd/system
CARGO ?= cargo
PROFILE ?= release

SBIN = $(DESTDIR)$(PREFIX)/sbin
LIBEXEC = $(DESTDIR)$(PREFIX)/libexec/ipsec
SRC = $(DESTDIR)$(PREFIX)/src
MAN = $(DESTDIR)$(PREFIX)/share/man
ETC = $(DESTDIR)/etc
UNITS = $(DESTDIR)$(UNITDIR)

TARGET = $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
BUILT = $(TARGET)/$(PROFILE)
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
KLIPS_SOURCE = $(TARGET)/klips-$(VERSION)
PROGRAMS = pluto klipsd whack
MAN5 = $(notdir $(wildcard man/*.5))
MAN8 = $(notdir $(wildcard man/*.8))

.PHONY: all build klips-source demo check lint test check-debug check-smp interop bad-wire attack storm fuzz fuzz-module install uninstall bench bench-kernel clean

all: build

build:
	testing/prereqs build
	$(CARGO) build $(if $(filter release,$(PROFILE)),--release) --locked --workspace --bins
	$(MAKE) klips-source

# klips.ko with all that it is built from, for dkms.
klips-source:
	$(MAKE) -s -C klips-kmod source "SOURCE=$(abspath $(KLIPS_SOURCE))" CARGO=$(CARGO)

demo:
	testing/prereqs test
	$(CARGO) build --locked --workspace --bins
	HOLD=$(HOLD) $(TARGET)/debug/demo

check: lint test

lint:
	testing/prereqs test
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	for script in conf/_updown testing/prereqs testing/integration testing/storm testing/kernels/build testing/kernels/init testing/kernels/module testing/kernels/run; do sh -n $$script || exit 1; done
	mandoc -T lint -W error man/*.[58]

test:
	testing/prereqs test
	testing/prereqs kernel
	testing/prereqs interop
	testing/kernels/build uml
	testing/kernels/module uml
	$(CARGO) build --locked --workspace --bins
	$(CARGO) test --locked --workspace --lib --bins
	$(CARGO) test --locked --workspace --doc
	RUST_TEST_THREADS=$(THREADS) CARGO=$(CARGO) testing/integration $(ABREAST)

check-debug: FLAVOUR = uml-debug
check-smp: FLAVOUR = x86_64
check-debug check-smp:
	testing/prereqs test
	testing/prereqs kernel $(FLAVOUR)
	testing/kernels/build $(FLAVOUR)
	testing/kernels/module $(FLAVOUR)
	$(CARGO) build --locked --workspace --bins
	TESTBED_FLAVOUR=$(FLAVOUR) $(CARGO) test --locked -p testing --no-fail-fast klips_ko

FLAVOUR ?= uml
# Another one each time, unless it is given; the test says it.
FUZZ_SEED ?= $(shell date +%s)
fuzz-module:
	testing/prereqs kernel $(FLAVOUR)
	testing/kernels/module $(FLAVOUR)
	$(CARGO) test --locked -p testing --test fuzz_module --no-run
	TESTBED_FLAVOUR=$(FLAVOUR) FUZZ_SECONDS=$(TIME) FUZZ_SEED=$(FUZZ_SEED) TESTBED_SECONDS=$$(($(TIME) + 600)) \
		$(CARGO) test --locked -p testing --test fuzz_module -- --nocapture

# Seconds for each target; `cargo install cargo-fuzz` first.
TIME ?= 60
fuzz:
	cd testing/fuzz && for target in $$(RUSTC_BOOTSTRAP=1 $(CARGO) fuzz list --fuzz-dir .); do \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir . $$target -- -max_total_time=$(TIME) -max_len=4096 || exit 1; \
	done

bench:
	$(CARGO) bench --locked --workspace
	$(CARGO) build --release --locked --workspace --bins
	$(TARGET)/release/bench $(ONLY)

# With ROWS='strongswan they AH', only the rows that have these words, and their cells of the table; ROWS=untried for those left out.
ROWS ?=
interop:
	testing/prereqs kernel
	testing/prereqs interop
	testing/kernels/build uml
	testing/kernels/module uml
	$(CARGO) build --locked --workspace --bins
	$(TARGET)/debug/interop $(ROWS)

SET_UPS ?= 200
bad-wire:
	testing/prereqs kernel
	testing/prereqs interop
	testing/kernels/module uml
	$(CARGO) build --locked --workspace --bins
	BAD_WIRE_SET_UPS=$(SET_UPS) TESTBED_SECONDS=$$((600 + 30 * $(SET_UPS))) \
		$(CARGO) test --locked -p testing --test peers over_a_bad_wire

# Longer than in `make check', and the figures are shown.
SECONDS ?= 20
attack:
	testing/prereqs test
	$(CARGO) build --locked --workspace --bins
	ATTACK_SECONDS=$(SECONDS) TESTBED_SECONDS=$$((600 + 20 * $(SECONDS))) \
		$(CARGO) test --locked --workspace --test attacks -- --nocapture --test-threads=1

# SEEDS="1 2 7" or SEEDS=1-20, so many ABREAST; ON=klipsd or ON=klips_ko for one data path. What happened is in files in $(TARGET)/storm.
SEED ?= 1
SEEDS ?= $(SEED)
HOURS ?= 24
ON ?= klipsd klips_ko
# Seconds between events at most. Half an hour of processor time for a day with 3600; many times that with 240.
CALM ?= 3600
storm:
	testing/prereqs test
	testing/prereqs kernel
	testing/kernels/module uml
	$(CARGO) build --locked --workspace --bins
	STORM_CALM=$(CALM) CARGO=$(CARGO) testing/storm $(ABREAST) $(HOURS) $(TARGET)/storm "$(ON)" $(SEEDS)

# klips.ko beside XFRM and plain forwarding, in one boot of the test kernel. ONLY=aes128, for one, measures that alone.
bench-kernel:
	testing/prereqs test
	testing/prereqs kernel
	$(CARGO) build --release --locked -p testing --bin bench-kernel
	$(TARGET)/release/bench-kernel $(ONLY)

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
	[ ! -d $(KLIPS_SOURCE) ] || { rm -rf $(SRC)/klips-$(VERSION) && install -d $(SRC) && cp -R $(KLIPS_SOURCE) $(SRC); }
	sed -i 's,@PREFIX@,$(PREFIX),' $(UNITS)/ipsec.service
	[ -e $(ETC)/ipsec.conf ] || install -m 644 conf/ipsec.conf $(ETC)
	[ -e $(ETC)/ipsec.secrets ] || install -m 600 conf/ipsec.secrets $(ETC)
	@for group in conf/policies/*; do \
		[ -e $(ETC)/ipsec.d/policies/$${group##*/} ] || install -m 644 $$group $(ETC)/ipsec.d/policies || exit 1; \
	done

# The configuration is the administrator's and stays.
uninstall:
	rm -f $(SBIN)/ipsec $(addprefix $(LIBEXEC)/,$(PROGRAMS) _updown) $(UNITS)/ipsec.service
	rm -f $(addprefix $(MAN)/man5/,$(MAN5)) $(addprefix $(MAN)/man8/,$(MAN8))
	rm -rf $(SRC)/klips-$(VERSION)
	[ ! -d $(LIBEXEC) ] || rmdir $(LIBEXEC)

clean:
	$(CARGO) clean
