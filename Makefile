# Basalt. `make help` lists what there is. Variants lie beside each other: build/, build-asan/, build-tsan/.

SHELL := /bin/bash
CC ?= gcc
SAN ?=
B := build$(if $(SAN),-$(SAN))

WARN := -Wall -Wextra -Wconversion -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wcast-qual
WERROR := $(if $(CI),-Werror)
HARDEN := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fcf-protection
OPT := -O2 -g
ifeq ($(SAN),asan)
HARDEN := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
OPT := -O1 -g
endif
ifeq ($(SAN),tsan)
HARDEN := -fsanitize=thread -fno-omit-frame-pointer
OPT := -O1 -g
endif
CFLAGS := -std=gnu17 $(OPT) $(WARN) $(WERROR) $(HARDEN) -fPIC -fvisibility=hidden -D_GNU_SOURCE -MMD -MP $(EXTRA_CFLAGS)
LDFLAGS := $(if $(SAN),$(HARDEN)) -Wl,-z,relro,-z,now -Wl,--as-needed

COMMON_LIBS := -lcrypto -lsodium -llzo2 -lzstd -lconfuse -lsqlite3 -lmariadb
KEYD_LIBS := -lseccomp
LMTP_LIBS := -lseccomp -ljansson -lpthread
# libopendkim is to find dkim_keys.c before libcrypto.
MILTER_LIBS := -Wl,--export-dynamic-symbol=d2i_PUBKEY_bio -lseccomp -lmilter -ljansson -lunbound -lspf2 -lopendkim -lpsl -lpthread
CTL_LIBS := -lseccomp -ljansson -lz
DOVECOT_INC := -DHAVE_CONFIG_H -isystem /usr/include/dovecot
MARIADB_INC := -isystem /usr/include/mariadb

# One short line a step; V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1)  $(2)")

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
COMMON := $(wildcard common/*.c)
KEYD := $(wildcard keyd/*.c)
MILTER := $(wildcard milter/*.c milter/checks/*.c)
LMTP := $(wildcard lmtp/*.c)
CTL := $(wildcard ctl/*.c)
AUTHDB := $(wildcard dovecot-plugin/passdb*.c) dovecot-plugin/builtfor.c
DOVEADM := $(wildcard dovecot-plugin/doveadm*.c)
PLUGIN := $(filter-out dovecot-plugin/passdb% $(DOVEADM),$(wildcard dovecot-plugin/*.c))
UNIT := $(wildcard tests/unit/test_*.c)
FUZZ := $(wildcard tests/fuzz/fuzz_*.c)
DOC = $(DESTDIR)/usr/share/doc/basalt
GEN := $(B)/gen/sql_keys.c $(B)/gen/sql_policy.c

PROGRAMS := $(if $(KEYD),$(B)/basalt-keyd) $(if $(MILTER),$(B)/basalt-milter) $(if $(LMTP),$(B)/basalt-lmtp) $(if $(CTL),$(B)/basaltctl) \
	$(if $(PLUGIN),$(B)/dovecot/lib10_basalt_plugin.so) $(if $(DOVEADM),$(B)/dovecot/doveadm/lib10_doveadm_basalt_plugin.so) $(if $(AUTHDB),$(B)/dovecot/auth/libauthdb_basalt.so)
UNIT_BINS := $(patsubst tests/unit/%.c,$(B)/tests/%,$(UNIT))
FUZZ_BINS := $(patsubst tests/fuzz/%.c,build-fuzz/%,$(FUZZ))
TEST_TOOLS := $(patsubst tests/tools/%.c,$(B)/tools/%,$(wildcard tests/tools/*.c))

.PHONY: FORCE all help demo demo-stop test test-long test-vm imaptest check check-asan check-tsan fuzz analyze layers bench bench-filters bench-keyd bench-msgfmt deps deps-test install uninstall clean bench-plots
.DELETE_ON_ERROR:
.SECONDARY:

all: $(PROGRAMS) ## builds the programs and the Dovecot plugins into build/

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 14

demo: deps ## a private system with two accounts: mail in by SMTP, sealed on disk, out by IMAP
	@$(MAKE) --no-print-directory all
	@tests/demo start

demo-stop: ## stops what `make demo` left running
	@tests/demo stop

deps: ## installs the Debian packages that building and running need
	@tools/deps build run

deps-test: ## and those that the tests need
	@tools/deps build run test
	@tools/deps extra || echo 'deps: some tests will be skipped'

test: deps-test ## everything; ends with "N passed, N failed, N skipped"
	@tests/run

test-long: deps-test ## the slow variants, and test-vm behind them: hours
	@tools/deps vm
	@tests/run --long
	@tests/vm/run

test-vm: all ## a Debian with systemd in an emulated machine: INSTALL.md, the units, a power cut, 50,000 sessions; half an hour and more
	@tools/deps vm
	@tests/vm/run

check: $(UNIT_BINS) ## the unit tests alone
	@tests/run --unit $(UNIT_BINS)

check-asan: ## unit tests, fuzz corpora and one story under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory SAN=asan all unit-bins
	@tests/run --asan

check-tsan: ## unit tests under ThreadSanitizer
	@$(MAKE) --no-print-directory SAN=tsan unit-bins
	@tests/run --unit $(patsubst $(B)/%,build-tsan/%,$(UNIT_BINS))

unit-bins: $(UNIT_BINS) $(TEST_TOOLS)

fuzz: $(FUZZ_BINS) ## builds the fuzzers into build-fuzz/ and runs each for FUZZ_S seconds (20)
	@tests/fuzz/run $${FUZZ_S:-20} $(FUZZ_BINS)

fuzz-bins: $(FUZZ_BINS)

analyze: $(GEN) ## cppcheck and clang-tidy
	@tools/analyze

layers: ## fails on an include that points upwards
	@tools/layers

imaptest: all ## the Dovecot project's tester, sealed beside plain: IMAPTEST=BINARY IMAPTEST_TESTS=FOLDER (docs/DOVECOT.md)
	@tests/tools/imaptest

bench: all ## compares with plain Dovecot and its mail_crypt, interleaved
	@tests/bench/run

bench-plots: ## docs/plots/*.svg and their table, from docs/plots/results.json (or RESULTS=FILE)
	@tests/bench/plot $(RESULTS)

bench-filters: all $(B)/bench_smtp_load $(B)/bench_empty_milter ## what a mail filter adds to Postfix: none, empty, Basalt, rspamd, opendkim and others
	@tools/deps bench
	@tests/bench/filters/run

bench-keyd: all ## logins, data keys and memory of basalt-keyd alone, beside Argon2id and X25519 alone
	@tests/bench/keyd

bench-msgfmt: $(B)/bench_msgfmt ## CPU time of sealing and opening messages in memory
	@$<

install: all ## programs, manuals, systemd units, examples into DESTDIR/usr; nothing into /etc
	install -D -t $(DESTDIR)/usr/sbin $(filter-out %.so %basaltctl,$(PROGRAMS))
	install -D -t $(DESTDIR)/usr/bin $(B)/basaltctl
	ln -sf basaltctl $(DESTDIR)/usr/bin/basalt-passwd
	install -D -m 644 -t $(DESTDIR)/usr/lib/dovecot/modules $(filter %/lib10_basalt_plugin.so,$(PROGRAMS))
	install -D -m 644 -t $(DESTDIR)/usr/lib/dovecot/modules/doveadm $(filter %/lib10_doveadm_basalt_plugin.so,$(PROGRAMS))
	install -D -m 644 -t $(DESTDIR)/usr/lib/dovecot/modules/auth $(filter %libauthdb_basalt.so,$(PROGRAMS))
	$(if $(wildcard docs/man/*.8),install -D -m 644 -t $(DESTDIR)/usr/share/man/man8 docs/man/*.8)
	$(if $(wildcard docs/man/*.1),install -D -m 644 -t $(DESTDIR)/usr/share/man/man1 docs/man/*.1)
	install -D -m 644 -t $(DESTDIR)/usr/lib/systemd/system systemd/*.service systemd/*.timer
	install -D -m 644 systemd/basalt.sysusers $(DESTDIR)/usr/lib/sysusers.d/basalt.conf
	install -D -m 644 systemd/basalt.tmpfiles $(DESTDIR)/usr/lib/tmpfiles.d/basalt.conf
	install -D -m 644 -t $(DOC) docs/*.md LICENSE.md COPYING
	install -D -m 644 -t $(DOC)/plots docs/plots/*.svg docs/plots/README.md
	install -D -m 644 -t $(DOC)/examples $(filter-out %/README.md,$(wildcard etc/*))
	install -D -m 644 -t $(DOC)/examples/postfix $(filter-out %/README.md,$(wildcard postfix/*))

# Configuration, keys and mail stay: docs/INSTALL.md, "Taking it away".
uninstall: ## removes from DESTDIR/usr what install puts there
	rm -f $(addprefix $(DESTDIR)/usr/sbin/,basalt-keyd basalt-milter basalt-lmtp) $(DESTDIR)/usr/bin/basaltctl $(DESTDIR)/usr/bin/basalt-passwd
	rm -f $(addprefix $(DESTDIR)/usr/lib/dovecot/modules/,lib10_basalt_plugin.so auth/libauthdb_basalt.so \
		doveadm/lib10_doveadm_basalt_plugin.so)
	rm -f $(addprefix $(DESTDIR)/usr/share/man/man8/,$(notdir $(wildcard docs/man/*.8)))
	rm -f $(addprefix $(DESTDIR)/usr/share/man/man1/,$(notdir $(wildcard docs/man/*.1)))
	rm -f $(addprefix $(DESTDIR)/usr/lib/systemd/system/,$(notdir $(wildcard systemd/*.service systemd/*.timer)))
	rm -f $(DESTDIR)/usr/lib/sysusers.d/basalt.conf $(DESTDIR)/usr/lib/tmpfiles.d/basalt.conf
	rm -rf $(DOC)

clean: ## removes all that was built
	rm -rf build build-asan build-tsan build-fuzz build-vm

# --- how ---

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC ,$<)
	$(Q)$(CC) $(CFLAGS) -Icommon -I$(firstword $(subst /, ,$<)) -c -o $@ $<

$(B)/obj/dovecot-plugin/%.o: CFLAGS += $(DOVECOT_INC) -I$(B)/gen
# Another Dovecot, other objects: its headers may be older than ours and have changed nevertheless.
$(call obj,$(PLUGIN) $(AUTHDB) $(DOVEADM)): $(B)/gen/dovecot_builds.h
$(B)/obj/common/sql_mariadb.o: CFLAGS += $(MARIADB_INC)

$(B)/gen/sql_%.c: tools/embed-sql $(wildcard sql/keys/*.sql sql/policy/*.sql)
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)tools/embed-sql $* sql/$*/*.sql >$@

$(B)/gen/dovecot_builds.h: FORCE
	@mkdir -p $(@D)
	@tools/dovecot-builds $@

$(B)/gen/%.o: $(B)/gen/%.c
	$(call say,CC ,$<)
	$(Q)$(CC) $(CFLAGS) -Icommon -c -o $@ $<

$(B)/libbasalt.a: $(call obj,$(COMMON)) $(GEN:.c=.o)
	@rm -f $@
	$(call say,AR ,$@)
	$(Q)ar rcs $@ $^

$(B)/libkeyd.a: $(call obj,$(filter-out keyd/main.c,$(KEYD)))
	@rm -f $@
	$(call say,AR ,$@)
	$(Q)ar rcs $@ $^

$(B)/libmilter.a: $(call obj,$(filter-out milter/main.c,$(MILTER)))
	@rm -f $@
	$(call say,AR ,$@)
	$(Q)ar rcs $@ $^

$(B)/liblmtp.a: $(call obj,$(filter-out lmtp/main.c,$(LMTP)))
	@rm -f $@
	$(call say,AR ,$@)
	$(Q)ar rcs $@ $^

$(B)/basalt-keyd: $(B)/obj/keyd/main.o $(B)/libkeyd.a $(B)/libbasalt.a
	$(call say,LD ,$@)
	$(Q)$(CC) -pie -o $@ $^ $(LDFLAGS) $(COMMON_LIBS) $(KEYD_LIBS)

$(B)/basalt-milter: $(B)/obj/milter/main.o $(B)/libmilter.a $(B)/libbasalt.a
	$(call say,LD ,$@)
	$(Q)$(CC) -pie -o $@ $^ $(LDFLAGS) $(COMMON_LIBS) $(MILTER_LIBS)

$(B)/basalt-lmtp: $(B)/obj/lmtp/main.o $(B)/liblmtp.a $(B)/libbasalt.a
	$(call say,LD ,$@)
	$(Q)$(CC) -pie -o $@ $^ $(LDFLAGS) $(COMMON_LIBS) $(LMTP_LIBS)

$(B)/basaltctl: $(call obj,$(CTL)) $(B)/libbasalt.a
	$(call say,LD ,$@)
	$(Q)$(CC) -pie -o $@ $^ $(LDFLAGS) $(COMMON_LIBS) $(CTL_LIBS)

$(B)/dovecot/lib10_basalt_plugin.so: $(call obj,$(PLUGIN)) $(B)/libbasalt.a
	@mkdir -p $(@D)
	$(call say,LD ,$@)
	$(Q)$(CC) -shared -o $@ $^ $(LDFLAGS) -Wl,--exclude-libs,ALL $(COMMON_LIBS)

$(B)/dovecot/auth/libauthdb_basalt.so: $(call obj,$(AUTHDB)) $(B)/libbasalt.a
	@mkdir -p $(@D)
	$(call say,LD ,$@)
	$(Q)$(CC) -shared -o $@ $^ $(LDFLAGS) -Wl,--exclude-libs,ALL $(COMMON_LIBS)

# doveadm's own functions are found when it loads this.
$(B)/dovecot/doveadm/lib10_doveadm_basalt_plugin.so: $(call obj,$(DOVEADM)) $(B)/libbasalt.a
	@mkdir -p $(@D)
	$(call say,LD ,$@)
	$(Q)$(CC) -shared -o $@ $^ $(LDFLAGS) -Wl,--exclude-libs,ALL $(COMMON_LIBS)

$(B)/tests/%: $(B)/obj/tests/unit/%.o $(if $(KEYD),$(B)/libkeyd.a) $(if $(MILTER),$(B)/libmilter.a) $(if $(LMTP),$(B)/liblmtp.a) $(B)/libbasalt.a
	@mkdir -p $(@D)
	$(call say,LD ,$@)
	$(Q)$(CC) -pie -o $@ $^ $(LDFLAGS) -lcmocka $(COMMON_LIBS) $(KEYD_LIBS) $(MILTER_LIBS)

$(B)/tools/%: $(B)/obj/tests/tools/%.o $(if $(MILTER),$(B)/libmilter.a) $(B)/libbasalt.a
	@mkdir -p $(@D)
	$(call say,LD ,$@)
	$(Q)$(CC) -pie -o $@ $^ $(LDFLAGS) $(COMMON_LIBS) $(MILTER_LIBS)

$(B)/bench_msgfmt: $(B)/obj/tests/bench/bench_msgfmt.o $(B)/libbasalt.a
	$(call say,LD ,$@)
	$(Q)$(CC) -pie -o $@ $^ $(LDFLAGS) $(COMMON_LIBS)

$(B)/bench_smtp_load: $(B)/obj/tests/bench/smtp_load.o
	$(call say,LD ,$@)
	$(Q)$(CC) -pie -o $@ $^ $(LDFLAGS) -lpthread

$(B)/bench_empty_milter: $(B)/obj/tests/bench/empty_milter.o
	$(call say,LD ,$@)
	$(Q)$(CC) -pie -o $@ $^ $(LDFLAGS) -lmilter -lpthread

$(B)/obj/tests/%.o: CFLAGS += -I. -Wno-missing-prototypes

# Fuzzers are clang's: what they may need is compiled once more, with coverage, into an archive of its own.
FUZZ_FLAGS := -std=gnu17 -O1 -g -D_GNU_SOURCE -fno-sanitize-recover=undefined -I. -Icommon $(MARIADB_INC) -MMD -MP
FUZZ_OBJS := $(patsubst %.c,build-fuzz/obj/%.o,$(COMMON) $(filter-out keyd/main.c,$(KEYD)) $(filter-out milter/main.c,$(MILTER)) $(filter-out lmtp/main.c,$(LMTP)) $(GEN))

build-fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,FUZ,$<)
	$(Q)clang $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link,address,undefined -I$(firstword $(subst /, ,$<)) -c -o $@ $<

build-fuzz/libbasalt.a: $(FUZZ_OBJS)
	@rm -f $@
	$(call say,AR ,$@)
	$(Q)ar rcs $@ $^

build-fuzz/fuzz_%: tests/fuzz/fuzz_%.c build-fuzz/libbasalt.a
	$(call say,FUZ,$@)
	$(Q)clang $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined -Ikeyd -Imilter -Ilmtp -MF build-fuzz/obj/$(@F).d -o $@ $< build-fuzz/libbasalt.a \
		$(COMMON_LIBS) $(KEYD_LIBS) $(MILTER_LIBS)

# Files of dependencies are not made, only read.
%.d: ;

-include $(shell find $(B) build-fuzz/obj -type f -name '*.d' 2>/dev/null)
